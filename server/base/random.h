// The only door to chance. Pure code is given a Random; tests give it one with a printed seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>

namespace tertulia {

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<uint8_t> bytes) = 0;
  uint64_t next() {
    uint8_t bytes[8];
    fill(bytes);
    uint64_t value = 0;
    for (uint8_t byte : bytes) value = value << 8 | byte;
    return value;
  }
  // REQUIRES: bound > 0. Uniform enough for delays and choices, not for keys.
  uint64_t below(uint64_t bound) { return next() % bound; }
};

// From the kernel; good for secrets. Thread: any.
class SystemRandom final : public Random {
 public:
  void fill(std::span<uint8_t> bytes) override;
};

// The same bytes for the same seed, everywhere. Thread: one.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : engine_(seed) {}
  void fill(std::span<uint8_t> bytes) override {
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(engine_());
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace tertulia
