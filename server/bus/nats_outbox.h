// What this node has to tell the others and the bus has not yet taken: a bounded queue, and a thread that may block.
//
// Whoever publishes never waits. While there is no link, or more than items_max or bytes_max wait, an item is dropped
// and counted; the others then read it from the store. Thread: any, but for the counters' writer. Memory: items_max
// items of bytes_max together, and what the link buffers. Ends: stop(), soon.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/worker.h"
#include "bus/bus.h"
#include "bus/nats_link.h"

namespace tertulia {

class NatsOutbox {
 public:
  struct Limits {
    size_t items_max = 4'096;
    size_t bytes_max = 8 << 20;
  };
  // `broken` is told on the worker's thread that the link took no more.
  NatsOutbox(std::unique_ptr<Worker> worker, const Limits& limits,
             Function<void(const std::shared_ptr<NatsLink>&)> broken);

  // Null: there is none just now.
  void set_link(std::shared_ptr<NatsLink> link);
  void offer(std::shared_ptr<const BusItem> item);
  // Goes before everything else; one that has not gone yet is replaced.
  void beat(const std::string& node);
  void stop();

  uint64_t published() const { return published_.value(); }
  uint64_t dropped() const { return dropped_.value(); }

 private:
  void wake();  // under mutex_
  void drain();
  bool send(const std::shared_ptr<NatsLink>& link, const BusItem& item);
  bool is_current(const std::shared_ptr<NatsLink>& link);
  bool put(const std::shared_ptr<NatsLink>& link, const std::string& subject, const std::string& message);

  // Constant after construction.
  const Limits limits_;
  const Function<void(const std::shared_ptr<NatsLink>&)> broken_;
  // Any thread.
  SharedCounter published_, dropped_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<const BusItem>> items_;  // under mutex_
  size_t waiting_items_ = 0, waiting_bytes_ = 0;       // under mutex_; with those that the worker has taken
  std::optional<std::string> beat_;                    // under mutex_
  std::shared_ptr<NatsLink> link_;                     // under mutex_
  bool awake_ = false;                                 // under mutex_
  std::unique_ptr<Worker> worker_;                     // last: it uses the others
};

}  // namespace tertulia
