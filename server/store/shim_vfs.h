// A layer between SQLite and its own VFS, for tests: passes everything on, and lets a subclass come between.
//
// Only in builds with TERTULIA_FAILPOINTS. Shared memory and locks are the real ones, so that several connections and
// processes work together as always.
// Thread: any, as SQLite calls it. Ends: after every connection that uses it; mostly with the process.
#pragma once

#ifdef TERTULIA_FAILPOINTS

#include <sqlite3.h>

#include <cstdint>
#include <string>

namespace tertulia::sqlite {

class ShimVfs {
 public:
  enum class Kind : uint8_t { database, wal, other };
  struct File {
    sqlite3_file base{};  // first: SQLite sees this
    sqlite3_file* real = nullptr;
    ShimVfs* vfs = nullptr;
    Kind kind = Kind::other;
    const char* path = nullptr;
  };

  // Registers itself under `name`, not as the default.
  explicit ShimVfs(std::string name);
  ShimVfs(const ShimVfs&) = delete;
  ShimVfs& operator=(const ShimVfs&) = delete;
  virtual ~ShimVfs();

  // Each by default does the real thing. They return SQLite's codes.
  virtual int on_open(File&) { return SQLITE_OK; }
  virtual int on_read(File& file, void* data, int bytes, sqlite3_int64 at) { return real_read(file, data, bytes, at); }
  virtual int on_write(File& file, const void* data, int bytes, sqlite3_int64 at) {
    return real_write(file, data, bytes, at);
  }
  virtual int on_truncate(File& file, sqlite3_int64 size) { return real_truncate(file, size); }
  virtual int on_sync(File& file, int flags) { return real_sync(file, flags); }

 protected:
  static int real_read(File& f, void* data, int bytes, sqlite3_int64 at) {
    return f.real->pMethods->xRead(f.real, data, bytes, at);
  }
  static int real_write(File& f, const void* data, int bytes, sqlite3_int64 at) {
    return f.real->pMethods->xWrite(f.real, data, bytes, at);
  }
  static int real_truncate(File& f, sqlite3_int64 size) { return f.real->pMethods->xTruncate(f.real, size); }
  static int real_sync(File& f, int flags) { return f.real->pMethods->xSync(f.real, flags); }
  static int real_size(File& f, sqlite3_int64& size) { return f.real->pMethods->xFileSize(f.real, &size); }

 private:
  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags);

  const std::string name_;
  sqlite3_vfs* const real_;
  sqlite3_vfs vfs_;
};

// Where failpoints come between:
//   in_wal_sync      the write-ahead log is about to be synced; error: it is not, and EIO
//   in_checkpoint    pages have been copied into the database, which is about to be synced; error: likewise
//   disk_full        a write to the log or the database; error: SQLITE_FULL, nothing is written
//   disk_broken      a write or a sync of either; error: EIO
//   disk_unreadable  a read of either; error: EIO
class FailpointVfs : public ShimVfs {
 public:
  using ShimVfs::ShimVfs;
  int on_read(File& file, void* data, int bytes, sqlite3_int64 at) override;
  int on_write(File& file, const void* data, int bytes, sqlite3_int64 at) override;
  int on_sync(File& file, int flags) override;

 protected:
  // After a failed sync the kernel calls the pages clean; here a subclass hears of it.
  virtual void on_sync_failed(File&) {}
};

// The one that test builds use unless told otherwise. Registered at the first call.
const char* failpoint_vfs();

}  // namespace tertulia::sqlite

#endif
