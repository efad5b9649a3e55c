// The bus within one process: carries items between the shards of a node, by posting to their executors.
//
// It loses items too: what a shard does not take in time is dropped beyond pending_max, and the shard reads the gap
// from the store. So the rules that mend a network's bus are in use on one node as well. Thread: any. Memory: an entry
// for each (room, subscriber), and at most pending_max items of pending_bytes_max together a subscriber (shared between
// those that wait for the same).
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "bus/bus.h"

namespace tertulia {

class LocalBus final : public Bus {
 public:
  explicit LocalBus(size_t pending_max = 10'000, size_t pending_bytes_max = 64 << 20)
      : pending_max_(pending_max), pending_bytes_max_(pending_bytes_max) {}

  void subscribe(const std::string& room, BusSubscriber& subscriber, Function<void()> ready) override;
  void unsubscribe(const std::string& room, BusSubscriber& subscriber) override;
  void publish(std::shared_ptr<const BusItem> item, const BusSubscriber& from) override { send(item, &from); }
  void publish(std::shared_ptr<const BusItem> item) override { send(item, nullptr); }

  // Items that a subscriber did not take in time.
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  void describe(MetricsSink& sink) const override;

 private:
  void send(const std::shared_ptr<const BusItem>& item, const BusSubscriber* from);

  struct Pending {
    std::atomic<size_t> items = 0, bytes = 0;
  };
  struct Line {
    BusSubscriber* subscriber;
    std::shared_ptr<Pending> pending;
  };

  const size_t pending_max_, pending_bytes_max_;
  std::atomic<uint64_t> dropped_{0};
  std::mutex mutex_;
  std::unordered_map<std::string, std::vector<Line>> rooms_;    // guarded by mutex_
  std::map<BusSubscriber*, std::shared_ptr<Pending>> pending_;  // guarded by mutex_
};

// What an item holds in memory, about.
size_t bytes_of(const BusItem& item);

}  // namespace tertulia
