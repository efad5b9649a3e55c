#include "base/log.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <ctime>
#include <vector>

namespace tertulia {
namespace {

constexpr size_t line_bytes_max = 4096;  // PIPE_BUF: up to here a write to a pipe is whole or not at all
constexpr size_t fields_bytes_max = 3600;
constexpr size_t text_bytes_max = 256;
constexpr char hex[] = "0123456789abcdef";

// Length of the well-formed UTF-8 sequence at the start of `text`, and what it says; 0 if there is none.
size_t decode(std::string_view text, char32_t& point) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) {
    point = first;
    return 1;
  }
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  point = first & (0x7f >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    point = (point << 6) | (byte(i) & 0x3f);
  }
  const bool too_long = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
  if (too_long || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return 0;
  return length;
}

// What would move the cursor, break the line or turn the writing direction on an operator's terminal.
bool is_unprintable(char32_t point) {
  return point < 0x20 || (point >= 0x7f && point <= 0x9f) || point == 0x61c || (point >= 0x200b && point <= 0x200f) ||
         (point >= 0x2028 && point <= 0x202e) || (point >= 0x2060 && point <= 0x206f) || point == 0xfeff;
}

void append_unit(std::string& out, char32_t unit) {
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += hex[(unit >> shift) & 15];
}

template <class Number>
void append_number(std::string& out, Number number) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

// As 2026-01-31T12:00:00.000Z.
void append_time(std::string& out, int64_t unix_ms) {
  const std::time_t seconds = unix_ms / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text;
  out.append(text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S.", &parts));
  const auto ms = static_cast<int>(unix_ms % 1000);
  for (const int digit : {ms / 100, ms / 10 % 10, ms % 10}) out += static_cast<char>('0' + digit);
  out += 'Z';
}

bool needs_quotes(std::string_view text) {
  if (text.empty()) return true;
  for (const char c : text) {
    if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7f) return true;
  }
  return false;
}

void append_value(std::string& out, const LogField& field, LogFormat format) {
  if (const auto* text = std::get_if<std::string_view>(&field.value)) {
    if (format == LogFormat::plain && text->size() <= field.bytes_max && !needs_quotes(*text)) {
      out += *text;
      return;
    }
    out += '"';
    append_escaped(out, *text, field.bytes_max);
    out += '"';
  } else if (const auto* yes = std::get_if<bool>(&field.value)) {
    out += *yes ? "true" : "false";
  } else if (const auto* number = std::get_if<double>(&field.value)) {
    if (std::isfinite(*number)) {
      append_number(out, *number);
    } else {
      out += "null";  // JSON has no other word for it
    }
  } else if (const auto* integer = std::get_if<int64_t>(&field.value)) {
    append_number(out, *integer);
  } else {
    append_number(out, std::get<uint64_t>(field.value));
  }
}

void append_field(std::string& out, const LogField& field, LogFormat format) {
  if (format == LogFormat::json) {
    out += ",\"";
    append_escaped(out, field.key, text_bytes_max);
    out += "\":";
  } else {
    out += ' ';
    append_escaped(out, field.key, text_bytes_max);
    out += '=';
  }
  append_value(out, field, format);
}

}  // namespace

std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return "debug";
    case LogLevel::info: return "info";
    case LogLevel::warn: return "warn";
    case LogLevel::error: return "error";
  }
  return "error";
}

std::optional<LogLevel> log_level_named(std::string_view name) {
  for (const LogLevel level : {LogLevel::debug, LogLevel::info, LogLevel::warn, LogLevel::error}) {
    if (to_string(level) == name) return level;
  }
  return std::nullopt;
}

void append_escaped(std::string& out, std::string_view text, size_t bytes_max) {
  size_t at = 0;
  while (at < text.size()) {
    char32_t point = 0;
    const size_t length = decode(text.substr(at), point);
    if (at + std::max<size_t>(length, 1) > bytes_max) {
      out += "…";
      return;
    }
    if (length == 0) {
      // A byte that is no text is shown as the replacement character, written so that one sees it was not sent as such.
      out += "\\ufffd";
      ++at;
      continue;
    }
    if (point == '"' || point == '\\') {
      out += '\\';
      out += static_cast<char>(point);
    } else if (is_unprintable(point)) {
      append_unit(out, point);  // all of them lie below 0x10000
    } else {
      out.append(text.substr(at, length));
    }
    at += length;
  }
}

