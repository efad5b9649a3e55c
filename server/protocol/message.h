// A message, and the row that it becomes in its room's log.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/position.h"

namespace tertulia {

enum class MessageKind : uint8_t { text = 1, image = 2, file = 3 };

// "textMessage", "imageMessage", "fileMessage".
std::string_view method_name(MessageKind kind);

// What a sender said, as the log keeps it. All strings are valid UTF-8 without NUL.
struct Message {
  MessageKind kind = MessageKind::text;
  std::string uuid;  // the client's, 1 to 64 of [A-Za-z0-9_-]; one message of a room has it
  std::string user_id;
  std::string user_name;   // as it was claimed in the room, not as the client wrote it
  std::string date;        // the client's, opaque, at most 64 bytes
  int64_t sent_at_ms = 0;  // this server's clock just before the append; nothing is ordered by it
  std::string text;        // of a text message
  std::string id_json;  // the sender's JSON-RPC id as it was spelled ("7", "\"a\""); part of the push, not of the chain
  // Of images and files only.
  std::string file_name;
  std::string content_type;
  uint64_t size_bytes = 0;
  std::string sha256_hex;

  size_t bytes() const {
    return 160 + uuid.size() + user_id.size() + user_name.size() + date.size() + text.size() + id_json.size() +
           file_name.size() + content_type.size() + sha256_hex.size();
  }
};

// Exactly once: two messages with one uuid are one if their bodies are the same (kind, user, and text or blob and
// name).
bool same_body(const Message& a, const Message& b);

// A message in its place. A reader shows row n+1 only behind row n, and only if `previous` is n's chain.
struct Row {
  Sequence sequence = 0;
  Chain previous;
  Chain chain;
  Message message;

  Position position() const { return {sequence, chain}; }
  Position before() const { return {sequence - 1, previous}; }
};

// chain(0): the place before the first message of a room.
Chain chain_start(std::string_view room);
// chain(n) from chain(n-1), by the form in docs/protocol.md. Thread: any.
Chain chain_next(const Chain& previous, Sequence sequence, const Message& message);
// The part of that form behind the sequence, for a store that numbers and chains by itself. Appends to out.
void append_chain_form(std::string& out, const Message& message);

}  // namespace tertulia
