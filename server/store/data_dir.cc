#include "store/data_dir.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include "base/failpoint.h"

namespace tertulia::sqlite {
namespace {

constexpr size_t kBallastBytes = 1 << 20;

// One of the database's files, opened as SQLite itself opens it: through its VFS. So a VFS that a test puts in between
// sees it, and closing it does not drop the locks that SQLite's connections of this process hold on the same file.
class VfsFile {
 public:
  VfsFile(sqlite3_vfs* vfs, const std::string& database, bool wal)
      : name_(sqlite3_create_filename(database.c_str(), (database + "-journal").c_str(), (database + "-wal").c_str(), 0,
                                      nullptr)),
        memory_(static_cast<size_t>(vfs->szOsFile)),
        file_(reinterpret_cast<sqlite3_file*>(memory_.data())) {
    const int kind = wal ? SQLITE_OPEN_WAL : SQLITE_OPEN_MAIN_DB;
    const char* name = wal ? sqlite3_filename_wal(name_) : name_;
    int out_flags = 0;
    code_ = vfs->xOpen(vfs, name, file_, kind | SQLITE_OPEN_READWRITE, &out_flags);
  }
  VfsFile(const VfsFile&) = delete;
  VfsFile& operator=(const VfsFile&) = delete;
  ~VfsFile() {
    if (file_->pMethods != nullptr) file_->pMethods->xClose(file_);
    sqlite3_free_filename(const_cast<char*>(name_));
  }

  int code() const { return code_; }

  int write_back() {
    sqlite3_int64 size = 0;
    int code = file_->pMethods->xFileSize(file_, &size);
    // SQLite's own VFS takes less than 128 KiB at a time and calls more a full disk.
    std::vector<char> piece(64 << 10);
    for (sqlite3_int64 at = 0; code == SQLITE_OK && at < size; at += static_cast<sqlite3_int64>(piece.size())) {
      const int bytes = static_cast<int>(std::min<sqlite3_int64>(static_cast<sqlite3_int64>(piece.size()), size - at));
      code = file_->pMethods->xRead(file_, piece.data(), bytes, at);
      if (code == SQLITE_OK) code = file_->pMethods->xWrite(file_, piece.data(), bytes, at);
    }
    return code;
  }
  int sync() { return file_->pMethods->xSync(file_, SQLITE_SYNC_NORMAL); }

