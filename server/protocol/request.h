// JSON-RPC requests of both dialects: a frame's text becomes a Request whose every field has been checked for type,
// form and size, or the error that answers it. What cannot be judged from the text alone (is he a member?) is judged
// later. Pure. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "protocol/codes.h"
#include "protocol/position.h"

namespace tertulia {

enum class Dialect : uint8_t { classic, v2 };

enum class Method : uint8_t {
  join_room,     // both dialects
  reconnect,     // classic
  text_message,  // both
  leave_room,    // from here on v2
  history,
  members,
  rooms,
  read,
  typing,
  ping,
};

struct Request {
  Method method = Method::ping;
  std::string id_json;  // JSON: a number as it was spelled, a string in our spelling; every request has one
  std::string room_name;
  std::string user_id;           // classic
  std::string user_name;         // joins: trimmed of nothing, shown as it is (what a classic text says is not kept)
  std::string user_name_folded;  // joins: NFKC_Casefold, trimmed
  std::optional<std::string> user_key;       // v2 joins
  std::optional<Position> position;          // joins: lastMessageId; classic: a malformed or foreign one is as null
  std::optional<uint64_t> limit;             // v2 joins (0 to 1000), history and members (capped at 200)
  std::optional<Sequence> before, after;     // history: at most one of them
  std::optional<std::string> members_after;  // members: opaque
  Sequence sequence = 0;                     // read
  std::string uuid, date, text;              // texts
};

// The answer to a frame that is no valid request. Definite: nothing happened.
struct Malformed {
  Code code;
  std::string message;  // one sentence for a person
  std::string id_json;  // "null" where none could be read
};

std::variant<Request, Malformed> parse_request(Dialect dialect, std::string_view frame);

// v2: who holds this key is this user: '~' and the first 22 characters of base64url(SHA-256(user_key)).
// REQUIRES: 43 characters of base64url.
std::string user_id_of_key(std::string_view user_key);
// 256 bits in base64url, 43 characters.
std::string user_key_text(const uint8_t (&bits)[32]);

}  // namespace tertulia
