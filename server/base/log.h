// What the server tells its operator: one line an event, as JSON or as plain text, to one file descriptor.
//
// A line names the part that speaks, a constant sentence for what happened, and fields. What foreigners sent stands in
// fields only, escaped and cut to 256 bytes: no control character, line break, terminal escape or invalid UTF-8 reaches
// the log. Message bodies, user keys and session ids are never logged, whole or in part.
//
// A line is one write() of at most 4,096 bytes, so that lines of several threads and processes do not mix. It never
// waits for whoever reads the log: what a full pipe does not take is dropped, and the next line that goes out says how
// many were ("lines_lost").
// Thread: any. Memory: one line on the stack; a count for every limited (part, event), which are literals. Ends: with
// the process; the descriptor is not closed.
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/clock.h"

namespace tertulia {

enum class LogLevel : uint8_t { debug, info, warn, error };
enum class LogFormat : uint8_t { plain, json };

std::string_view to_string(LogLevel level);
std::optional<LogLevel> log_level_named(std::string_view name);

// Text that the server itself has written for its operator, with what to do at its end: cut only at 1,024 bytes.
struct LogSentence {
  std::string_view text;
};

// A field lives only until its line is written; texts are borrowed.
class LogField {
 public:
  LogField(std::string_view name, LogSentence sentence) : key(name), value(sentence.text), bytes_max(1024) {}
  LogField(std::string_view name, std::string_view text) : key(name), value(text) {}
  LogField(std::string_view name, const std::string& text) : key(name), value(std::string_view(text)) {}
  LogField(std::string_view name, const char* text) : key(name), value(std::string_view(text)) {}
  LogField(std::string_view name, bool yes) : key(name), value(yes) {}
  LogField(std::string_view name, double number) : key(name), value(number) {}
  template <std::integral T>
  LogField(std::string_view name, T number) : key(name) {
    if constexpr (std::is_signed_v<T>) {
      value = static_cast<int64_t>(number);
    } else {
      value = static_cast<uint64_t>(number);
    }
  }

  std::string_view key;
  std::variant<std::string_view, bool, double, int64_t, uint64_t> value;
  size_t bytes_max = 256;
};

using LogFields = std::initializer_list<LogField>;

// Appends `text` to `out`, escaped as inside a JSON string and cut to `bytes_max` of its own bytes (then with "…"
// behind it). Control characters, those that turn the writing direction, line separators and invalid UTF-8 are escaped
// too.
void append_escaped(std::string& out, std::string_view text, size_t bytes_max = 256);

class Log {
 public:
  // `fd` stays the caller's. Lines below `level` are not written.
  Log(const Clock& clock, int fd, LogFormat format, LogLevel level)
      : clock_(clock), fd_(fd), format_(format), level_(level) {}
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  // Says what was still kept back by limited lines.
  ~Log() { tell_kept_back(); }

  // `part` and `event` are literals: a folder or subject ("store"), and a constant sentence in small letters
  // ("opened").
  void debug(std::string_view part, std::string_view event, LogFields fields = {}) {
    write(LogLevel::debug, part, event, fields);
  }
  void info(std::string_view part, std::string_view event, LogFields fields = {}) {
    write(LogLevel::info, part, event, fields);
  }
  void warn(std::string_view part, std::string_view event, LogFields fields = {}) {
    write(LogLevel::warn, part, event, fields);
  }
  void error(std::string_view part, std::string_view event, LogFields fields = {}) {
    write(LogLevel::error, part, event, fields);
  }
  void write(LogLevel level, std::string_view part, std::string_view event, LogFields fields = {});

  // For what a stranger can cause as often as he likes: at most `per_second` lines a second of this (part, event), the
  // others are counted. The count stands as "kept_back" in the next line of the same kind, or in tell_kept_back().
  void limited(LogLevel level, uint32_t per_second, std::string_view part, std::string_view event,
               LogFields fields = {});

  // Writes a line for every limited kind of line that kept some back and has been silent since its second ended (with
  // force: for all). To be called every few seconds.
  void tell_kept_back(bool force = true);

  bool enabled(LogLevel level) const { return level >= level_; }

 private:
  struct Limited {
    LogLevel level = LogLevel::warn;
    int64_t second_began_us = 0;
    uint32_t lines = 0;      // in this second
    uint64_t kept_back = 0;  // not yet told
  };

  void put(LogLevel level, std::string_view part, std::string_view event, LogFields fields, uint64_t kept_back);

  // Constant after construction.
  const Clock& clock_;
  const int fd_;
  const LogFormat format_;
  const LogLevel level_;
  // Any thread.
  std::atomic<uint64_t> lines_lost_ = 0;
  std::mutex limits_mutex_;
  std::map<std::pair<std::string, std::string>, Limited, std::less<>> limits_;  // under limits_mutex_
};

}  // namespace tertulia
