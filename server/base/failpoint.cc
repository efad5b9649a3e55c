#include "base/failpoint.h"

#ifdef TERTULIA_FAILPOINTS

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

#include "base/check.h"
#include "base/clock.h"

namespace tertulia {
namespace {

enum class Action : uint8_t { none, kill, error, error_for, sleep };

struct Point {
  uint64_t passes = 0;
  Action action = Action::none;
  uint64_t at_pass = 1;
  bool and_later = false;
  int64_t ms = 0;
  int64_t until_us = 0;  // error_for: 0 until it has begun
};

struct Points {
  std::mutex mutex;
  std::map<std::string, Point, std::less<>> by_name;
};

void arm(Points& points, std::string_view specification);

// Says where, straight to standard error: nothing that is buffered survives what comes next.
void die(std::string_view name, uint64_t pass) {
  const std::string words = "failpoint: killed at " + std::string(name) + ", pass " + std::to_string(pass) + "\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, words.data(), words.size());
  ::kill(::getpid(), SIGKILL);
}

Points& points() {
  static Points* all = [] {
    auto* made = new Points;  // never destroyed: threads may pass a point while the process ends
    if (const char* specification = std::getenv("TERTULIA_FAILPOINT")) arm(*made, specification);
    return made;
  }();
  return *all;
}

bool read_number(std::string_view text, auto& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool read_action(std::string_view text, Point& point) {
  auto begins = [&](std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; };
  if (text == "kill") {
    point.action = Action::kill;
  } else if (text == "error") {
    point.action = Action::error;
  } else if (begins("error_for_")) {
    point.action = Action::error_for;
    return read_number(text.substr(10), point.ms);
  } else if (begins("sleep_")) {
    point.action = Action::sleep;
    return read_number(text.substr(6), point.ms);
  } else {
    return false;
  }
  return true;
}

void arm(Points& points, std::string_view specification) {
  std::lock_guard lock(points.mutex);
  while (!specification.empty()) {
    size_t comma = std::min(specification.find(','), specification.size());
    std::string_view one = specification.substr(0, comma);
    specification.remove_prefix(std::min(comma + 1, specification.size()));
    size_t equals = one.find('=');
    CHECK(equals != std::string_view::npos, "a failpoint is armed as name[:pass]=action");
    std::string_view name = one.substr(0, equals);
    Point point;
    if (size_t colon = name.find(':'); colon != std::string_view::npos) {
      std::string_view pass = name.substr(colon + 1);
      name = name.substr(0, colon);
      if (!pass.empty() && pass.back() == '+') {
        point.and_later = true;
        pass.remove_suffix(1);
      }
      CHECK(read_number(pass, point.at_pass) && point.at_pass > 0, "a failpoint's pass is a number from 1");
    }
    CHECK(read_action(one.substr(equals + 1), point), "a failpoint's action is kill, error, error_for_MS or sleep_MS");
    points.by_name[std::string(name)] = point;
  }
}

}  // namespace

bool failpoint_pass(std::string_view name) {
  Points& all = points();
  int64_t sleep_ms = 0;
  {
    std::lock_guard lock(all.mutex);
    auto found = all.by_name.find(name);
    if (found == all.by_name.end()) found = all.by_name.emplace(std::string(name), Point{}).first;
    Point& point = found->second;
    ++point.passes;
    const bool now = point.and_later ? point.passes >= point.at_pass : point.passes == point.at_pass;
    switch (point.action) {
      case Action::none: return false;
      case Action::kill:
        if (now) die(name, point.passes);
        return false;
      case Action::error: return now;
      case Action::error_for: {
        if (point.passes < point.at_pass) return false;
        const int64_t now_us = SystemClock().now_us();
        if (point.until_us == 0) point.until_us = now_us + point.ms * 1000;
        return now_us < point.until_us;
      }
      case Action::sleep:
        if (!now) return false;
        sleep_ms = point.ms;
    }
  }
  ::poll(nullptr, 0, static_cast<int>(sleep_ms));
  return false;
}

void failpoint_arm(std::string_view specification) {
  arm(points(), specification);
}

void failpoint_disarm_all() {
  Points& all = points();
  std::lock_guard lock(all.mutex);
  all.by_name.clear();
}

uint64_t failpoint_passes(std::string_view name) {
  Points& all = points();
  std::lock_guard lock(all.mutex);
  auto found = all.by_name.find(name);
  return found == all.by_name.end() ? 0 : found->second.passes;
}

}  // namespace tertulia

#endif
