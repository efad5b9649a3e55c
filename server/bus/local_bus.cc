#include "bus/local_bus.h"

#include <algorithm>
#include <utility>

namespace tertulia {

void LocalBus::subscribe(const std::string& room, BusSubscriber& subscriber, Function<void()> ready) {
  {
    const std::lock_guard lock(mutex_);
    auto& pending = pending_[&subscriber];
    if (!pending) pending = std::make_shared<std::atomic<size_t>>(0);
    rooms_[room].push_back({&subscriber, pending});
  }
  subscriber.bus_executor().post(std::move(ready));
}

void LocalBus::unsubscribe(const std::string& room, BusSubscriber& subscriber) {
  const std::lock_guard lock(mutex_);
  const auto found = rooms_.find(room);
  if (found == rooms_.end()) return;
  std::erase_if(found->second, [&](const Line& line) { return line.subscriber == &subscriber; });
  if (found->second.empty()) rooms_.erase(found);
}

void LocalBus::send(const std::shared_ptr<const BusItem>& item, const BusSubscriber* from) {
  const std::lock_guard lock(mutex_);
  const auto found = rooms_.find(item->room);
  if (found == rooms_.end()) return;
  for (const Line& line : found->second) {
    if (line.subscriber == from) continue;
    if (line.pending->load(std::memory_order_relaxed) >= pending_max_) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    line.pending->fetch_add(1, std::memory_order_relaxed);
    line.subscriber->bus_executor().post([subscriber = line.subscriber, pending = line.pending, item] {
      pending->fetch_sub(1, std::memory_order_relaxed);
      subscriber->on_bus(item);
    });
  }
}

}  // namespace tertulia
