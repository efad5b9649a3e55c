#include "protocol/request.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/limits.h"
#include "protocol/base64url.h"
#include "protocol/digest.h"
#include "protocol/json_reader.h"
#include "protocol/names.h"

namespace tertulia {
namespace {

using limits::date_bytes_max;
using limits::id_code_points_max;
using limits::id_integer_max;
using limits::join_limit_max;
using limits::members_after_bytes_max;
using limits::page_limit_max;
using limits::user_id_bytes_max;
using limits::user_key_bytes;
using limits::uuid_bytes_max;

// The members of params that any method looks at.
enum Field : uint8_t {
  room_name,
  user_id,
  user_name,
  user_key,
  last_message_id,
  limit,
  before,
  after,
  sequence,
  uuid,
  date,
  text,
  fields_count,
};
constexpr std::array<std::string_view, fields_count> field_names = {
    "roomName", "userId", "userName", "userKey", "lastMessageId", "limit",
    "before",   "after",  "sequence", "uuid",    "date",          "text",
};

struct Value {
  bool present = false;
  JsonKind kind = JsonKind::null;
  std::string text;

  bool is(JsonKind k) const { return present && kind == k; }
  bool absent_or_null() const { return !present || kind == JsonKind::null; }
};

// The digits of an integer as JSON spells it, without sign, point or exponent; nothing beyond `max`.
std::optional<uint64_t> whole_number(std::string_view spelled, uint64_t max) {
  uint64_t value = 0;
  const auto end = std::from_chars(spelled.data(), spelled.data() + spelled.size(), value);
  if (end.ec != std::errc() || end.ptr != spelled.data() + spelled.size() || value > max) return std::nullopt;
  return value;
}

size_t code_points(std::string_view utf8) {
  size_t count = 0;
  for (char c : utf8) count += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
  return count;
}

// Collects what a request may consist of, in whatever order it comes. Judges nothing: all of the text must first have
// been read as JSON.
class Parts final : public JsonVisitor {
 public:
  enum class Id : uint8_t { none, valid, invalid };

  void on_value(uint32_t depth, std::string_view key, JsonKind kind, std::string_view text) override {
    if (depth == 0) {
      top_ = kind;
    } else if (top_ != JsonKind::object) {
      // Elements of a batch.
    } else if (depth == 1) {
      in_params_ = false;
      if (key == "jsonrpc") {
        version_fits_ = kind == JsonKind::string && text == "2.0";
      } else if (key == "id") {
        take_id(kind, text);
      } else if (key == "method") {
        take(method_, kind, text);
      } else if (key == "params") {
        params_ = kind;
        in_params_ = kind == JsonKind::object;
      }
    } else if (in_params_) {
      for (size_t i = 0; i < fields_count; ++i)
        if (key == field_names[i]) return take(fields_[i], kind, text);
    }
  }

  JsonKind top() const { return top_; }
  bool version_fits() const { return version_fits_; }
  Id id() const { return id_; }
  std::string& id_json() { return id_json_; }
  const Value& method() const { return method_; }
  std::optional<JsonKind> params() const { return params_; }
  Value& operator[](Field field) { return fields_[field]; }

 private:
  static void take(Value& value, JsonKind kind, std::string_view text) {
    value.present = true;
    value.kind = kind;
    value.text = text;
  }

  void take_id(JsonKind kind, std::string_view spelled) {
    id_ = Id::invalid;
    if (kind == JsonKind::string) {
      if (code_points(spelled) > id_code_points_max) return;
      append_json_string(id_json_, spelled);
    } else if (kind == JsonKind::number) {
      // As spelled: 7.0 and 7e0 would have to come back as they were, and would match 7 in some clients and not in
      // others.
      if (!whole_number(spelled.starts_with('-') ? spelled.substr(1) : spelled, id_integer_max)) return;
      id_json_ = spelled;
    } else {
      return;
    }
    id_ = Id::valid;
  }

