// Is this UTF-8? For bytes that come in pieces, and as early as the bytes themselves allow.
//
// Strict as RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. "Early" means: the answer is no at the
// first byte after which no continuation could be valid (so F4 90 is refused at 90, before the character is complete).
// Runs of ASCII are passed over 8 bytes at a time. Thread: one for a checker. Memory: three bytes.
#pragma once

#include <cstdint>
#include <string_view>

namespace tertulia {

class Utf8Checker {
 public:
  // False as soon as what was fed so far is not the beginning of valid UTF-8. After false the checker is of no use.
  [[nodiscard]] bool feed(std::string_view bytes);

  // What was fed so far ends at a character's edge (true before anything was fed).
  bool complete() const { return need_ == 0; }

 private:
  bool step(uint8_t byte);

  uint8_t need_ = 0;            // bytes that the begun character still needs
  uint8_t low_ = 0, high_ = 0;  // the range that its next byte must lie in
};

// bytes as a whole are valid UTF-8 (the empty string is).
[[nodiscard]] bool utf8_valid(std::string_view bytes);

}  // namespace tertulia
