// Two workers that read, each over its own link, and write the read markers.
//
// A worker takes what waits and does all of it. What is proven (proven.h) is answered; for the rest one commit is made
// on the same connection, begun after all those reads: when it comes back clean they are proven together, and answered
// only then. When it does not, or when the connection was made anew in between, they are answered with not_now.
// Thread: any. Memory: what waits, whose number is the callers' business. Ends: stop() answers what waits.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/worker.h"
#include "store/cluster/link.h"
#include "store/cluster/pending_markers.h"
#include "store/cluster/proven.h"
#include "store/cluster/reading.h"
#include "store/store_options.h"

namespace tertulia::cluster {

class Readers {
 public:
  Readers(Database& database, Workers& workers, Proven& proven, const StoreOptions& options, const Clock& clock,
          StoreMetrics& metrics);
  ~Readers();

  void post(std::unique_ptr<Reading> reading);
  void mark_read(std::string room, std::string user, Sequence sequence);
  const PendingMarkers& pending_markers() const { return pending_markers_; }
  // Then also writes what markers wait. Gives up what is not done at this time of the clock. Blocks.
  void stop(int64_t deadline_us);

 private:
  struct Reader {
    std::unique_ptr<Worker> worker;
    std::unique_ptr<Link> link;
    bool working = false;  // under mutex_: work() is posted or runs
  };
  using Batch = std::vector<std::unique_ptr<Reading>>;
  struct Unproven {
    std::unique_ptr<Reading> reading;
    uint64_t connection = 0;  // on which it was read
  };

  void work(Reader& reader);
  void read_all(Link& link, Batch batch);
  void read_marked(Link& link, Batch batch, std::vector<Unproven>& unproven);
  void prove(Link& link, std::vector<Unproven> unproven);
  // Takes it, if it needs a proof; else it is answered.
  void answer_or_keep(Link& link, std::unique_ptr<Reading> reading, std::vector<Unproven>& unproven);
  void answer(Reading& reading, const Failure& failure);
  void write_markers(Reader& reader);

  static constexpr size_t kReaders = 2;
  const StoreOptions& options_;
  const Clock& clock_;
  StoreMetrics& metrics_;
  Proven& proven_;
  const std::string address_;
  PendingMarkers pending_markers_;
  std::mutex mutex_;
  std::deque<std::unique_ptr<Reading>> waiting_;  // under mutex_
  bool stopping_ = false;                         // under mutex_
  bool markers_due_ = false;                      // under mutex_: a task that writes them is posted
  std::atomic<int64_t> deadline_us_;
  std::vector<Reader> readers_;
};

}  // namespace tertulia::cluster
