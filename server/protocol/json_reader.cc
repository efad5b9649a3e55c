#include "protocol/json_reader.h"

#include <algorithm>
#include <array>
#include <boost/container/small_vector.hpp>
#include <boost/json/basic_parser_impl.hpp>
#include <cmath>
#include <cstring>
#include <list>
#include <string>

namespace tertulia {
namespace {

namespace json = boost::json;

constexpr std::string_view not_json = "This is not valid JSON.";
constexpr std::string_view has_nul = "A string contains NUL.";
constexpr std::string_view has_repeated_key = "An object has the same key twice.";
constexpr std::string_view has_huge_number = "A number is too large.";
constexpr std::string_view too_deep = "Nested deeper than 32.";
constexpr std::string_view has_more = "Something follows the JSON value.";

// What basic_parser calls. Its strings come whole, as views into the text, unless they hold escapes; those come in
// parts.
class Handler {
 public:
  static constexpr size_t max_array_size = SIZE_MAX;
  static constexpr size_t max_object_size = SIZE_MAX;
  static constexpr size_t max_string_size = SIZE_MAX;
  static constexpr size_t max_key_size = SIZE_MAX;

  Handler(std::string_view text, JsonVisitor& visitor) : text_(text), visitor_(visitor) {}

  std::optional<std::string_view> fault() const { return fault_; }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_array_begin(json::error_code&) { return begin(JsonKind::array); }
  bool on_array_end(size_t, json::error_code&) {
    --depth_;
    return true;
  }
  bool on_object_begin(json::error_code&) { return begin(JsonKind::object); }
  bool on_object_end(size_t, json::error_code& ec) {
    --depth_;
    return check_keys_from(first_key_[depth_], ec);
  }

  bool on_key_part(json::string_view part, size_t, json::error_code&) {
    parts_.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view last, size_t, json::error_code& ec) {
    std::string_view key(last.data(), last.size());
    if (!lies_in_text(last) || !parts_.empty()) {
      parts_.append(last.data(), last.size());
      if (!check_nul(parts_, ec)) return false;
      key = spelled_keys_.emplace_back(std::move(parts_));
      parts_.clear();
    }
    keys_.push_back(key);
    if (depth_ <= 2) key_ = key;
    return true;
  }

  bool on_string_part(json::string_view part, size_t, json::error_code&) {
    parts_.append(part.data(), part.size());
    return true;
  }
  bool on_string(json::string_view last, size_t, json::error_code& ec) {
    if (lies_in_text(last) && parts_.empty()) {
      value(JsonKind::string, std::string_view(last.data(), last.size()));
      return true;
    }
    parts_.append(last.data(), last.size());
    if (!check_nul(parts_, ec)) return false;
    value(JsonKind::string, parts_);
    parts_.clear();
    return true;
  }

  // A number's characters lie in the text one behind the other, in however many parts they come.
  bool on_number_part(json::string_view part, json::error_code&) {
    if (number_begin_ == nullptr) number_begin_ = part.data();
    return true;
  }
  bool on_int64(int64_t, json::string_view last, json::error_code&) { return number(last); }
  bool on_uint64(uint64_t, json::string_view last, json::error_code&) { return number(last); }
  bool on_double(double d, json::string_view last, json::error_code& ec) {
    if (!std::isfinite(d)) return fail(has_huge_number, ec);
    return number(last);
  }
  bool on_bool(bool b, json::error_code&) {
    value(JsonKind::boolean, b ? "true" : "false");
    return true;
  }
  bool on_null(json::error_code&) {
    value(JsonKind::null, "null");
    return true;
  }
  // Comments are off.
  bool on_comment_part(json::string_view, json::error_code&) { return false; }
  bool on_comment(json::string_view, json::error_code&) { return false; }

 private:
  bool fail(std::string_view sentence, json::error_code& ec) {
    fault_ = sentence;
    ec = json::error::syntax;
    return false;
  }

  bool lies_in_text(json::string_view part) const {
    return part.data() >= text_.data() && part.data() <= text_.data() + text_.size();
  }

