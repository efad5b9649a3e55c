#include "protocol/utf8.h"

#include <bit>
#include <cstddef>
#include <cstring>

namespace tertulia {
namespace {

constexpr uint64_t kHighBits = 0x8080808080808080;

bool continues(uint8_t byte) {
  return (byte & 0xC0) == 0x80;
}

// How many bytes in memory order stand before the first whose high bit is set in word.
int ascii_bytes_before(uint64_t word) {
  return (std::endian::native == std::endian::little ? std::countr_zero(word) : std::countl_zero(word)) / 8;
}

// Passes over whole, valid characters; stops at the first that is not, or that may not be whole.
const uint8_t* skip_whole_characters(const uint8_t* p, const uint8_t* end) {
  while (p < end) {
    if (*p < 0x80) {
      while (end - p >= 8) {
        uint64_t word;
        std::memcpy(&word, p, 8);
        word &= kHighBits;
        if (word != 0) {
          p += ascii_bytes_before(word);
          break;
        }
        p += 8;
      }
      while (p < end && *p < 0x80) ++p;
      continue;
    }
    const ptrdiff_t left = end - p;
    if (*p < 0xE0) {
      if (left < 2 || *p < 0xC2 || !continues(p[1])) return p;
      p += 2;
    } else if (*p < 0xF0) {
      if (left < 3 || !continues(p[1]) || !continues(p[2])) return p;
      const unsigned head = static_cast<unsigned>(*p) << 8 | p[1];
      if (head < 0xE0A0 || (head >= 0xEDA0 && head <= 0xEDBF)) return p;  // overlong, surrogate
      p += 3;
    } else {
      if (left < 4 || !continues(p[1]) || !continues(p[2]) || !continues(p[3])) return p;
      const unsigned head = static_cast<unsigned>(*p) << 8 | p[1];
      if (head < 0xF090 || head > 0xF48F) return p;  // overlong, above U+10FFFF
      p += 4;
    }
  }
  return p;
}

}  // namespace

bool Utf8Checker::step(uint8_t byte) {
  if (need_ != 0) {
    if (byte < low_ || byte > high_) return false;
    --need_;
    low_ = 0x80;
    high_ = 0xBF;
    return true;
  }
  if (byte < 0x80) return true;
  if (byte < 0xC2 || byte > 0xF4) return false;
  need_ = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
  // The second byte alone tells overlong forms, surrogates and what lies above U+10FFFF.
  low_ = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
  high_ = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
  return true;
}

bool Utf8Checker::feed(std::string_view bytes) {
  const auto* p = reinterpret_cast<const uint8_t*>(bytes.data());
  const uint8_t* const end = p + bytes.size();
  while (p < end) {
    if (need_ == 0) {
      p = skip_whole_characters(p, end);
      if (p == end) return true;
    }
    // Either wrong, or a character cut by the end of this piece: byte by byte finds out which, and remembers.
    if (!step(*p++)) return false;
  }
  return true;
}

bool utf8_valid(std::string_view bytes) {
  Utf8Checker checker;
  return checker.feed(bytes) && checker.complete();
}

}  // namespace tertulia
