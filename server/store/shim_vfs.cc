#include "store/shim_vfs.h"

#ifdef TERTULIA_FAILPOINTS

#include <new>

#include "base/check.h"
#include "base/failpoint.h"

namespace tertulia::sqlite {
namespace {

ShimVfs::File& of(sqlite3_file* file) {
  return *reinterpret_cast<ShimVfs::File*>(file);
}
sqlite3_file* real(sqlite3_file* file) {
  return of(file).real;
}

// Version 2: shared memory, but no memory-mapped pages, which would go past us.
const sqlite3_io_methods kMethods = {
    2,
    [](sqlite3_file* f) {
      sqlite3_file* r = real(f);
      return r->pMethods != nullptr ? r->pMethods->xClose(r) : SQLITE_OK;
    },
    [](sqlite3_file* f, void* data, int bytes, sqlite3_int64 at) { return of(f).vfs->on_read(of(f), data, bytes, at); },
    [](sqlite3_file* f, const void* data, int bytes, sqlite3_int64 at) {
      return of(f).vfs->on_write(of(f), data, bytes, at);
    },
    [](sqlite3_file* f, sqlite3_int64 size) { return of(f).vfs->on_truncate(of(f), size); },
    [](sqlite3_file* f, int flags) { return of(f).vfs->on_sync(of(f), flags); },
    [](sqlite3_file* f, sqlite3_int64* size) { return real(f)->pMethods->xFileSize(real(f), size); },
    [](sqlite3_file* f, int lock) { return real(f)->pMethods->xLock(real(f), lock); },
    [](sqlite3_file* f, int lock) { return real(f)->pMethods->xUnlock(real(f), lock); },
    [](sqlite3_file* f, int* out) { return real(f)->pMethods->xCheckReservedLock(real(f), out); },
    [](sqlite3_file* f, int op, void* arg) { return real(f)->pMethods->xFileControl(real(f), op, arg); },
    [](sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); },
    [](sqlite3_file* f) { return real(f)->pMethods->xDeviceCharacteristics(real(f)); },
    [](sqlite3_file* f, int page, int bytes, int extend, void volatile** out) {
      return real(f)->pMethods->xShmMap(real(f), page, bytes, extend, out);
    },
    [](sqlite3_file* f, int offset, int n, int flags) {
      return real(f)->pMethods->xShmLock(real(f), offset, n, flags);
    },
    [](sqlite3_file* f) { real(f)->pMethods->xShmBarrier(real(f)); },
    [](sqlite3_file* f, int remove) { return real(f)->pMethods->xShmUnmap(real(f), remove); },
    nullptr,
    nullptr,
};

}  // namespace

ShimVfs::ShimVfs(std::string name) : name_(std::move(name)), real_(sqlite3_vfs_find(nullptr)), vfs_(*real_) {
  CHECK(sqlite3_vfs_find(name_.c_str()) == nullptr, "each VFS has its own name");
  // Everything but opening a file is the real VFS's own; its other functions look at none of the fields changed here.
  vfs_.pNext = nullptr;
  vfs_.zName = name_.c_str();
  vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
  vfs_.pAppData = this;
  vfs_.xOpen = &ShimVfs::open;
  sqlite3_vfs_register(&vfs_, 0);
}

ShimVfs::~ShimVfs() {
  sqlite3_vfs_unregister(&vfs_);
}

int ShimVfs::open(sqlite3_vfs* vfs, const char* name, sqlite3_file* base, int flags, int* out_flags) {
  auto* self = static_cast<ShimVfs*>(vfs->pAppData);
  File* file = new (base) File;
  file->real = reinterpret_cast<sqlite3_file*>(file + 1);
  file->vfs = self;
  file->path = name;
  if ((flags & SQLITE_OPEN_MAIN_DB) != 0) file->kind = Kind::database;
  if ((flags & SQLITE_OPEN_WAL) != 0) file->kind = Kind::wal;
  int code = self->real_->xOpen(self->real_, name, file->real, flags, out_flags);
  if (code != SQLITE_OK) return code;
  file->base.pMethods = &kMethods;
  return self->on_open(*file);
}

int FailpointVfs::on_read(File& file, void* data, int bytes, sqlite3_int64 at) {
  if (file.kind != Kind::other && FAILPOINT("disk_unreadable")) return SQLITE_IOERR_READ;
  return ShimVfs::on_read(file, data, bytes, at);
}

int FailpointVfs::on_write(File& file, const void* data, int bytes, sqlite3_int64 at) {
  if (file.kind != Kind::other && FAILPOINT("disk_full")) return SQLITE_FULL;
  if (file.kind != Kind::other && FAILPOINT("disk_broken")) return SQLITE_IOERR_WRITE;
  return ShimVfs::on_write(file, data, bytes, at);
}

int FailpointVfs::on_sync(File& file, int flags) {
  if ((file.kind == Kind::wal && FAILPOINT("in_wal_sync")) ||
      (file.kind == Kind::database && FAILPOINT("in_checkpoint")) ||
      (file.kind != Kind::other && FAILPOINT("disk_broken"))) {
    on_sync_failed(file);
    return SQLITE_IOERR_FSYNC;
  }
  return ShimVfs::on_sync(file, flags);
}

const char* failpoint_vfs() {
  static FailpointVfs* const vfs = new FailpointVfs("tertulia-failpoints");
  (void)vfs;
  return "tertulia-failpoints";
}

}  // namespace tertulia::sqlite

#endif
