#include "protocol/frames.h"

#include <charconv>

#include "protocol/json_reader.h"
#include "protocol/websocket.h"

namespace tertulia {
namespace {

// One text frame behind `out`: the JSON is written first and the header, whose size depends on its length, put before
// it.
class Frame {
 public:
  // `bytes` is about what will be written: room for it is made once, not by doubling from nothing.
  explicit Frame(std::string& out, size_t bytes = 192) : out_(out), begin_(out.size()) { out.reserve(begin_ + bytes); }
  ~Frame() {
    std::string header;  // at most 10 bytes: no allocation
    append_frame_header(header, Opcode::text, out_.size() - begin_);
    out_.insert(begin_, header);
  }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

 private:
  std::string& out_;
  const size_t begin_;
};

// Keys and other text of ours, with all the punctuation that stands around the values.
struct Raw {
  std::string_view json;
};

void put(std::string& out, Raw raw) {
  out += raw.json;
}
void put(std::string& out, std::string_view text) {
  append_json_string(out, text);
}
void put(std::string& out, bool value) {
  out += value ? "true" : "false";
}
void put(std::string& out, int64_t value) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}
void put(std::string& out, uint64_t value) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}
void put(std::string& out, const Position& position) {
  out += '"';
  append_position(out, position);
  out += '"';
}

template <class... Values>
void put_all(std::string& out, const Values&... values) {
  (put(out, values), ...);
}

constexpr Raw raw(std::string_view json) {
  return {json};
}

// An id that was read from a request is JSON already.
Raw id(std::string_view id_json) {
  return raw(id_json.empty() ? "null" : id_json);
}

// The opening of every v2 answer.
constexpr std::string_view ok_begin = R"({"jsonrpc":"2.0","result":{"status":"OK")";

void append_message_json(std::string& out, std::string_view room, const Row& row) {
  const Message& m = row.message;
  put_all(out, raw(R"({"jsonrpc":"2.0","method":")"), raw(method_name(m.kind)), raw(R"(","params":{"userId":)"),
          std::string_view(m.user_id), raw(R"(,"roomName":)"), room, raw(R"(,"userName":)"),
          std::string_view(m.user_name));
  switch (m.kind) {
    case MessageKind::text: put_all(out, raw(R"(,"text":)"), std::string_view(m.text)); break;
    case MessageKind::image: put_all(out, raw(R"(,"base64ImgString":"")")); break;
    case MessageKind::file:
      put_all(out, raw(R"(,"fileName":)"), std::string_view(m.file_name), raw(R"(,"fileContents":"")"));
      break;
  }
  put_all(out, raw(R"(,"ack":true,"uuid":)"), std::string_view(m.uuid), raw(R"(,"date":)"), std::string_view(m.date),
          raw(R"(,"sentAt":)"), m.sent_at_ms);
  if (m.kind != MessageKind::text)
    put_all(out, raw(R"(,"size":)"), m.size_bytes, raw(R"(,"contentType":)"), std::string_view(m.content_type),
            raw(R"(,"sha256":)"), std::string_view(m.sha256_hex));
  put_all(out, raw(R"(},"id":)"), id(m.id_json), raw(R"(,"sequence":)"), row.sequence, raw(R"(,"_id":)"),
          row.position(), raw("}"));
}

// A notification about somebody in a room.
void append_about_user(std::string& out, std::string_view method, std::string_view room, std::string_view user_id,
                       std::string_view user_name) {
  const Frame frame(out);
  put_all(out, raw(R"({"jsonrpc":"2.0","method":)"), method, raw(R"(,"params":{"roomName":)"), room,
          raw(R"(,"userId":)"), user_id, raw(R"(,"userName":)"), user_name, raw("}}"));
}

}  // namespace

void append_message(std::string& out, std::string_view room, const Row& row) {
  constexpr size_t other_bytes = 320;  // keys, numbers, position, and a header
  const Message& m = row.message;
  const Frame frame(out, other_bytes + room.size() + m.user_id.size() + m.user_name.size() + m.text.size() +
                             m.file_name.size() + m.uuid.size() + m.date.size() + m.id_json.size());
  append_message_json(out, room, row);
}

