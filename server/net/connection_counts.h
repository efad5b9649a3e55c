// How many connections are open: in all, of each client address, on each shard. Every accepted socket holds a Slot for
// as long as it is open, whatever it has become meanwhile (HTTP, WebSocket, a refusal being read out).
//
// Thread: any. Memory: one entry for each address that has a connection. Ends: after the last Slot.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace tertulia {

class ConnectionCounts {
 public:
  enum class Verdict : uint8_t { admitted, too_many_in_all, too_many_of_address };

  // Holds one connection's place; the place is free again when it is destroyed. 24 bytes: the address is shared.
  class Slot {
   public:
    Slot() = default;
    Slot(Slot&& other) noexcept;
    Slot& operator=(Slot&& other) noexcept;
    ~Slot() { release(); }
    void release();
    // As it is counted; empty if it is not counted by address.
    std::string_view address() const { return entry_ ? std::string_view(entry_->first) : std::string_view(); }

   private:
    friend class ConnectionCounts;
    using Entry = std::unordered_map<std::string, uint32_t>::value_type;
    ConnectionCounts* counts_ = nullptr;
    Entry* entry_ = nullptr;
    std::atomic<uint32_t>* shard_ = nullptr;
  };

  // per_address_max 0: no limit. It may be changed while running and then holds for those who come.
  ConnectionCounts(uint32_t in_all_max, uint32_t per_address_max)
      : in_all_max_(in_all_max), per_address_max_(per_address_max) {}
  void set_per_address_max(uint32_t max) { per_address_max_.store(max, std::memory_order_relaxed); }

  // A place for a connection of `address` (empty: not counted by address). On refusal `slot` is unchanged.
  [[nodiscard]] Verdict take(std::string_view address, Slot& slot);
  // The connection turns out to be another client's: a proxy has said whose. On refusal it is counted as before.
  [[nodiscard]] Verdict move_to(std::string_view address, Slot& slot);
  // Counts the slot for a loop too. `shard` outlives the slot.
  static void assign(Slot& slot, std::atomic<uint32_t>& shard);

  uint32_t in_all() const { return in_all_.load(std::memory_order_relaxed); }

 private:
  Verdict take_address(std::string_view address, Slot::Entry*& entry);
  void give_back(Slot::Entry* entry);

  const uint32_t in_all_max_;
  std::atomic<uint32_t> per_address_max_;
  std::atomic<uint32_t> in_all_ = 0;
  std::mutex mutex_;
  std::unordered_map<std::string, uint32_t> of_address_;  // under mutex_
};

}  // namespace tertulia
