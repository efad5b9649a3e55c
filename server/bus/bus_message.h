// What crosses the network between nodes, as bytes: a version, a kind, and the fields.
//
//   message   := 1 kind fields                           one byte each for version and kind
//   piece     := u16 entries, each: u64 sequence, previous[12], chain[12], str8 uuid, str8 userId, body[16], str32
//   frame signal    := u8 kind, str8 userId, str16 userName, u64 sequence, u64 membersCount, u8 cameBack head      :=
//   u64 sequence, chain[12] heartbeat := str8 node
//
// Numbers are big-endian; strN is a length of N bits and so many bytes. The room is not named: it is the subject's.
// Whoever may write to the bus may write anything, so what comes from it is foreign: a message is understood as a whole
// or not at all, within the limits that the sender's own checks keep. A version or kind not known is not understood
// either: nodes of two versions lose each other's messages then, and read them from the store.
// Pure. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bus/bus.h"

namespace tertulia {

inline constexpr uint8_t bus_message_version = 1;

struct Heartbeat {
  std::string node;  // 1 to 64 of [A-Za-z0-9_-]
};

struct Encoded {
  std::vector<std::string> messages;  // each at most bytes_max long, in the order to send them
  size_t left_out = 0;                // entries, signals and heads that do not fit into any message
};

// Splits a piece by its entries where it is too large for one message.
Encoded encode_item(const BusItem& item, size_t bytes_max);
std::string encode_heartbeat(std::string_view node);

// What a room's subject carries. Nothing: not understood.
using RoomNews = decltype(BusItem::what);
std::optional<RoomNews> decode_room_news(std::string_view message);
std::optional<Heartbeat> decode_heartbeat(std::string_view message);

// "room." and chain(0) of the room in hex. Never the name: it might hold anything, and others read subjects.
std::string room_subject(std::string_view room);
inline constexpr const char* heartbeat_subject = "node.heartbeat";

}  // namespace tertulia
