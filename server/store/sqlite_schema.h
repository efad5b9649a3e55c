// The tables, and how our connections to them are set up.
//
// `messages` is a plain table appended in order, with unique indexes on (room, seq) and (room, uuid): clustered by room
// it would dirty a page a room. Its key `entry` only grows, so "everything that was proven durable" is one number. A
// room's head is its row with the highest seq; it stands nowhere else, so nothing can contradict it.
// Thread: none of its own.
#pragma once

#include <string>

#include "store/sqlite.h"
#include "store/store_options.h"

namespace tertulia::sqlite {

// Kept in user_version. A later version of the server may know how to raise it; an earlier one refuses it.
inline constexpr int64_t kSchemaVersion = 1;

// Each returns an empty string, or what went wrong, in words for the operator; the connection is then closed.
// `code` is SQLite's error then (SQLITE_ERROR for a schema that is too new).

// Makes the tables if there are none. No checkpoints happen by themselves on this connection.
[[nodiscard]] std::string open_writer(Connection& connection, const std::string& path, const StoreOptions& options,
                                      int& code);
// Read-only, and never a checkpoint: a second connection that checkpoints can lose the log's reset race.
[[nodiscard]] std::string open_reader(Connection& connection, const std::string& path, const StoreOptions& options,
                                      int& code);

std::string vfs_of(const StoreOptions& options);

}  // namespace tertulia::sqlite
