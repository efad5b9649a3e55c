#include "base/random.h"

#include <sys/random.h>

#include <cerrno>

#include "base/check.h"

namespace tertulia {

void SystemRandom::fill(std::span<uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = getrandom(bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    CHECK(got > 0, "the kernel gives random bytes");
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
}

}  // namespace tertulia
