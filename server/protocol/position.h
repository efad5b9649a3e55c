// A position says how far a log has been read, and proves which past its holder has seen.
//
// chain(n) = the first 12 bytes of SHA-256 over chain(n-1) and message n, so two logs with the same chain at the same
// sequence are the same up to there. On the wire a position is "sequence-chain", the chain in base64url.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tertulia {

using Sequence = uint64_t;  // dense, from 1; 0 is the place before the first message

// No sequence on the wire is above this: a larger one could not be told from another in a client's numbers.
inline constexpr Sequence sequence_max = (uint64_t{1} << 53) - 1;

struct Chain {
  std::array<uint8_t, 12> bytes{};
  friend auto operator<=>(const Chain&, const Chain&) = default;  // NOLINT(modernize-use-nullptr): of its own making
};

struct Position {
  Sequence sequence = 0;
  Chain chain;
  friend bool operator==(const Position&, const Position&) = default;
};

// 16 characters of base64url.
std::string chain_text(const Chain& chain);
// "42-AAAAAAAAAAAAAAAA". Appends to out.
void append_position(std::string& out, const Position& position);
std::string position_text(const Position& position);
// Nothing unless the text is a decimal sequence up to sequence_max without leading zeros, '-' and 16 characters of
// base64url. A position with sequence 0 parses like any other; it fits a log if its chain is chain(0) of the room.
std::optional<Position> parse_position(std::string_view text);

}  // namespace tertulia