size_t frame_header_bytes(std::string_view frame) {
  const uint8_t length = frame.size() < 2 ? 0 : static_cast<uint8_t>(frame[1]) & 0x7F;
  return length < 126 ? 2 : length == 126 ? 4 : 10;
}

void append_classic_ok(std::string& out, std::string_view id_json) {
  const Frame frame(out);
  put_all(out, raw(R"({"jsonrpc":"2.0","result":"OK","id":)"), id(id_json), raw("}"));
}

void append_error(std::string& out, Dialect dialect, std::string_view id_json, Code code, std::string_view message,
                  ErrorDetails details) {
  const Frame frame(out);
  put_all(out, raw(R"({"jsonrpc":"2.0","error":{"code":)"), static_cast<int64_t>(code), raw(R"(,"message":)"), message);
  if (dialect == Dialect::v2) {
    put_all(out, raw(R"(,"data":{"retryable":)"), details.retryable);
    if (details.retry_after_ms) put_all(out, raw(R"(,"retryAfterMs":)"), *details.retry_after_ms);
    put_all(out, raw("}"));
  }
  put_all(out, raw(R"(},"id":)"), id(id_json), raw("}"));
}

void append_join_answer(std::string& out, std::string_view id_json, const JoinAnswer& answer) {
  const Frame frame(out);
  put_all(out, raw(ok_begin), raw(R"(,"sessionId":)"), answer.session_id, raw(R"(,"userId":)"), answer.user_id);
  if (!answer.user_key.empty()) put_all(out, raw(R"(,"userKey":)"), answer.user_key);
  put_all(out, raw(R"(,"head":)"), answer.head, raw(R"(,"oldest":)"), answer.oldest, raw(R"(,"members":)"),
          answer.members_count, raw(R"(,"read":)"), answer.read, raw(R"(,"heartbeatMs":)"), answer.heartbeat_ms,
          raw(R"(,"messageBytesMax":)"), answer.message_bytes_max, raw(R"(,"serverVersion":)"), answer.server_version,
          raw(R"(,"node":)"), answer.node, raw(R"(},"id":)"), id(id_json), raw("}"));
}

void append_text_answer(std::string& out, std::string_view id_json, const Position& position, bool repeated) {
  const Frame frame(out);
  put_all(out, raw(ok_begin), raw(R"(,"_id":)"), position, raw(R"(,"sequence":)"), position.sequence,
          raw(R"(,"repeated":)"), repeated, raw(R"(},"id":)"), id(id_json), raw("}"));
}

void append_ok(std::string& out, std::string_view id_json) {
  const Frame frame(out);
  put_all(out, raw(ok_begin), raw(R"(},"id":)"), id(id_json), raw("}"));
}

void append_history_answer(std::string& out, std::string_view id_json, std::string_view room, std::span<const Row> rows,
                           bool more) {
  const Frame frame(out);
  put_all(out, raw(ok_begin), raw(R"(,"messages":[)"));
  for (const Row& row : rows) {
    if (&row != rows.data()) out += ',';
    append_message_json(out, room, row);
  }
  put_all(out, raw(R"(],"more":)"), more, raw(R"(},"id":)"), id(id_json), raw("}"));
}

void append_members_answer(std::string& out, std::string_view id_json, std::span<const MemberEntry> members,
                           uint64_t total, std::optional<std::string_view> next) {
  const Frame frame(out);
  put_all(out, raw(ok_begin), raw(R"(,"members":[)"));
  for (const MemberEntry& member : members) {
    if (&member != members.data()) out += ',';
    put_all(out, raw(R"({"userId":)"), std::string_view(member.user_id), raw(R"(,"userName":)"),
            std::string_view(member.user_name), raw(R"(,"read":)"), member.read, raw("}"));
  }
  put_all(out, raw(R"(],"total":)"), total, raw(R"(,"next":)"));
  if (next) {
    put(out, *next);
  } else {
    out += "null";
  }
  put_all(out, raw(R"(},"id":)"), id(id_json), raw("}"));
}

