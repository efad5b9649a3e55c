// The only door to time. Code outside base/ and net/ is given a Clock and never asks the system.
#pragma once

#include <cstdint>

namespace tertulia {

class Clock {
 public:
  virtual ~Clock() = default;
  // Microseconds since some fixed moment; never goes back; goes on while the machine sleeps (CLOCK_BOOTTIME).
  virtual int64_t now_us() const = 0;
  // Milliseconds since 1970, for people to read. Nothing is ever ordered by it.
  virtual int64_t unix_ms() const = 0;
};

// Thread: any.
class SystemClock final : public Clock {
 public:
  int64_t now_us() const override;
  int64_t unix_ms() const override;
};

// Stands still until told. Thread: one.
class ManualClock final : public Clock {
 public:
  int64_t now_us() const override { return now_us_; }
  int64_t unix_ms() const override { return 1'700'000'000'000 + now_us_ / 1000; }
  void advance_us(int64_t us) { now_us_ += us; }
  void advance_ms(int64_t ms) { now_us_ += ms * 1000; }

 private:
  int64_t now_us_ = 1'000'000;
};

}  // namespace tertulia
