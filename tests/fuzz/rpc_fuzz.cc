// Any bytes as a frame's text, in both dialects: what is accepted has been checked through and through, and can be said
// again; what is refused gets an answer that is JSON itself.
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/check.h"
#include "protocol/base64url.h"
#include "protocol/frames.h"
#include "protocol/json_reader.h"
#include "protocol/names.h"
#include "protocol/request.h"
#include "protocol/utf8.h"

namespace tertulia {
namespace {

class Ignore final : public JsonVisitor {
 public:
  void on_value(uint32_t, std::string_view, JsonKind, std::string_view) override {}
};

bool is_json(std::string_view text) {
  Ignore ignore;
  return !read_json(text, ignore);
}

bool is_text(std::string_view text) {
  return utf8_valid(text) && text.find('\0') == std::string_view::npos;
}

std::string_view json_of(std::string_view frame) {
  return frame.substr(frame_header_bytes(frame));
}

void check_id(const std::string& id_json) {
  CHECK(is_json(id_json) && id_json.size() <= 64 * 6 + 2, "an id is short JSON");
}

void check_refused(Dialect dialect, const Malformed& malformed) {
  check_id(malformed.id_json);
  CHECK(!malformed.message.empty() && is_text(malformed.message), "an error has a sentence");
  CHECK(malformed.code != Code::parse_error || malformed.id_json == "null", "no id is read from what is no JSON");
  std::string frame;
  append_error(frame, dialect, malformed.id_json, malformed.code, malformed.message);
  CHECK(is_json(json_of(frame)), "an error is JSON");
}

// What a classic client would have to send, said by our own encoder, must be read as the same text.
void check_said_again(const Request& request) {
  Row row;
  row.sequence = 1;
  row.message.uuid = request.uuid;
  row.message.user_id = request.user_id.empty() ? "u" : request.user_id;
  row.message.user_name = "n";
  row.message.date = request.date;
  row.message.text = request.text;
  row.message.id_json = request.id_json;
  std::string frame;
  append_message(frame, request.room_name, row);
  const std::variant<Request, Malformed> again = parse_request(Dialect::classic, json_of(frame));
  CHECK(std::holds_alternative<Request>(again), "a push can be read as a text");
  const auto& read = std::get<Request>(again);
  CHECK(read.text == request.text && read.uuid == request.uuid && read.date == request.date &&
            read.room_name == request.room_name && read.id_json == request.id_json,
        "a text comes back as it was sent");
}

void check_accepted(Dialect dialect, const Request& r) {
  check_id(r.id_json);
  for (const std::string* text :
       {&r.room_name, &r.user_id, &r.user_name, &r.user_name_folded, &r.uuid, &r.date, &r.text})
    CHECK(is_text(*text), "every string is UTF-8 without NUL");
  if (r.method != Method::rooms && r.method != Method::ping)
    CHECK(room_name_valid(r.room_name), "a room has an allowed name");
  if (r.method == Method::join_room || r.method == Method::reconnect)
    CHECK(!r.user_name_folded.empty() && fold_user_name(r.user_name) == r.user_name_folded, "a user has a name");
  if (dialect == Dialect::classic)
    CHECK(!r.user_id.empty() && r.user_id.size() <= 128 && r.user_id.front() != '~', "a classic user has an id");
  if (r.user_key) {
    CHECK(r.user_key->size() == 43 && base64url_alphabet_only(*r.user_key), "a key is 43 characters of base64url");
    CHECK(user_id_of_key(*r.user_key).size() == 23, "a key has a user id");
  }
  if (r.position) {
    CHECK(r.position->sequence <= sequence_max, "a position's sequence fits a client's number");
    CHECK(parse_position(position_text(*r.position)) == r.position, "a position is read as it is written");
  }
  if (r.limit) CHECK(*r.limit <= 1000, "a limit is small");
  CHECK(!(r.before && r.after), "a history goes one way");
  CHECK(r.sequence <= sequence_max && r.before.value_or(0) <= sequence_max && r.after.value_or(0) <= sequence_max,
        "a sequence fits a client's number");
  if (r.method == Method::text_message) {
    CHECK(!r.text.empty() && r.date.size() <= 64, "a text says something");
    CHECK(!r.uuid.empty() && r.uuid.size() <= 64 && base64url_alphabet_only(r.uuid), "a uuid is plain");
    check_said_again(r);
  }
}

}  // namespace
}  // namespace tertulia

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tertulia;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  bool was_json = false;
  for (Dialect dialect : {Dialect::classic, Dialect::v2}) {
    const std::variant<Request, Malformed> parsed = parse_request(dialect, input);
    const auto* malformed = std::get_if<Malformed>(&parsed);
    if (malformed != nullptr) {
      check_refused(dialect, *malformed);
    } else {
      check_accepted(dialect, std::get<Request>(parsed));
    }
    const bool is_json_now = malformed == nullptr || malformed->code != Code::parse_error;
    if (dialect == Dialect::classic) was_json = is_json_now;
    CHECK(was_json == is_json_now, "what is JSON does not depend on the dialect");
  }
  CHECK(was_json == is_json(input) && (!was_json || is_text(input)), "JSON is text");
  if (const std::optional<Position> position = parse_position(input))
    CHECK(position_text(*position) == input, "a position has one spelling");
  if (const std::optional<std::string> folded = fold_user_name(input))
    CHECK(!folded->empty() && is_text(*folded), "a folded name is a name");
  std::string quoted;
  if (utf8_valid(input)) append_json_string(quoted, input);
  CHECK(!is_text(input) || quoted.empty() || is_json(quoted), "any text can be quoted");
  return 0;
}