void append_rooms_answer(std::string& out, std::string_view id_json, std::span<const RoomEntry> rooms) {
  const Frame frame(out);
  put_all(out, raw(ok_begin), raw(R"(,"rooms":[)"));
  for (const RoomEntry& room : rooms) {
    if (&room != rooms.data()) out += ',';
    put_all(out, raw(R"({"roomName":)"), std::string_view(room.room_name), raw(R"(,"head":)"), room.head,
            raw(R"(,"read":)"), room.read, raw(R"(,"members":)"), room.members_count, raw("}"));
  }
  put_all(out, raw(R"(]},"id":)"), id(id_json), raw("}"));
}

void append_live(std::string& out, std::string_view room, Sequence sequence) {
  const Frame frame(out);
  put_all(out, raw(R"({"jsonrpc":"2.0","method":"live","params":{"roomName":)"), room, raw(R"(,"sequence":)"), sequence,
          raw("}}"));
}

void append_skipped(std::string& out, std::string_view room, Sequence after, Sequence before) {
  const Frame frame(out);
  put_all(out, raw(R"({"jsonrpc":"2.0","method":"skipped","params":{"roomName":)"), room, raw(R"(,"after":)"), after,
          raw(R"(,"before":)"), before, raw("}}"));
}

void append_reset(std::string& out, std::string_view room, Sequence oldest, const Position& head) {
  const Frame frame(out);
  put_all(out, raw(R"({"jsonrpc":"2.0","method":"reset","params":{"roomName":)"), room, raw(R"(,"oldest":)"), oldest,
          raw(R"(,"head":)"), head, raw("}}"));
}

void append_user_joined(std::string& out, std::string_view room, std::string_view user_id, std::string_view user_name) {
  append_about_user(out, "userJoined", room, user_id, user_name);
}

void append_user_left(std::string& out, std::string_view room, std::string_view user_id, std::string_view user_name) {
  append_about_user(out, "userLeft", room, user_id, user_name);
}

void append_typing(std::string& out, std::string_view room, std::string_view user_id, std::string_view user_name) {
  append_about_user(out, "typing", room, user_id, user_name);
}

void append_read(std::string& out, std::string_view room, std::string_view user_id, Sequence sequence) {
  const Frame frame(out);
  put_all(out, raw(R"({"jsonrpc":"2.0","method":"read","params":{"roomName":)"), room, raw(R"(,"userId":)"), user_id,
          raw(R"(,"sequence":)"), sequence, raw("}}"));
}

void append_members_changed(std::string& out, std::string_view room, uint64_t members_count) {
  const Frame frame(out);
  put_all(out, raw(R"({"jsonrpc":"2.0","method":"membersChanged","params":{"roomName":)"), room, raw(R"(,"members":)"),
          members_count, raw("}}"));
}

void append_heartbeat(std::string& out) {
  const Frame frame(out);
  put_all(out, raw(R"({"jsonrpc":"2.0","method":"heartbeat","params":{}})"));
}

void append_reconnect(std::string& out, int64_t after_ms, int64_t deadline_ms, std::string_view reason) {
  const Frame frame(out);
  put_all(out, raw(R"({"jsonrpc":"2.0","method":"reconnect","params":{"afterMs":)"), after_ms, raw(R"(,"deadlineMs":)"),
          deadline_ms, raw(R"(,"reason":)"), reason, raw("}}"));
}

void append_new_user(std::string& out, std::string_view room, std::string_view user_name) {
  std::string text(user_name);
  text += " has joined the room!";
  const Frame frame(out);
  put_all(out, raw(R"({"jsonrpc":"2.0","method":"newUser","params":{"type":"system","text":)"), std::string_view(text),
          raw(R"(,"roomName":)"), room, raw("}}"));
}

}  // namespace tertulia