  JsonKind top_ = JsonKind::null;
  bool version_fits_ = false;
  Id id_ = Id::none;
  bool in_params_ = false;
  std::string id_json_;
  Value method_;
  std::optional<JsonKind> params_;
  std::array<Value, fields_count> fields_;
};

struct Fault {
  Code code;
  std::string_view sentence;
};
using Checked = std::optional<Fault>;  // nothing: all is well

Fault invalid(std::string_view sentence) {
  return {Code::invalid_params, sentence};
}

Checked take_room_name(Parts& parts, Request& request) {
  if (!parts[room_name].is(JsonKind::string)) return invalid("roomName must be a string.");
  if (!room_name_valid(parts[room_name].text))
    return invalid("roomName must have 1 to 64 characters, at most 256 bytes, and no control characters.");
  request.room_name = std::move(parts[room_name].text);
  return {};
}

Checked take_user_name(Parts& parts, Request& request) {
  if (!parts[user_name].is(JsonKind::string)) return invalid("userName must be a string.");
  std::optional<std::string> folded = fold_user_name(parts[user_name].text);
  if (!folded)
    return invalid(
        "userName must have 1 to 64 characters, at most 256 bytes, something visible, and no control or zero-width "
        "characters.");
  request.user_name_folded = std::move(*folded);
  request.user_name = std::move(parts[user_name].text);
  return {};
}

Checked take_classic_user_id(Parts& parts, Request& request) {
  const Value& value = parts[user_id];
  if (!value.is(JsonKind::string)) return invalid("userId must be a string.");
  if (value.text.empty() || value.text.size() > user_id_bytes_max) return invalid("userId must have 1 to 128 bytes.");
  if (value.text.front() == '~') return invalid("userId must not begin with ~.");
  for (size_t i = 0; i < value.text.size(); ++i) {
    const auto c = static_cast<uint8_t>(value.text[i]);
    const bool is_c1 = c == 0xC2 && static_cast<uint8_t>(value.text[i + 1]) < 0xA0;  // valid UTF-8: one more follows
    if (c < 0x20 || c == 0x7F || is_c1) return invalid("userId must not have control characters.");
  }
  request.user_id = std::move(parts[user_id].text);
  return {};
}

Checked take_limit(Parts& parts, uint64_t min, uint64_t max, bool capped, Request& request) {
  const Value& value = parts[limit];
  if (value.absent_or_null()) return {};
  const std::optional<uint64_t> number =
      value.is(JsonKind::number) ? whole_number(value.text, sequence_max) : std::nullopt;
  if (!number || *number < min || (*number > max && !capped)) return invalid("limit must be a whole number in range.");
  request.limit = std::min(*number, max);
  return {};
}

Checked take_sequence(const Value& value, std::string_view sentence, Sequence& taken) {
  const std::optional<uint64_t> number =
      value.is(JsonKind::number) ? whole_number(value.text, sequence_max) : std::nullopt;
  if (!number) return invalid(sentence);
  taken = *number;
  return {};
}

Checked take_text(Parts& parts, Request& request) {
  Value& said = parts[text];
  if (!said.is(JsonKind::string)) return invalid("text must be a string.");
  if (said.text.empty()) return invalid("text must not be empty.");
  Value& id = parts[uuid];
  if (!id.is(JsonKind::string)) return invalid("uuid must be a string.");
  if (id.text.empty() || id.text.size() > uuid_bytes_max || !base64url_alphabet_only(id.text))
    return invalid("uuid must have 1 to 64 of the characters A-Z, a-z, 0-9, - and _.");
  Value& when = parts[date];
  if (when.present && when.kind != JsonKind::string) return invalid("date must be a string.");
  if (when.text.size() > date_bytes_max) return invalid("date must have at most 64 bytes.");
  request.text = std::move(said.text);
  request.uuid = std::move(id.text);
  request.date = std::move(when.text);
  return {};
}

Checked check_classic_join(Parts& parts, Request& request) {
  if (request.method == Method::reconnect) {
    // These clients reconnect after every close, also when no room was ever joined.
    for (Field field : {room_name, user_id, user_name}) {
      const Value& value = parts[field];
      if (value.absent_or_null() || (value.kind == JsonKind::string && value.text.empty()))
        return Fault{Code::reconnection_failed, "Reconnection fail!"};
    }
  }
  if (Checked fault = take_room_name(parts, request)) return fault;
  if (Checked fault = take_user_name(parts, request)) return fault;
  if (Checked fault = take_classic_user_id(parts, request)) return fault;
  // They may hold ids of another system, of whatever form: those count as none.
  if (parts[last_message_id].is(JsonKind::string)) request.position = parse_position(parts[last_message_id].text);
  return {};
}

Checked check_classic_text(Parts& parts, Request& request) {
  if (Checked fault = take_room_name(parts, request)) return fault;
  // What it says is not kept: the message gets the member's name. But its type tells a broken client.
  if (!parts[user_name].absent_or_null() && !parts[user_name].is(JsonKind::string))
    return invalid("userName must be a string.");
  if (Checked fault = take_classic_user_id(parts, request)) return fault;
  return take_text(parts, request);
}

Checked check_join(Parts& parts, Request& request) {
  if (Checked fault = take_room_name(parts, request)) return fault;
  if (Checked fault = take_user_name(parts, request)) return fault;
  Value& key = parts[user_key];
  if (!key.absent_or_null()) {
    if (!key.is(JsonKind::string) || key.text.size() != user_key_bytes || !base64url_alphabet_only(key.text))
      return invalid("userKey must have 43 characters of base64url.");
    request.user_key = std::move(key.text);
  }
  const Value& last = parts[last_message_id];
  if (!last.absent_or_null()) {
    if (last.is(JsonKind::string)) request.position = parse_position(last.text);
    if (!request.position) return invalid("lastMessageId must be a position.");
  }
  return take_limit(parts, 0, join_limit_max, false, request);
}

Checked check_history(Parts& parts, Request& request) {
  if (Checked fault = take_room_name(parts, request)) return fault;
  for (Field field : {before, after}) {
    if (parts[field].absent_or_null()) continue;
    Sequence bound = 0;
    if (Checked fault = take_sequence(parts[field], "before and after must be sequences.", bound)) return fault;
    (field == before ? request.before : request.after) = bound;
  }
  if (request.before && request.after) return invalid("before and after exclude each other.");
  return take_limit(parts, 1, page_limit_max, true, request);
}

Checked check_members(Parts& parts, Request& request) {
  if (Checked fault = take_room_name(parts, request)) return fault;
  Value& behind = parts[after];
  if (!behind.absent_or_null()) {
    if (!behind.is(JsonKind::string) || behind.text.size() > members_after_bytes_max)
      return invalid("after must be what next was.");
    request.members_after = std::move(behind.text);
  }
  return take_limit(parts, 1, page_limit_max, true, request);
}

Checked check_params(Dialect dialect, Parts& parts, Request& request) {
  const bool classic = dialect == Dialect::classic;
  switch (request.method) {
    case Method::join_room: return classic ? check_classic_join(parts, request) : check_join(parts, request);
    case Method::reconnect: return check_classic_join(parts, request);
    case Method::text_message:
      if (classic) return check_classic_text(parts, request);
      if (Checked fault = take_room_name(parts, request)) return fault;
      return take_text(parts, request);
    case Method::history: return check_history(parts, request);
    case Method::members: return check_members(parts, request);
    case Method::read:
      if (Checked fault = take_room_name(parts, request)) return fault;
      return take_sequence(parts[sequence], "sequence must be a whole number up to 2^53-1.", request.sequence);
    case Method::leave_room:
    case Method::typing: return take_room_name(parts, request);
    case Method::rooms:
    case Method::ping: return {};
  }
  return {};
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

std::optional<Method> method_of(Dialect dialect, std::string_view name) {
  if (dialect == Dialect::classic) {
    if (equal_ignoring_case(name, "textMessage")) return Method::text_message;
    if (equal_ignoring_case(name, "joinRoom")) return Method::join_room;
    if (equal_ignoring_case(name, "reconnect")) return Method::reconnect;
    return std::nullopt;
  }
  if (name == "textMessage") return Method::text_message;
  if (name == "joinRoom") return Method::join_room;
  if (name == "leaveRoom") return Method::leave_room;
  if (name == "history") return Method::history;
  if (name == "members") return Method::members;
  if (name == "rooms") return Method::rooms;
  if (name == "read") return Method::read;
  if (name == "typing") return Method::typing;
  if (name == "ping") return Method::ping;
  return std::nullopt;
}

Checked check_shape(const Parts& parts) {
  const auto wrong = [](std::string_view sentence) { return Fault{Code::invalid_request, sentence}; };
  if (parts.top() == JsonKind::array) return wrong("Batches are not supported.");
  if (parts.top() != JsonKind::object) return wrong("A request must be an object.");
  if (!parts.version_fits()) return wrong("jsonrpc must be \"2.0\".");
  if (parts.id() == Parts::Id::invalid)
    return wrong("id must be a string of at most 64 characters or a whole number within 2^53.");
  if (!parts.method().is(JsonKind::string)) return wrong("method must be a string.");
  if (parts.id() == Parts::Id::none) return wrong("A request must have an id.");
  return {};
}

Checked check(Dialect dialect, Parts& parts, Request& request) {
  if (Checked fault = check_shape(parts)) return fault;
  const std::optional<Method> method = method_of(dialect, parts.method().text);
  if (!method) return Fault{Code::method_not_found, "There is no such method."};
  request.method = *method;
  if (parts.params() && *parts.params() != JsonKind::object) return invalid("params must be an object.");
  return check_params(dialect, parts, request);
}

}  // namespace

std::variant<Request, Malformed> parse_request(Dialect dialect, std::string_view frame) {
  Parts parts;
  if (const auto fault = read_json(frame, parts)) return Malformed{Code::parse_error, std::string(*fault), "null"};
  std::variant<Request, Malformed> result;
  Request& request = std::get<Request>(result);
  const Checked fault = check(dialect, parts, request);
  if (parts.id() == Parts::Id::valid) request.id_json = std::move(parts.id_json());
  if (fault) {
    std::string id_json = request.id_json.empty() ? "null" : std::move(request.id_json);
    result = Malformed{fault->code, std::string(fault->sentence), std::move(id_json)};
  }
  return result;
}

std::string user_id_of_key(std::string_view user_key) {
  std::string id = "~";
  append_base64url(id, sha256({user_key}));
  id.resize(1 + 22);
  return id;
}

std::string user_key_text(const uint8_t (&bits)[32]) {
  std::string text;
  append_base64url(text, bits);
  return text;
}

}  // namespace tertulia
