// A thin coat over SQLite's C interface: a connection and its prepared statements, closed by their destructors.
//
// Connections are opened in SQLite's multi-thread mode (SQLITE_OPEN_NOMUTEX): no lock is taken inside, so a connection
// and its statements are used by one thread at a time. Each of our threads has its own connection.
// Thread: one at a time. Memory: page cache as configured. Ends: statements before their connection.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/position.h"

namespace tertulia::sqlite {

// What an error code means for whoever wanted to write.
enum class Trouble : uint8_t {
  none,
  message,  // about the row itself: it will never be taken
  not_now,  // nothing happened, and it may work later: full, read-only, locked
  unknown,  // what is on the disk is not known: input or output failed
};
Trouble trouble_of(int code);

class Connection {
 public:
  Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { close(); }

  // flags: SQLITE_OPEN_READONLY, or READWRITE with or without CREATE. vfs: empty for the default. Returns SQLite's
  // code; error() tells it in words. After a failure the connection is closed.
  [[nodiscard]] int open(const std::string& path, int flags, const std::string& vfs);
  void close();
  bool is_open() const { return db_ != nullptr; }
  // Runs one or several statements and drops their rows.
  int run(const char* sql);
  // The first column of the first row, or `otherwise`.
  int64_t number(const char* sql, int64_t otherwise);
  bool in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }
  // The last error in words, with its name.
  std::string error() const;
  sqlite3* raw() const { return db_; }

 private:
  sqlite3* db_ = nullptr;
  std::string open_error_;
};

// Texts and bytes that are bound must stay where they are until the statement is reset.
class Statement {
 public:
  Statement() = default;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement() { finish(); }

  [[nodiscard]] int prepare(const Connection& connection, const char* sql);
  void finish();

  int bind(int place, int64_t value) { return sqlite3_bind_int64(statement_, place, value); }
  int bind(int place, std::string_view text) {
    return sqlite3_bind_text64(statement_, place, text.data() ? text.data() : "", text.size(), SQLITE_STATIC,
                               SQLITE_UTF8);
  }
  int bind(int place, const Chain& chain) {
    return sqlite3_bind_blob(statement_, place, chain.bytes.data(), chain.bytes.size(), SQLITE_STATIC);
  }
  int bind_nothing(int place) { return sqlite3_bind_null(statement_, place); }
  // SQLITE_ROW, SQLITE_DONE or an error.
  int step() { return sqlite3_step(statement_); }
  void reset() { sqlite3_reset(statement_); }

  int64_t number(int column) const { return sqlite3_column_int64(statement_, column); }
  std::string text(int column) const {
    auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return data ? std::string(data, static_cast<size_t>(sqlite3_column_bytes(statement_, column))) : std::string();
  }
  // All zeros if the column does not hold a chain: it then continues nothing.
  Chain chain(int column) const;

 private:
  sqlite3_stmt* statement_ = nullptr;
};

// Resets a statement when its use ends, so that it pins no snapshot.
class Use {
 public:
  explicit Use(Statement& statement) : statement_(statement) {}
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  ~Use() { statement_.reset(); }
  Statement* operator->() { return &statement_; }

 private:
  Statement& statement_;
};

}  // namespace tertulia::sqlite