 private:
  const char* name_;
  std::vector<char> memory_;
  sqlite3_file* file_;
  int code_;
};

std::string sqlite_trouble(const std::string& what, int code) {
  return "store: " + what + " (" + sqlite3_errstr(code) + ", SQLite error " + std::to_string(code) +
         "). See whether the disk is well and whether there is room on it.";
}

}  // namespace

std::string system_trouble(const std::string& what, int error, const std::string& advice) {
  return "store: " + what + " (" + std::generic_category().message(error) + "). " + advice;
}

int sync_path(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return error;
}

DataDir::DataDir(std::string path, std::string vfs) : path_(std::move(path)), vfs_(std::move(vfs)) {}

DataDir::~DataDir() {
  if (backup_fd_ >= 0) ::close(backup_fd_);
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

std::string DataDir::take() {
  // Made from the top down, each one's name synced into the directory above.
  std::filesystem::path so_far;
  for (const auto& part : std::filesystem::path(path_)) {
    std::filesystem::path above = so_far.empty() ? std::filesystem::path(".") : so_far;
    so_far /= part;
    if (part.empty() || ::mkdir(so_far.c_str(), 0700) != 0) {
      if (part.empty() || errno == EEXIST) continue;
      std::error_code ignored;
      if (std::filesystem::is_directory(so_far, ignored)) continue;
      return system_trouble("cannot make the directory " + so_far.string(), errno,
                            "Start with --data-dir pointing to a place that this user may write to.");
    }
    sync_path(above.string());
  }
  lock_fd_ = ::open(file("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd_ < 0) {
    return system_trouble("cannot open " + file("lock"), errno,
                          "The directory must belong to the user that runs the server; change its owner or start with "
                          "another --data-dir.");
  }
  if (::flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    std::array<char, 32> owner{};
    ssize_t got = ::pread(lock_fd_, owner.data(), owner.size() - 1, 0);
    std::string who = got > 0 ? "process " + std::string(owner.data(), static_cast<size_t>(got)) : "another process";
    while (!who.empty() && who.back() == '\n') who.pop_back();
    const int error = errno;
    ::close(lock_fd_);
    lock_fd_ = -1;
    if (error != EWOULDBLOCK && got < 0) return system_trouble("cannot lock " + file("lock"), error, "");
    return "store: the data directory " + path_ + " is in use by " + who +
           ". Stop that server first, or start this one with another --data-dir.";
  }
  // Only for the sentence above; on a full disk the lock holds without it.
  const std::string id = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock_fd_, 0) != 0 || ::pwrite(lock_fd_, id.data(), id.size(), 0) < 0) errno = 0;
  backup_fd_ = ::open(file("backup").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (backup_fd_ < 0) return system_trouble("cannot open " + file("backup"), errno, "See whether there is room on it.");
  return "";
}

std::string DataDir::make_durable(bool write_back) {
  sqlite3_vfs* vfs = sqlite3_vfs_find(vfs_.empty() ? nullptr : vfs_.c_str());
  if (vfs == nullptr) return "store: there is no SQLite VFS " + vfs_ + ".";
  if (database_exists()) {
    int wal_there = 0;
    const std::string wal = database_path() + "-wal";
    vfs->xAccess(vfs, wal.c_str(), SQLITE_ACCESS_EXISTS, &wal_there);
    if (wal_there != 0) {
      VfsFile file(vfs, database_path(), true);
      int code = file.code();
      if (code == SQLITE_OK && write_back) code = file.write_back();
      if (code == SQLITE_OK) code = FAILPOINT("while_opening") ? SQLITE_IOERR_FSYNC : file.sync();
      if (code != SQLITE_OK) return sqlite_trouble("cannot sync " + wal, code);
    }
    VfsFile file(vfs, database_path(), false);
    int code = file.code();
    if (code == SQLITE_OK) code = file.sync();
    if (code != SQLITE_OK) return sqlite_trouble("cannot sync " + database_path(), code);
  }
  return sync_directory();
}

std::string DataDir::sync_directory() {
  int error = sync_path(path_);
  return error == 0 ? "" : system_trouble("cannot sync the directory " + path_, error, "See whether the disk is well.");
}

bool DataDir::database_exists() const {
  return ::access(database_path().c_str(), F_OK) == 0;
}
bool DataDir::ended_empty() const {
  return ::access(file("ended-empty").c_str(), F_OK) == 0;
}

std::string DataDir::forget_ended_empty() {
  if (::unlink(file("ended-empty").c_str()) != 0 && errno != ENOENT) {
    return system_trouble("cannot take away " + file("ended-empty"), errno, "The directory must be writable.");
  }
  return sync_directory();
}

std::string DataDir::note_ended_empty() {
  int fd = ::open(file("ended-empty").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return system_trouble("cannot make " + file("ended-empty"), errno, "Names wait after the next start.");
  ::close(fd);
  return sync_directory();
}

bool DataDir::ballast_exists() const {
  return ::access(file("ballast").c_str(), F_OK) == 0;
}

void DataDir::give_up_ballast() {
  ::unlink(file("ballast").c_str());
}

void DataDir::make_ballast() {
  if (ballast_exists()) return;
  const std::string unfinished = file("ballast.new");
  int fd = ::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return;
  // Written, not only reserved: some file systems reserve what they cannot hold. Not all zeros, some compress.
  std::vector<char> piece(64 << 10);
  uint32_t state = 1;
  bool whole = true;
  for (size_t at = 0; at < kBallastBytes && whole; at += piece.size()) {
    for (char& byte : piece) byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
    whole = ::write(fd, piece.data(), piece.size()) == static_cast<ssize_t>(piece.size());
  }
  whole = whole && ::fsync(fd) == 0;
  ::close(fd);
  if (!whole || ::rename(unfinished.c_str(), file("ballast").c_str()) != 0) ::unlink(unfinished.c_str());
}

bool DataDir::exclude_backups() {
  return ::flock(backup_fd_, LOCK_EX | LOCK_NB) == 0;
}
void DataDir::admit_backups() {
  ::flock(backup_fd_, LOCK_UN);
}

}  // namespace tertulia::sqlite
