#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace tertulia {

void check_failed(const char* file, int line, const char* condition, const char* sentence) {
  std::fprintf(stderr, "tertulia: %s:%d: broken: %s (%s)\n", file, line, sentence, condition);
  std::abort();
}

}  // namespace tertulia
