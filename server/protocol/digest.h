// SHA-256, with the digest fetched from OpenSSL once: its implicit fetches take locks on every call.
//
// Thread: any; each thread works in a context of its own. Memory: one context a thread.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace tertulia {

using Sha256 = std::array<uint8_t, 32>;

// Of the pieces, one behind the other.
Sha256 sha256(std::initializer_list<std::string_view> pieces);

}  // namespace tertulia
