#include "protocol/position.h"

#include <charconv>

#include "protocol/base64url.h"

namespace tertulia {
namespace {

constexpr size_t chain_text_bytes = 16;

}  // namespace

std::string chain_text(const Chain& chain) {
  std::string text;
  append_base64url(text, chain.bytes);
  return text;
}

void append_position(std::string& out, const Position& position) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, position.sequence);
  out.append(digits, end.ptr);
  out += '-';
  append_base64url(out, position.chain.bytes);
}

std::string position_text(const Position& position) {
  std::string text;
  append_position(text, position);
  return text;
}

std::optional<Position> parse_position(std::string_view text) {
  // The chain may hold '-' itself, so it is found by its length, not by looking for the last '-'.
  if (text.size() < chain_text_bytes + 2) return std::nullopt;
  const std::string_view digits = text.substr(0, text.size() - chain_text_bytes - 1);
  if (text[digits.size()] != '-') return std::nullopt;
  if (digits.size() > 1 && digits[0] == '0') return std::nullopt;
  Position position;
  // For an unsigned type from_chars takes digits only: neither sign nor space.
  const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), position.sequence);
  if (end.ec != std::errc() || end.ptr != digits.data() + digits.size()) return std::nullopt;
  if (position.sequence > sequence_max) return std::nullopt;
  if (!decode_base64url(text.substr(digits.size() + 1), position.chain.bytes)) return std::nullopt;
  return position;
}

}  // namespace tertulia
