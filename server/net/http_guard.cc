#include "net/http_guard.h"

#include <algorithm>
#include <array>

namespace tertulia {

namespace {

constexpr HttpRefusal kFine{};

constexpr bool is_token(char c) {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return others.find(c) != std::string_view::npos;
}

bool is_number(std::string_view text) {
  // 18 digits fit any integer that somebody might read them into.
  return !text.empty() && text.size() <= 18 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool equal_without_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return lower(x) == lower(y);
  });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool is_host(std::string_view host) {
  return !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' ||
           c == '_' || c == ':' || c == '[' || c == ']';
  });
}

HttpRefusal guard_request_line(std::string_view line, const HttpHeadLimits& limits, bool& http_1_0) {
  const size_t method_end = line.find(' ');
  if (method_end == std::string_view::npos || method_end == 0 || method_end > 32 ||
      !std::all_of(line.begin(), line.begin() + static_cast<ptrdiff_t>(method_end), is_token)) {
    return {400, "The request line does not begin with a method."};
  }
  const size_t target_end = line.find(' ', method_end + 1);
  const std::string_view target = line.substr(
      method_end + 1, target_end == std::string_view::npos ? std::string_view::npos : target_end - method_end - 1);
  if (target.size() > limits.target_bytes_max) return {414, "The path is too long."};
  if (target_end == std::string_view::npos) return {400, "The request line has no HTTP version."};
  if (target.empty() || target.front() != '/') return {400, "The path must begin with a slash."};
  if (target.find('#') != std::string_view::npos) return {400, "A path has no fragment."};
  const std::string_view version = line.substr(target_end + 1);
  if (version == "HTTP/1.1" || version == "HTTP/1.0") {
    http_1_0 = version == "HTTP/1.0";
    return kFine;
  }
  const bool other = version.size() == 8 && version.starts_with("HTTP/") && version[6] == '.' &&
                     is_number(version.substr(5, 1)) && is_number(version.substr(7, 1));
  return other ? HttpRefusal{505, "Only HTTP/1.1 and HTTP/1.0 are spoken here."}
               : HttpRefusal{400, "The request line has no HTTP version."};
}

}  // namespace

size_t HttpHeadScanner::scan(std::string_view bytes, const HttpHeadLimits& limits, HttpRefusal& refusal) {
  refusal = kFine;
  for (; seen_ < bytes.size(); ++seen_) {
    if (seen_ >= limits.head_bytes_max) {
      refusal = lines_ == 0 ? HttpRefusal{414, "The path is too long."} : HttpRefusal{431, "The head is too large."};
      return 0;
    }
    const char c = bytes[seen_];
    const auto value = static_cast<unsigned char>(c);
    if (c == '\n') {
      if (seen_ == 0 || bytes[seen_ - 1] != '\r') {
        refusal = {400, "A line must end with CR and LF."};
        return 0;
      }
      const bool empty = seen_ - line_begin_ == 1;
      ++lines_;
      line_begin_ = seen_ + 1;
      if (empty) return ++seen_;
      // The request line and the fields; the empty line is not counted.
      if (lines_ > limits.fields_max + 1) {
        refusal = {431, "There are too many header fields."};
        return 0;
      }
      continue;
    }
    if (seen_ > 0 && bytes[seen_ - 1] == '\r') {
      refusal = {400, "CR stands only at the end of a line."};
      return 0;
    }
    if (c == '\r') continue;
    if ((value < 0x20 && c != '\t') || value >= 0x7f) {
      refusal = {400, "A head consists of printable ASCII."};
      return 0;
    }
    if (lines_ == 0 && seen_ - line_begin_ > limits.target_bytes_max + 64) {
      refusal = {414, "The path is too long."};
      return 0;
    }
  }
  return 0;
}

HttpRefusal guard_http_head(std::string_view head, const HttpHeadLimits& limits) {
  {
    HttpHeadScanner scanner;
    HttpRefusal refusal;
    const size_t size = scanner.scan(head, limits, refusal);
    if (refusal.status != 0) return refusal;
    if (size != head.size()) return {400, "The head does not end with its first empty line."};
  }
  bool http_1_0 = false;
  size_t line_end = head.find("\r\n");
  if (const HttpRefusal refusal = guard_request_line(head.substr(0, line_end), limits, http_1_0); refusal.status != 0) {
    return refusal;
  }
  size_t hosts = 0, lengths = 0, encodings = 0;
  for (size_t begin = line_end + 2;; begin = line_end + 2) {
    line_end = head.find("\r\n", begin);
    const std::string_view line = head.substr(begin, line_end - begin);
    if (line.empty()) break;
    if (line.front() == ' ' || line.front() == '\t') return {400, "A header field must not go on in the next line."};
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) return {400, "A header field has a name and a colon."};
    const std::string_view name = line.substr(0, colon);
    if (!std::all_of(name.begin(), name.end(), is_token)) return {400, "The name of a header field is not a token."};
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (equal_without_case(name, "host")) {
      if (++hosts > 1) return {400, "There is more than one Host."};
      if (!is_host(value)) return {400, "The Host is not a host."};
    } else if (equal_without_case(name, "content-length")) {
      if (++lengths > 1) return {400, "There is more than one Content-Length."};
      if (!is_number(value)) return {400, "The Content-Length is not a number."};
    } else if (equal_without_case(name, "transfer-encoding")) {
      if (++encodings > 1) return {400, "There is more than one Transfer-Encoding."};
      if (!equal_without_case(value, "chunked")) return {400, "The only Transfer-Encoding taken is chunked."};
    }
  }
  if (encodings > 0 && lengths > 0) return {400, "Content-Length and Transfer-Encoding exclude each other."};
  if (encodings > 0 && http_1_0) return {400, "There is no Transfer-Encoding in HTTP/1.0."};
  if (hosts == 0 && !http_1_0) return {400, "A request in HTTP/1.1 needs a Host."};
  return kFine;
}

}  // namespace tertulia
