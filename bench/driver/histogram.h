// How often each duration was seen, to three digits, from nanoseconds to minutes.
//
// Log-linear: every power of two is cut into 1,024 equal steps, so a value is off by less than 0.1 % wherever it lies,
// and adding one is an increment. Thread: one. Memory: 220 KiB. Ends: with its owner.
#pragma once

#include <cstdint>
#include <vector>

namespace tertulia::bench {

class Histogram {
 public:
  static constexpr int64_t value_max = (int64_t{1} << 37) - 1;  // 137 s in nanoseconds; what is longer counts as that

  Histogram();

  // Negative values count as 0.
  void add(int64_t value);
  void clear();

  uint64_t count() const { return count_; }
  // Exact. 0 if nothing was added.
  int64_t max() const { return max_; }
  // The value that `share` (0 to 1) of all values do not exceed, at most 0.1 % too large. 0 if nothing was added.
  int64_t at(double share) const;

 private:
  static uint32_t slot_of(int64_t value);
  static int64_t upper_end(uint32_t slot);

  std::vector<uint64_t> slots_;
  uint64_t count_ = 0;
  int64_t max_ = 0;
};

}  // namespace tertulia::bench
