// Keeps the server, should its disk fail just now, from proving anything while somebody else has the database open to
// read all of it: a backup, a verification.
// Thread: one. Ends: gives the lock back.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace tertulia::sqlite {

class BackupLock {
 public:
  explicit BackupLock(const std::string& data_dir)
      : fd_(::open((data_dir + "/backup").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    // Where nothing can be written no server writes.
    held_ = fd_ >= 0 ? ::flock(fd_, LOCK_SH | LOCK_NB) == 0 : errno == EROFS;
  }
  BackupLock(const BackupLock&) = delete;
  BackupLock& operator=(const BackupLock&) = delete;
  ~BackupLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  // False: a server is recovering from a failing disk just now.
  bool held() const { return held_; }

 private:
  int fd_;
  bool held_ = false;
};

}  // namespace tertulia::sqlite
