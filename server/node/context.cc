#include "node/context.h"

#include <algorithm>
#include <utility>

namespace tertulia {

void AddressAllowance::charge(double messages, double bytes, const Options::Live& live, int64_t now_us) {
  const std::lock_guard lock(mutex_);
  if (messages > 0) messages_.charge(messages, {live.address_messages_per_second, live.address_messages_burst}, now_us);
  if (bytes > 0) bytes_.charge(bytes, {live.address_bytes_per_second, live.address_bytes_burst}, now_us);
}

void AddressAllowance::refund(double messages, const Options::Live& live) {
  const std::lock_guard lock(mutex_);
  messages_.refund(messages, {live.address_messages_per_second, live.address_messages_burst});
}

int64_t AddressAllowance::wait_us(const Options::Live& live, int64_t now_us) {
  const std::lock_guard lock(mutex_);
  return std::max(messages_.wait_us({live.address_messages_per_second, live.address_messages_burst}, now_us),
                  bytes_.wait_us({live.address_bytes_per_second, live.address_bytes_burst}, now_us));
}

bool AddressAllowance::full(const Options::Live& live, int64_t now_us) {
  const std::lock_guard lock(mutex_);
  return messages_.full({live.address_messages_per_second, live.address_messages_burst}, now_us) &&
         bytes_.full({live.address_bytes_per_second, live.address_bytes_burst}, now_us);
}

std::shared_ptr<AddressAllowance> AddressAllowances::of(const std::string& address, const Options::Live& live,
                                                        int64_t now_us) {
  const std::lock_guard lock(mutex_);
  if (entries_.size() >= sweep_at_) {
    std::erase_if(entries_,
                  [&](const auto& each) { return each.second.use_count() == 1 && each.second->full(live, now_us); });
    sweep_at_ = std::max<size_t>(1024, entries_.size() * 2);
  }
  std::shared_ptr<AddressAllowance>& entry = entries_[address];
  if (!entry) entry = std::make_shared<AddressAllowance>();
  return entry;
}

void PastChanges::add(Change change) {
  const std::lock_guard lock(mutex_);
  if (changes_.size() == kept_max) changes_.erase(changes_.begin());
  changes_.push_back(std::move(change));
}

std::vector<PastChanges::Change> PastChanges::newest() const {
  const std::lock_guard lock(mutex_);
  return changes_;
}

}  // namespace tertulia
