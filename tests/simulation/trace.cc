#include "trace.h"

#include <cstdio>

namespace tertulia::simulation {

void Trace::end_line() {
  for (const char c : line_) hash_ = (hash_ ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  if (keep_) lines_.push_back(line_);
  if (print_) std::printf("%s\n", line_.c_str());
}

}  // namespace tertulia::simulation
