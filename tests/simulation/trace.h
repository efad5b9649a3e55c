// What happened in a world, line by line: always hashed, so that two runs can be compared; kept when somebody will
// read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/clock.h"
#include "protocol/position.h"

namespace tertulia::simulation {

class Trace {
 public:
  Trace(const Clock& clock, bool keep, bool print) : clock_(clock), keep_(keep), print_(print) {}

  template <class... Parts>
  void say(const Parts&... parts) {
    line_.clear();
    add(clock_.now_us());
    (add(parts), ...);
    end_line();
  }
  uint64_t hash() const { return hash_; }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  void add(std::string_view part) { line_.append(line_.empty() ? "" : " ").append(part); }
  void add(const char* part) { add(std::string_view(part)); }
  void add(const std::string& part) { add(std::string_view(part)); }
  void add(const Position& position) { add(position_text(position)); }
  template <class Number>
  requires std::is_integral_v<Number>
  void add(Number number) { add(std::to_string(number)); }
  void end_line();

  const Clock& clock_;
  const bool keep_, print_;
  uint64_t hash_ = 0xcbf29ce484222325;
  std::string line_;
  std::vector<std::string> lines_;
};

}  // namespace tertulia::simulation
