// A data directory: who owns it, and whether its bytes are really on the disk.
//
//   tertulia.db, -wal, -shm   the database
//   lock        held (flock) by the one process that serves it; holds its process id
//   backup      held shared by backups that read, exclusively while a broken disk is being recovered from
//   ballast     1 MiB, given up where a full disk would keep the database from opening
//   ended-empty is there if the last run ended with nobody present. A file, because taking it away needs no space
//
// Thread: one. Ends: gives the directory back.
#pragma once

#include <string>

namespace tertulia::sqlite {

class DataDir {
 public:
  // vfs: of SQLite, for reading and syncing the database's files; empty for the default.
  DataDir(std::string path, std::string vfs);
  DataDir(const DataDir&) = delete;
  DataDir& operator=(const DataDir&) = delete;
  ~DataDir();

  // Each returns an empty string, or a sentence for the operator.

  // Makes the directory (0700) if it is missing, and takes its lock.
  [[nodiscard]] std::string take();
  // Makes sure that whatever of the database's files can be read is also on the disk: the write-ahead log is read,
  // written back in place and synced, then the database and the directory are synced. What a killed process had written
  // but not synced, or what a failed fsync left in memory as clean, would otherwise be shown, acked again, and lost
  // with the power. REQUIRES: nothing writes to the database. Without write_back (for tests) only the first half is
  // mended.
  [[nodiscard]] std::string make_durable(bool write_back = true);
  [[nodiscard]] std::string sync_directory();

  // REQUIRES: taken.
  bool database_exists() const;
  bool ended_empty() const;
  // From now on the last run has not ended empty. Durable.
  [[nodiscard]] std::string forget_ended_empty();
  [[nodiscard]] std::string note_ended_empty();

  bool ballast_exists() const;
  void give_up_ballast();
  // No effect where there is no room for it.
  void make_ballast();

  // While excluded no backup has the database open. False: one is running.
  bool exclude_backups();
  void admit_backups();

  const std::string& path() const { return path_; }
  std::string database_path() const { return path_ + "/tertulia.db"; }

 private:
  std::string file(const char* name) const { return path_ + "/" + name; }

  const std::string path_, vfs_;
  int lock_fd_ = -1;
  int backup_fd_ = -1;
};

// "store: WHAT (REASON of errno). ADVICE"
std::string system_trouble(const std::string& what, int error, const std::string& advice);
// Syncs a file or directory. 0 or an errno.
int sync_path(const std::string& path);

}  // namespace tertulia::sqlite
