// Every fixed limit on what strangers can make the server hold or do, with what it costs. What an operator may change
// is in node/options.h; what is only a detail of one file stands there.
//
// The bound of the whole, besides options: connections × (one session + answers_bytes_max at worst) + shards ×
// tails_bytes_shard_max + waiting_bytes_node_max + pages. Answers are built only for who reads them, so the worst case
// needs as many readers of long answers as there are connections.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tertulia::limits {

// --- one request ---

inline constexpr size_t id_code_points_max = 64;               // stored with the message, so paid for ever
inline constexpr uint64_t id_integer_max = uint64_t{1} << 53;  // what JavaScript holds exactly
inline constexpr size_t uuid_bytes_max = 64;                   // a key of the store's index
inline constexpr size_t date_bytes_max = 64;
inline constexpr size_t user_id_bytes_max = 128;
inline constexpr size_t user_key_bytes = 43;        // 256 bits in base64url
inline constexpr size_t name_code_points_max = 64;  // of rooms and users
inline constexpr size_t name_bytes_max = 256;
inline constexpr size_t members_after_bytes_max = 4096;  // a folded name, which may be longer than the name

// --- what one session may have waiting ---

inline constexpr uint32_t waiting_messages_max = 128;      // accepted and undecided; beyond it the session is not read
inline constexpr size_t early_messages_max = 128;          // texts of classic clients that came before any join
inline constexpr size_t early_bytes_max = 256 << 10;       // of these
inline constexpr size_t answers_bytes_max = 256 << 10;     // unsent; above it nothing is read and no answer is built
inline constexpr size_t answers_bytes_resume = 128 << 10;  // below it reading goes on
inline constexpr uint32_t resends_max = 4;                 // its old messages being read from the store for it
inline constexpr uint32_t floods_per_second_max = 10;      // pings, empty frames

inline constexpr size_t pressed_out_max = 16;  // connections without a room that a shard ends at once for others
inline constexpr int64_t press_out_every_us = 100'000;

// --- what one answer may hold ---

inline constexpr uint64_t join_limit_max = 1000;  // messages that a join may ask for
inline constexpr uint64_t page_limit_max = 200;   // messages or members in an answer
inline constexpr size_t history_limit_default = 50;
inline constexpr size_t members_limit_default = 200;
inline constexpr size_t history_bytes_max = 256 << 10;  // then `more`

// --- what may wait for the store ---

inline constexpr size_t waiting_bytes_room_max = 4 << 20;
inline constexpr int64_t waiting_bytes_node_max = 64 << 20;

// --- sweeps: how long one room may keep a shard from the others ---

inline constexpr size_t sweep_members_max = 256;
inline constexpr int64_t sweep_slice_us = 500;
inline constexpr size_t write_bytes_max = 128 << 10;  // in one call to the kernel
inline constexpr int writes_max = 4;                  // in a row, before others get their turn

// --- what a shard keeps ---

inline constexpr size_t committed_uuids_max = 100'000;      // uuids remembered, about 100 bytes each
inline constexpr size_t tails_bytes_shard_max = 256 << 20;  // of all rooms; above it quiet rooms give up theirs
inline constexpr size_t page_rows_max = 512;  // read from the store at once, for whoever is behind the tail
inline constexpr size_t page_bytes_max = 256 << 10;
inline constexpr size_t pages_kept_max = 32;               // of one room, for two seconds
inline constexpr size_t pages_bytes_shard_max = 64 << 20;  // of all rooms; above it each room keeps two

inline constexpr size_t heads_asked_max = 500;  // of the store at once

// --- signals ---

inline constexpr uint32_t signals_per_second_max = 20;  // of one kind in one room
inline constexpr size_t large_room = 500;               // above it nobody is told who types or reads …
inline constexpr size_t newest_members = 500;           // … and only these are told who came

// --- relations ---

static_assert(answers_bytes_resume < answers_bytes_max, "or reading would flap");
static_assert(history_bytes_max <= answers_bytes_max,
              "one answer must not close the door on the next request for long");
static_assert(page_bytes_max * pages_kept_max <= pages_bytes_shard_max / 4, "one room's pages leave place for others'");
static_assert(waiting_bytes_room_max <= static_cast<size_t>(waiting_bytes_node_max), "a room is part of the node");
static_assert(early_messages_max <= waiting_messages_max,
              "what waited for a join must then fit into what waits for the store");
static_assert(page_limit_max <= join_limit_max && history_limit_default <= page_limit_max &&
              members_limit_default <= page_limit_max);
static_assert(name_code_points_max * 4 <= name_bytes_max, "a name of the longest characters fits");

}  // namespace tertulia::limits
