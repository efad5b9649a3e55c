// Writes everything a server says, as complete WebSocket text frames behind `out`.
//
// Encoding is deterministic: the same arguments give the same bytes, so a frame that was cut in the middle can be made
// again and continued. A message's frame is the same in both dialects. Pure. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/codes.h"
#include "protocol/message.h"
#include "protocol/request.h"

namespace tertulia {

// The push of a message: also its sender's ack.
void append_message(std::string& out, std::string_view room, const Row& row);
// Bytes of that frame's header, to get at the JSON of a ready frame (history answers are made of pushes).
size_t frame_header_bytes(std::string_view frame);

// {"jsonrpc":"2.0","result":"OK","id":N}
void append_classic_ok(std::string& out, std::string_view id_json);

struct ErrorDetails {  // v2's data; classic errors have none
  bool retryable = false;
  std::optional<int64_t> retry_after_ms;
};
void append_error(std::string& out, Dialect dialect, std::string_view id_json, Code code, std::string_view message,
                  ErrorDetails details = {});

// v2 answers. All carry status:"OK".
struct JoinAnswer {
  std::string_view session_id, user_id;
  std::string_view user_key;  // empty unless it was made now
  Position head;
  Sequence oldest = 1;
  uint64_t members_count = 0;
  Sequence read = 0;
  int64_t heartbeat_ms = 0;
  uint64_t message_bytes_max = 0;
  std::string_view server_version, node;
};
void append_join_answer(std::string& out, std::string_view id_json, const JoinAnswer& answer);
void append_text_answer(std::string& out, std::string_view id_json, const Position& position, bool repeated);
void append_ok(std::string& out, std::string_view id_json);  // leaveRoom, read, typing, ping
// Takes rows in ascending order.
void append_history_answer(std::string& out, std::string_view id_json, std::string_view room, std::span<const Row> rows,
                           bool more);
struct MemberEntry {
  std::string user_id, user_name;
  Sequence read = 0;
};
void append_members_answer(std::string& out, std::string_view id_json, std::span<const MemberEntry> members,
                           uint64_t total, std::optional<std::string_view> next);
struct RoomEntry {
  std::string room_name;
  Position head;
  Sequence read = 0;
  uint64_t members_count = 0;
};
void append_rooms_answer(std::string& out, std::string_view id_json, std::span<const RoomEntry> rooms);

// v2 notifications.
void append_live(std::string& out, std::string_view room, Sequence sequence);
void append_skipped(std::string& out, std::string_view room, Sequence after, Sequence before);
void append_reset(std::string& out, std::string_view room, Sequence oldest, const Position& head);
void append_user_joined(std::string& out, std::string_view room, std::string_view user_id, std::string_view user_name);
void append_user_left(std::string& out, std::string_view room, std::string_view user_id, std::string_view user_name);
void append_typing(std::string& out, std::string_view room, std::string_view user_id, std::string_view user_name);
void append_read(std::string& out, std::string_view room, std::string_view user_id, Sequence sequence);
void append_members_changed(std::string& out, std::string_view room, uint64_t members_count);
void append_heartbeat(std::string& out);
void append_reconnect(std::string& out, int64_t after_ms, int64_t deadline_ms, std::string_view reason);

// Classic notification: <userName> has joined the room!
void append_new_user(std::string& out, std::string_view room, std::string_view user_name);

}  // namespace tertulia
