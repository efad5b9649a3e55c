#include "base/clock.h"

#include <ctime>

namespace tertulia {
namespace {

int64_t read_ns(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

int64_t SystemClock::now_us() const {
  return read_ns(CLOCK_BOOTTIME) / 1000;
}
int64_t SystemClock::unix_ms() const {
  return read_ns(CLOCK_REALTIME) / 1'000'000;
}

}  // namespace tertulia
