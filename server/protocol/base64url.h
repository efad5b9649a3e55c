// base64url without padding (RFC 4648, section 5): how chains, keys and user ids are written.
// Pure. Thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tertulia {

// Appends 4 characters for every 3 bytes, and 2 or 3 for the 1 or 2 left over.
void append_base64url(std::string& out, std::span<const uint8_t> bytes);

// Fills `bytes` exactly. False (bytes are then unspecified) unless the text is the one spelling of that many bytes: a
// character outside the alphabet, another length or a set bit that stands for nothing is refused.
[[nodiscard]] bool decode_base64url(std::string_view text, std::span<uint8_t> bytes);

// [A-Za-z0-9_-]*
bool base64url_alphabet_only(std::string_view text);

}  // namespace tertulia
