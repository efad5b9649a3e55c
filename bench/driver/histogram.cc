#include "driver/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace tertulia::bench {
namespace {

constexpr uint32_t steps = 1024;  // of each power of two
constexpr int step_bits = 10;

}  // namespace

Histogram::Histogram() : slots_(slot_of(value_max) + 1) {}

// Values below 2 × steps have a slot each; above, the highest 11 bits name the slot.
uint32_t Histogram::slot_of(int64_t value) {
  const auto v = static_cast<uint64_t>(value);
  const int shift = std::max(0, static_cast<int>(std::bit_width(v)) - (step_bits + 1));
  return static_cast<uint32_t>(shift) * steps + static_cast<uint32_t>(v >> shift);
}

int64_t Histogram::upper_end(uint32_t slot) {
  if (slot < 2 * steps) return slot;
  const uint32_t shift = slot / steps - 1;
  return ((static_cast<int64_t>(slot - shift * steps) + 1) << shift) - 1;
}

void Histogram::add(int64_t value) {
  value = std::clamp<int64_t>(value, 0, value_max);
  ++slots_[slot_of(value)];
  ++count_;
  max_ = std::max(max_, value);
}

void Histogram::clear() {
  std::fill(slots_.begin(), slots_.end(), 0);
  count_ = 0;
  max_ = 0;
}

int64_t Histogram::at(double share) const {
  if (count_ == 0) return 0;
  const auto wanted = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
    seen += slots_[slot];
    if (seen >= wanted) return std::min(upper_end(slot), max_);
  }
  return max_;
}

}  // namespace tertulia::bench
