#include "bus/local_bus.h"

#include <algorithm>
#include <utility>

namespace tertulia {

void LocalBus::subscribe(const std::string& room, BusSubscriber& subscriber, Function<void()> ready) {
  {
    const std::lock_guard lock(mutex_);
    auto& pending = pending_[&subscriber];
    if (!pending) pending = std::make_shared<Pending>();
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
  const size_t bytes = bytes_of(*item);
  for (const Line& line : found->second) {
    if (line.subscriber == from) continue;
    Pending& pending = *line.pending;
    if (pending.items.load(std::memory_order_relaxed) >= pending_max_ ||
        pending.bytes.load(std::memory_order_relaxed) + bytes > pending_bytes_max_) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    pending.items.fetch_add(1, std::memory_order_relaxed);
    pending.bytes.fetch_add(bytes, std::memory_order_relaxed);
    line.subscriber->bus_executor().post([subscriber = line.subscriber, waited = line.pending, bytes, item] {
      waited->items.fetch_sub(1, std::memory_order_relaxed);
      waited->bytes.fetch_sub(bytes, std::memory_order_relaxed);
      subscriber->on_bus(item);
    });
  }
}

void LocalBus::describe(MetricsSink& sink) const {
  sink.counter("tertulia_bus_dropped_total", "Items that a shard did not take from the bus in time.",
               static_cast<double>(dropped()));
}

size_t bytes_of(const BusItem& item) {
  size_t bytes = sizeof(BusItem) + item.room.size();
  if (const auto* piece = std::get_if<std::shared_ptr<const LogPiece>>(&item.what)) {
    for (const LogPiece::Entry& entry : (*piece)->entries) {
      bytes += sizeof entry + entry.uuid.size() + entry.user_id.size() + entry.frame.size();
    }
  } else if (const auto* signal = std::get_if<Signal>(&item.what)) {
    bytes += signal->user_id.size() + signal->user_name.size();
  }
  return bytes;
}

}  // namespace tertulia
