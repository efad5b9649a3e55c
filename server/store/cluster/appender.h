// The one worker that appends: while one batch is in the store the next fills, from all shards and rooms.
//
// What it promises its callers, whatever the link says:
// - A message that the store never takes is found (the batch is tried again in parts) and refused alone.
// - While the outcome of an attempt is unknown the same messages are asked again, for as long as it takes, and nobody
//   is told anything. A row that is our own is then `added`; nobody else tells of it.
// - "Nothing was appended" is said only when it is so: not once a part stands, or may stand.
// - A row that was found, not added, is acked only when it is proven (proven.h): by something that was added to the
//   same room after it was found, else by a commit made for that.
// - Nothing is appended in the name of a node whose lease is in doubt.
// Thread: any. Memory: what its callers wait for. Ends: stop(), which finishes what waits if the database takes it.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/worker.h"
#include "store/cluster/append_batch.h"
#include "store/cluster/link.h"
#include "store/cluster/proven.h"
#include "store/store_options.h"

namespace tertulia::cluster {

class Appender {
 public:
  // In whose name may be appended at this moment; nothing: the lease is in doubt.
  using Lease = Function<std::optional<std::string>()>;

  Appender(Database& database, Workers& workers, Proven& proven, Lease lease, const StoreOptions& options,
           const Clock& clock, Random& random, StoreMetrics& metrics);
  ~Appender();

  void append(AppendCall call);
  // For whoever starts the store and has to wait meanwhile.
  Worker& worker() { return *worker_; }
  // Gives up what is not decided at this time of the clock. Blocks.
  void stop(int64_t deadline_us);

 private:
  // A part of a room's work that is tried on its own.
  struct Slice {
    RoomWork* room = nullptr;
    size_t first = 0, count = 0;
  };

  void work();
  // False: the store ends before all is decided.
  bool settle(std::vector<Slice> slices);
  Failure attempt(const std::vector<Slice>& slices);
  // Takes what was placed. False: some of it must be proven first.
  bool take(const Slice& slice, const RoomBatch& batch, bool needs_proof);
  void refuse(const Slice& slice, const std::string& reason);
  bool pause(int64_t& delay_us);
  void log(LogLevel level, const char* event, const std::string& reason);

  const StoreOptions& options_;
  const Clock& clock_;
  StoreMetrics& metrics_;
  const std::string address_;
  std::mutex mutex_;
  std::deque<AppendCall> waiting_;  // under mutex_
  bool working_ = false;            // under mutex_: work() is posted or runs
  bool stopping_ = false;           // under mutex_
  std::atomic<int64_t> deadline_us_;
  // The worker's.
  Proven& proven_;
  Lease lease_;
  Random& random_;
  const std::unique_ptr<Worker> worker_;
  const std::unique_ptr<Link> link_;
};

}  // namespace tertulia::cluster
