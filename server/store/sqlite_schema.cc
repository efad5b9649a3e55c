#include "store/sqlite_schema.h"

#include <mutex>

#include "store/shim_vfs.h"

namespace tertulia::sqlite {
namespace {

constexpr const char* kSchema = R"sql(
BEGIN IMMEDIATE;
CREATE TABLE rooms (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);
CREATE TABLE messages (
  entry INTEGER PRIMARY KEY,
  room INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  previous BLOB NOT NULL,
  chain BLOB NOT NULL,
  uuid TEXT NOT NULL,
  kind INTEGER NOT NULL,
  user_id TEXT NOT NULL,
  user_name TEXT NOT NULL,
  date TEXT NOT NULL,
  sent_at INTEGER NOT NULL,
  id_json TEXT NOT NULL,
  text TEXT,
  file_name TEXT,
  content_type TEXT,
  size INTEGER,
  sha256 TEXT
);
CREATE UNIQUE INDEX messages_seq ON messages (room, seq);
CREATE UNIQUE INDEX messages_uuid ON messages (room, uuid);
CREATE TABLE read_markers (
  room INTEGER NOT NULL,
  user_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (room, user_id)
) WITHOUT ROWID;
PRAGMA user_version = 1;
COMMIT;
)sql";

// Before SQLite is used for the first time: its memory statistics cost a global lock at every allocation.
void configure_once() {
  static std::once_flag once;
  std::call_once(once, [] { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); });
}

std::string failed(Connection& connection, const std::string& path, int code, int& code_out) {
  code_out = code;
  std::string text = "store: cannot open " + path + ": " + connection.error() + ". ";
  switch (code & 0xff) {
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
      text +=
          "See who owns the file and the directory, and whether the disk is full; change the owner, make room, or "
          "start with another --data-dir.";
      break;
    case SQLITE_FULL: text += "Make room on the disk."; break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      text += "The file is damaged, or not Tertulia's. Restore a backup: stop, replace the directory, start.";
      break;
    default: text += "See whether the disk is well.";
  }
  connection.close();
  return text;
}

// What holds for every connection. mmap is off: an I/O error would be a signal and not an error code.
int set_up(Connection& connection, uint32_t cache_bytes) {
  sqlite3_extended_result_codes(connection.raw(), 1);
  // The log is never taken away at a close: what is in it must be proven durable by us, at the next opening.
  sqlite3_db_config(connection.raw(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_db_config(connection.raw(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_busy_timeout(connection.raw(), 1'000);
  // Far above any message; a longer one is refused and not carried through every cache.
  sqlite3_limit(connection.raw(), SQLITE_LIMIT_LENGTH, 32 << 20);
  std::string pragmas = "PRAGMA cache_size = -" + std::to_string(cache_bytes / 1024) +
                        "; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0;";
  return connection.run(pragmas.c_str());
}

}  // namespace

std::string vfs_of([[maybe_unused]] const StoreOptions& options) {
#ifdef TERTULIA_FAILPOINTS
  return options.unsafe_vfs.empty() ? failpoint_vfs() : options.unsafe_vfs;
#else
  return "";
#endif
}

std::string open_writer(Connection& connection, const std::string& path, const StoreOptions& options, int& code) {
  configure_once();
  int result = connection.open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs_of(options));
  if (result == SQLITE_OK) result = set_up(connection, options.writer_cache_bytes);
  if (result == SQLITE_OK) result = connection.run("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL;");
  const char* synchronous = "PRAGMA synchronous = FULL;";
#ifdef TERTULIA_FAILPOINTS
  if (options.unsafe_synchronous_off) synchronous = "PRAGMA synchronous = OFF;";
#endif
  if (result == SQLITE_OK) result = connection.run(synchronous);
  if (result != SQLITE_OK) return failed(connection, path, result, code);
  const int64_t version = connection.number("PRAGMA user_version", -1);
  if (version < 0) return failed(connection, path, sqlite3_extended_errcode(connection.raw()), code);
  if (version > kSchemaVersion) {
    code = SQLITE_ERROR;
    connection.close();
    return "store: " + path + " was written by a newer Tertulia (schema " + std::to_string(version) +
           ", this one knows " + std::to_string(kSchemaVersion) + "). Start that version, or restore an older backup.";
  }
  if (version == 0) {
    result = connection.run(kSchema);
    if (result != SQLITE_OK) return failed(connection, path, result, code);
  }
  // A file system on which the log does not work (no shared memory) silently keeps another journal.
  Statement mode;
  if (mode.prepare(connection, "PRAGMA journal_mode") != SQLITE_OK || mode.step() != SQLITE_ROW ||
      mode.text(0) != "wal") {
    mode.finish();
    code = SQLITE_CANTOPEN;
    connection.close();
    return "store: " + path + " cannot use a write-ahead log there. Start with --data-dir on a local disk.";
  }
  code = SQLITE_OK;
  return "";
}

std::string open_reader(Connection& connection, const std::string& path, const StoreOptions& options, int& code) {
  configure_once();
  int result = connection.open(path, SQLITE_OPEN_READONLY, vfs_of(options));
  if (result == SQLITE_OK) result = set_up(connection, options.reader_cache_bytes);
  // Opens the files now, so that trouble shows here and not at somebody's first read.
  if (result == SQLITE_OK) result = connection.run("SELECT 1 FROM rooms LIMIT 1");
  if (result != SQLITE_OK) return failed(connection, path, result, code);
  code = SQLITE_OK;
  return "";
}

}  // namespace tertulia::sqlite
