// Reads one JSON text strictly and tells a visitor what stands near its top, without building a tree.
//
// Refused, besides what is no JSON: a key that occurs twice in one object (at any depth, escapes undone), nesting
// deeper than 32, NUL (raw or escaped), a lone surrogate escape, invalid UTF-8, bytes behind the value, a number that
// no double can hold. Two readers of one text must not understand two things; what could be read in two ways is read in
// none. Memory: in proportion to the text, and for an ordinary request none. Time: n log n in the worst case. Thread:
// any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tertulia {

enum class JsonKind : uint8_t { null, boolean, number, string, array, object };

inline constexpr uint32_t json_depth_max = 32;

class JsonVisitor {
 public:
  virtual ~JsonVisitor() = default;
  // A value at depth 0 (the document), 1 (its member or element) or 2 (a member or element of one of those), in the
  // order of the text; an array or object when it begins. `key` is empty for what is no member of an object. `text` is
  // a string's characters with escapes undone, a number as it was spelled, "true", "false" or "null", and empty for
  // arrays and objects. Both last until the call returns. Nothing that was told counts until read_json has succeeded.
  virtual void on_value(uint32_t depth, std::string_view key, JsonKind kind, std::string_view text) = 0;
};

// Nothing if all of the text is one JSON value as above; else one sentence that says what is wrong with it.
[[nodiscard]] std::optional<std::string_view> read_json(std::string_view text, JsonVisitor& visitor);

// Appends the text as a JSON string with its quotes. Escapes as little as JSON allows (quote, backslash, controls below
// U+0020), always in the same way, so equal texts have equal spellings. REQUIRES: valid UTF-8.
void append_json_string(std::string& out, std::string_view text);

}  // namespace tertulia
