// Room and user names: which are allowed, and when two user names are the same.
// Only the server folds names. Pure. Thread: any.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tertulia {

// 1 to 64 code points, at most 256 bytes, no control characters, no bidi controls. Room names are compared byte for
// byte.
bool room_name_valid(std::string_view name);
// As a room's, and without zero-width characters; nothing if it is not allowed or folds to nothing.
// The folded form (NFKC_Casefold, white space trimmed) is what a claim is held on: Alice, alice and "alice " are one.
std::optional<std::string> fold_user_name(std::string_view name);

}  // namespace tertulia
