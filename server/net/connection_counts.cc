#include "net/connection_counts.h"

#include <utility>

namespace tertulia {

ConnectionCounts::Slot::Slot(Slot&& other) noexcept
    : counts_(std::exchange(other.counts_, nullptr)),
      entry_(std::exchange(other.entry_, nullptr)),
      shard_(std::exchange(other.shard_, nullptr)) {}

ConnectionCounts::Slot& ConnectionCounts::Slot::operator=(Slot&& other) noexcept {
  if (this == &other) return *this;
  release();
  counts_ = std::exchange(other.counts_, nullptr);
  entry_ = std::exchange(other.entry_, nullptr);
  shard_ = std::exchange(other.shard_, nullptr);
  return *this;
}

void ConnectionCounts::Slot::release() {
  if (shard_) shard_->fetch_sub(1, std::memory_order_relaxed);
  if (counts_) {
    counts_->give_back(entry_);
    counts_->in_all_.fetch_sub(1, std::memory_order_relaxed);
  }
  shard_ = nullptr;
  entry_ = nullptr;
  counts_ = nullptr;
}

ConnectionCounts::Verdict ConnectionCounts::take(std::string_view address, Slot& slot) {
  if (in_all_.fetch_add(1, std::memory_order_relaxed) >= in_all_max_) {
    in_all_.fetch_sub(1, std::memory_order_relaxed);
    return Verdict::too_many_in_all;
  }
  Slot::Entry* entry = nullptr;
  if (const Verdict verdict = take_address(address, entry); verdict != Verdict::admitted) {
    in_all_.fetch_sub(1, std::memory_order_relaxed);
    return verdict;
  }
  slot.release();
  slot.counts_ = this;
  slot.entry_ = entry;
  return Verdict::admitted;
}

ConnectionCounts::Verdict ConnectionCounts::move_to(std::string_view address, Slot& slot) {
  if (slot.address() == address) return Verdict::admitted;
  Slot::Entry* entry = nullptr;
  if (const Verdict verdict = take_address(address, entry); verdict != Verdict::admitted) return verdict;
  give_back(std::exchange(slot.entry_, entry));
  return Verdict::admitted;
}

void ConnectionCounts::assign(Slot& slot, std::atomic<uint32_t>& shard) {
  if (slot.shard_) slot.shard_->fetch_sub(1, std::memory_order_relaxed);
  shard.fetch_add(1, std::memory_order_relaxed);
  slot.shard_ = &shard;
}

ConnectionCounts::Verdict ConnectionCounts::take_address(std::string_view address, Slot::Entry*& entry) {
  entry = nullptr;
  if (address.empty()) return Verdict::admitted;
  std::lock_guard lock(mutex_);
  auto [place, fresh] = of_address_.try_emplace(std::string(address), 0);
  const uint32_t max = per_address_max_.load(std::memory_order_relaxed);
  if (max != 0 && place->second >= max) {
    if (fresh) of_address_.erase(place);
    return Verdict::too_many_of_address;
  }
  ++place->second;
  entry = &*place;
  return Verdict::admitted;
}

void ConnectionCounts::give_back(Slot::Entry* entry) {
  if (!entry) return;
  std::lock_guard lock(mutex_);
  if (--entry->second == 0) of_address_.erase(of_address_.find(entry->first));
}

}  // namespace tertulia
