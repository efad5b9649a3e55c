#include "protocol/base64url.h"

#include <array>

namespace tertulia {
namespace {

constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr uint8_t not_a_digit = 0xFF;

constexpr std::array<uint8_t, 256> make_digits() {
  std::array<uint8_t, 256> digits{};
  digits.fill(not_a_digit);
  for (uint8_t i = 0; i < 64; ++i) digits[static_cast<uint8_t>(alphabet[i])] = i;
  return digits;
}
constexpr std::array<uint8_t, 256> digits = make_digits();

uint8_t digit_of(char c) {
  return digits[static_cast<uint8_t>(c)];
}

}  // namespace

void append_base64url(std::string& out, std::span<const uint8_t> bytes) {
  size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    const uint32_t group = uint32_t{bytes[i]} << 16 | uint32_t{bytes[i + 1]} << 8 | bytes[i + 2];
    const char four[4] = {alphabet[group >> 18], alphabet[group >> 12 & 63], alphabet[group >> 6 & 63],
                          alphabet[group & 63]};
    out.append(four, 4);
  }
  if (bytes.size() - i == 1) {
    out += alphabet[bytes[i] >> 2];
    out += alphabet[(bytes[i] & 3) << 4];
  } else if (bytes.size() - i == 2) {
    out += alphabet[bytes[i] >> 2];
    out += alphabet[(bytes[i] & 3) << 4 | bytes[i + 1] >> 4];
    out += alphabet[(bytes[i + 1] & 15) << 2];
  }
}

bool decode_base64url(std::string_view text, std::span<uint8_t> bytes) {
  if (text.size() != (bytes.size() * 4 + 2) / 3) return false;
  uint32_t bits = 0;
  int bits_count = 0;
  size_t written = 0;
  for (char c : text) {
    const uint8_t digit = digit_of(c);
    if (digit == not_a_digit) return false;
    bits = bits << 6 | digit;
    bits_count += 6;
    if (bits_count >= 8) {
      bits_count -= 8;
      bytes[written++] = static_cast<uint8_t>(bits >> bits_count);
    }
  }
  // What is left over stands for nothing. Were it allowed, one value would have several spellings.
  return (bits & ((1u << bits_count) - 1)) == 0;
}

bool base64url_alphabet_only(std::string_view text) {
  for (char c : text)
    if (digit_of(c) == not_a_digit) return false;
  return true;
}

}  // namespace tertulia