  // Only an escape can make a NUL: raw ones never get this far.
  bool check_nul(std::string_view decoded, json::error_code& ec) {
    return decoded.find('\0') == std::string_view::npos || fail(has_nul, ec);
  }

  void value(JsonKind kind, std::string_view text) {
    if (depth_ > 2) return;
    const bool is_member = depth_ > 0 && in_object_[depth_ - 1];
    visitor_.on_value(depth_, is_member ? key_ : std::string_view(), kind, text);
  }

  bool number(json::string_view last) {
    const char* begin = number_begin_ != nullptr ? number_begin_ : last.data();
    number_begin_ = nullptr;
    value(JsonKind::number, std::string_view(begin, static_cast<size_t>(last.data() + last.size() - begin)));
    return true;
  }

  bool begin(JsonKind kind) {
    value(kind, {});
    // The parser has refused what is deeper than json_depth_max.
    in_object_[depth_] = kind == JsonKind::object;
    first_key_[depth_] = keys_.size();
    ++depth_;
    return true;
  }

  // Looks for a repeat when the object ends, by sorting where there are many keys: comparing each with each would make
  // one frame cost seconds, and a hash table can be flooded.
  bool check_keys_from(size_t first, json::error_code& ec) {
    const auto begin = keys_.begin() + static_cast<ptrdiff_t>(first);
    const auto end = keys_.end();
    if (end - begin <= 24) {
      for (auto a = begin; a != end; ++a)
        for (auto b = begin; b != a; ++b)
          if (*a == *b) return fail(has_repeated_key, ec);
    } else {
      std::sort(begin, end);
      if (std::adjacent_find(begin, end) != end) return fail(has_repeated_key, ec);
    }
    keys_.resize(first);
    return true;
  }

  const std::string_view text_;
  JsonVisitor& visitor_;
  std::optional<std::string_view> fault_;

  uint32_t depth_ = 0;  // arrays and objects that are open
  std::array<bool, json_depth_max> in_object_{};
  std::array<size_t, json_depth_max> first_key_{};
  std::string_view key_;  // the newest at depth 1 or 2

  boost::container::small_vector<std::string_view, 32> keys_;  // of the open objects, outermost first
  std::list<std::string> spelled_keys_;                        // those that had escapes; keys_ looks into them
  std::string parts_;                                          // of a string or key that has escapes
  const char* number_begin_ = nullptr;
};

}  // namespace

std::optional<std::string_view> read_json(std::string_view text, JsonVisitor& visitor) {
  if (text.empty()) return not_json;
  json::parse_options options;
  options.max_depth = json_depth_max;
  json::basic_parser<Handler> parser(options, text, visitor);
  json::error_code ec;
  const size_t used = parser.write_some(false, text.data(), text.size(), ec);
  if (parser.handler().fault()) return parser.handler().fault();
  if (ec == json::error::too_deep) return too_deep;
  if (ec == json::error::exponent_overflow) return has_huge_number;
  if (ec || !parser.done()) return not_json;
  if (used != text.size()) return has_more;
  return std::nullopt;
}

namespace {

// None of the eight bytes needs an escape. Each term has a byte's high bit set if that byte is below 0x20, a quote, or
// a backslash; a borrow may set more, but only above one that is right.
bool eight_are_plain(const char* at) {
  constexpr uint64_t ones = 0x0101010101010101;
  uint64_t x;
  std::memcpy(&x, at, sizeof x);
  const uint64_t quote = x ^ ones * '"', backslash = x ^ ones * '\\';
  const uint64_t found = ((x - ones * 0x20) & ~x) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash);
  return (found & ones * 0x80) == 0;
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  size_t plain_from = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i + 8 <= text.size() && eight_are_plain(text.data() + i)) {
      i += 7;
      continue;
    }
    const auto c = static_cast<uint8_t>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text, plain_from, i - plain_from);
    plain_from = i + 1;
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        out += "\\u00";
        out += c < 0x10 ? '0' : '1';
        out += "0123456789abcdef"[c & 15];
    }
  }
  out.append(text, plain_from, text.size() - plain_from);
  out += '"';
}

}  // namespace tertulia
