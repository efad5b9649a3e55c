#include "store/backup.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "store/backup_lock.h"
#include "store/data_dir.h"
#include "store/sqlite.h"
#include "store/sqlite_schema.h"

namespace tertulia {
namespace {

using sqlite::sync_path;
using sqlite::system_trouble;

constexpr int kPagesAStep = 256;

// The name that the copy gets when it is whole.
std::string final_name(const std::string& directory) {
  return directory + "/tertulia.db";
}
std::string unfinished_name(const std::string& directory) {
  return directory + "/tertulia.db.unfinished";
}

std::string make_destination(const std::string& destination) {
  if (::mkdir(destination.c_str(), 0700) == 0) {
    std::filesystem::path above = std::filesystem::path(destination).lexically_normal().parent_path();
    if (int error = sync_path(above.empty() ? "." : above.string()); error != 0) {
      return system_trouble("cannot sync the directory above " + destination, error, "See whether the disk is well.");
    }
    return "";
  }
  if (errno != EEXIST) {
    return system_trouble("cannot make " + destination, errno,
                          "Name a new directory in a place that you may write to.");
  }
  std::error_code error;
  const bool empty = std::filesystem::is_directory(destination, error) && std::filesystem::is_empty(destination, error);
  if (error || !empty) {
    return "store: " + destination + " is there already and not empty. Name a new directory; nothing was overwritten.";
  }
  return "";
}

std::string copy(sqlite::Connection& from, sqlite::Connection& to, const std::string& where, BackupProgress& progress) {
  // The snapshot is taken now and held, or every commit of the server would begin the copy anew.
  if (from.run("BEGIN; SELECT 1 FROM rooms LIMIT 1;") != SQLITE_OK) {
    return "store: cannot read " + where + ": " + from.error() + ". See whether it is a data directory of Tertulia.";
  }
  sqlite3_backup* job = sqlite3_backup_init(to.raw(), "main", from.raw(), "main");
  if (job == nullptr) return "store: cannot begin the copy: " + to.error() + ".";
  const uint64_t page_bytes = static_cast<uint64_t>(from.number("PRAGMA page_size", 4096));
  bool cancelled = false;
  int code;
  do {
    code = sqlite3_backup_step(job, kPagesAStep);
    const uint64_t total = static_cast<uint64_t>(sqlite3_backup_pagecount(job)) * page_bytes;
    const uint64_t done = total - static_cast<uint64_t>(sqlite3_backup_remaining(job)) * page_bytes;
    cancelled = progress && !progress(done, total);
  } while (code == SQLITE_OK && !cancelled);
  sqlite3_backup_finish(job);
  from.run("ROLLBACK");
  if (cancelled) return "store: the backup was cancelled; nothing was kept.";
  if (code != SQLITE_DONE) {
    return "store: the copy failed: " + to.error() + " / " + from.error() + ". See whether there is room on the disk.";
  }
  return "";
}

}  // namespace

std::string backup(const std::string& data_dir, const std::string& destination, BackupProgress progress) {
  const std::string source = final_name(data_dir);
  if (::access(source.c_str(), R_OK) != 0) {
    return system_trouble("cannot read " + source, errno, "Name the server's data directory with --data-dir.");
  }
  sqlite::BackupLock lock(data_dir);
  if (!lock.held()) {
    return "store: the server at " + data_dir +
           " is recovering from a failing disk. Try again when its log says that "
           "the disk is well.";
  }
  std::string error = make_destination(destination);
  if (!error.empty()) return error;

  const std::string unfinished = unfinished_name(destination);
  {
    StoreOptions options;
    sqlite::Connection from, to;
    int code = SQLITE_OK;
    error = sqlite::open_reader(from, source, options, code);
    if (error.empty() && to.open(unfinished, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "") != SQLITE_OK) {
      error = "store: cannot write " + unfinished + ": " + to.error() + ". See who owns the directory.";
    }
    // Nobody reads the copy before it is whole, so its pages need no journal; it is synced once, at the end.
    if (error.empty()) to.run("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;");
    if (error.empty()) error = copy(from, to, data_dir, progress);
    if (error.empty() && to.number("PRAGMA user_version", -1) != sqlite::kSchemaVersion) {
      error = "store: the copy does not read like the original. See whether the disk is well.";
    }
  }
  if (error.empty()) {
    int code = sync_path(unfinished);
    if (code == 0 && ::rename(unfinished.c_str(), final_name(destination).c_str()) != 0) code = errno;
    if (code == 0) code = sync_path(destination);
    if (code != 0) error = system_trouble("cannot make the copy durable", code, "See whether the disk is well.");
  }
  if (!error.empty()) {
    ::unlink(unfinished.c_str());
    ::unlink(final_name(destination).c_str());
    ::rmdir(destination.c_str());
  }
  return error;
}

}  // namespace tertulia
