// Whether the database answers, as seen by all who talk to it: one word for the operator, the metrics and the shards.
//
// Every link of a store is looked at through watched_database.h. When one has connected, or an outage is over, another
// server may be answering than those that the others are connected to: what was proven is forgotten, and the watcher is
// told to compare what the shards hold with the store's heads. Only the first connection of all is no such event.
// Thread: any. Memory: a sentence a link. Ends: with its store, after the links.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/executor.h"
#include "store/cluster/link.h"
#include "store/cluster/proven.h"
#include "store/store.h"
#include "store/store_options.h"

namespace tertulia::cluster {

class Health {
 public:
  Health(std::string address, const StoreOptions& options, StoreMetrics& metrics, Proven& proven, const Clock& clock);

  // A link more; its number.
  size_t join();
  // A link's call has ended, and the link has connected so often.
  void note(size_t link, const Failure& failure, uint64_t connects);
  // What is wrong just now, in a sentence; empty: nothing.
  std::string trouble() const;
  // As Store::watch().
  void watch(StoreWatcher* watcher, Executor* executor);

 private:
  struct Seen {
    uint64_t connects = 0;
    bool failing = false;
    bool to_be_told = false;  // that it has returned, at its next success
    int64_t failing_since_us = 0, failed_us = 0;
    std::string reason;
  };
  // Whom to tell; shared with tasks that may come too late.
  struct Ear {
    std::mutex mutex;
    StoreWatcher* watcher = nullptr;  // under mutex
    bool told = false;                // under mutex: a task that tells is under way
  };
  void tell_returned(Executor* executor) const;

  const std::string address_;
  const StoreOptions& options_;
  StoreMetrics& metrics_;
  Proven& proven_;
  const Clock& clock_;
  const std::shared_ptr<Ear> ear_ = std::make_shared<Ear>();
  mutable std::mutex mutex_;
  Executor* executor_ = nullptr;  // under mutex_
  std::vector<Seen> links_;       // under mutex_
  int64_t answered_us_ = -1;      // under mutex_; when any link had an answer last
  bool connected_ = false;        // under mutex_; some link has been
};

}  // namespace tertulia::cluster
