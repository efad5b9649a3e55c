#include "store/sqlite.h"

#include <cstring>
#include <system_error>

namespace tertulia::sqlite {

Trouble trouble_of(int code) {
  switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return Trouble::none;
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
    case SQLITE_MISMATCH: return Trouble::message;
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
    case SQLITE_INTERNAL: return Trouble::unknown;
    default: return Trouble::not_now;
  }
}

int Connection::open(const std::string& path, int flags, const std::string& vfs) {
  close();
  int code = sqlite3_open_v2(path.c_str(), &db_, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                             vfs.empty() ? nullptr : vfs.c_str());
  if (code != SQLITE_OK) {
    open_error_ = error();
    sqlite3_close_v2(db_);
    db_ = nullptr;
  }
  return code;
}

void Connection::close() {
  if (db_ == nullptr) return;
  sqlite3_close_v2(db_);
  db_ = nullptr;
}

int Connection::run(const char* sql) {
  return sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
}

int64_t Connection::number(const char* sql, int64_t otherwise) {
  Statement statement;
  if (statement.prepare(*this, sql) != SQLITE_OK || statement.step() != SQLITE_ROW) return otherwise;
  return statement.number(0);
}

std::string Connection::error() const {
  if (db_ == nullptr) return open_error_.empty() ? "not open" : open_error_;
  int code = sqlite3_extended_errcode(db_);
  std::string text = std::string(sqlite3_errmsg(db_)) + " (SQLite error " + std::to_string(code);
  int system = sqlite3_system_errno(db_);
  if (system != 0) text += ", " + std::generic_category().message(system);
  return text + ")";
}

int Statement::prepare(const Connection& connection, const char* sql) {
  finish();
  return sqlite3_prepare_v3(connection.raw(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
}

void Statement::finish() {
  sqlite3_finalize(statement_);
  statement_ = nullptr;
}

Chain Statement::chain(int column) const {
  Chain chain;
  const void* data = sqlite3_column_blob(statement_, column);
  if (data != nullptr && static_cast<size_t>(sqlite3_column_bytes(statement_, column)) == chain.bytes.size()) {
    std::memcpy(chain.bytes.data(), data, chain.bytes.size());
  }
  return chain;
}

}  // namespace tertulia::sqlite