void Log::write(LogLevel level, std::string_view part, std::string_view event, LogFields fields) {
  if (enabled(level)) put(level, part, event, fields, 0);
}

void Log::limited(LogLevel level, uint32_t per_second, std::string_view part, std::string_view event,
                  LogFields fields) {
  if (!enabled(level)) return;
  uint64_t kept_back = 0;
  {
    const int64_t now_us = clock_.now_us();
    const std::lock_guard lock(limits_mutex_);
    const auto [entry, is_new] = limits_.try_emplace({std::string(part), std::string(event)});
    Limited& kind = entry->second;
    if (is_new || now_us - kind.second_began_us >= 1'000'000) {
      kind.second_began_us = now_us;
      kind.lines = 0;
    }
    kind.level = level;
    if (kind.lines >= per_second) {
      ++kind.kept_back;
      return;
    }
    ++kind.lines;
    kept_back = std::exchange(kind.kept_back, 0);
  }
  put(level, part, event, fields, kept_back);
}

void Log::tell_kept_back(bool force) {
  struct Told {
    std::string part, event;
    LogLevel level;
    uint64_t kept_back;
  };
  std::vector<Told> told;
  {
    const int64_t now_us = clock_.now_us();
    const std::lock_guard lock(limits_mutex_);
    for (auto& [name, kind] : limits_) {
      if (kind.kept_back == 0 || (!force && now_us - kind.second_began_us < 1'000'000)) continue;
      told.push_back({name.first, name.second, kind.level, std::exchange(kind.kept_back, 0)});
    }
  }
  for (const Told& each : told) put(each.level, each.part, each.event, {}, each.kept_back);
}

void Log::put(LogLevel level, std::string_view part, std::string_view event, LogFields fields, uint64_t kept_back) {
  std::string line;
  line.reserve(512);
  const uint64_t lost = lines_lost_.exchange(0, std::memory_order_relaxed);
  if (format_ == LogFormat::json) {
    line += "{\"time\":\"";
    append_time(line, clock_.unix_ms());
    line += "\",\"level\":\"";
    line += to_string(level);
    line += "\",\"part\":\"";
    append_escaped(line, part, text_bytes_max);
    line += "\",\"event\":\"";
    append_escaped(line, event, text_bytes_max);
    line += '"';
  } else {
    append_time(line, clock_.unix_ms());
    line += ' ';
    const std::string_view name = to_string(level);
    line += name;
    line.append(6 - name.size(), ' ');
    append_escaped(line, part, text_bytes_max);
    line += ": ";
    append_escaped(line, event, text_bytes_max);
  }
  for (const LogField& field : fields) {
    const size_t before = line.size();
    append_field(line, field, format_);
    if (line.size() > fields_bytes_max) {
      line.resize(before);
      append_field(line, LogField("cut", true), format_);
      break;
    }
  }
  if (kept_back != 0) append_field(line, LogField("kept_back", kept_back), format_);
  if (lost != 0) append_field(line, LogField("lines_lost", lost), format_);
  line += format_ == LogFormat::json ? "}\n" : "\n";

  // A pipe without a reader would cost a signal; a pipe that says it is writable has room for PIPE_BUF bytes, so the
  // write below does not wait (but for a race with another writer of the same pipe, which costs a wait and no line).
  static_assert(fields_bytes_max + 200 < line_bytes_max);
  pollfd ready{fd_, POLLOUT, 0};
  if (poll(&ready, 1, 0) == 1 && ready.revents == POLLOUT) {
    std::string_view rest = line;
    while (!rest.empty()) {
      const ssize_t taken = ::write(fd_, rest.data(), rest.size());
      if (taken < 0 && errno == EINTR) continue;
      if (taken <= 0) break;
      rest.remove_prefix(static_cast<size_t>(taken));
    }
    if (rest.size() < line.size()) return;
  }
  lines_lost_.fetch_add(lost + 1, std::memory_order_relaxed);
}

}  // namespace tertulia
