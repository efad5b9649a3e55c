// How fast somebody may send: a bucket that fills steadily and is emptied by what was taken.
//
// It is charged after the fact and may go below zero; whoever is below zero is not read until it has filled again. So
// nothing is ever refused for being fast: TCP tells the sender. (The token bucket as in RFC 2697, without colours.)
// Pure. Thread: the caller's.
#pragma once

#include <algorithm>
#include <cstdint>

namespace tertulia {

class Allowance {
 public:
  struct Rate {
    double per_second = 0;
    double burst = 0;
  };

  void charge(double amount, const Rate& rate, int64_t now_us) {
    fill(rate, now_us);
    left_ -= amount;
  }
  // What was charged turned out to cost nothing.
  void refund(double amount, const Rate& rate) { left_ = std::min(left_ + amount, rate.burst); }
  // 0: may send now. Else how long until he may.
  int64_t wait_us(const Rate& rate, int64_t now_us) {
    fill(rate, now_us);
    return left_ >= 0 ? 0 : static_cast<int64_t>(-left_ / rate.per_second * 1e6) + 1;
  }
  bool full(const Rate& rate, int64_t now_us) {
    fill(rate, now_us);
    return left_ >= rate.burst;
  }

 private:
  void fill(const Rate& rate, int64_t now_us) {
    if (last_us_ == 0) {
      left_ = rate.burst;
    } else {
      left_ = std::min(rate.burst, left_ + static_cast<double>(now_us - last_us_) * rate.per_second / 1e6);
    }
    last_us_ = now_us;
  }

  double left_ = 0;
  int64_t last_us_ = 0;  // 0: never used, full
};

}  // namespace tertulia
