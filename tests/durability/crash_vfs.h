// A disk that can lose its power.
//
// A VFS over SQLite's own that lets everything through to the real files, which so are what a kernel's page cache
// shows, and keeps beside them what the disk holds: for each file an image, brought up to date only by a sync, and one
// mark a sector of 512 bytes that says whether it has been written since. A failed sync takes the marks away without
// bringing anything to the image: after one, the kernel calls pages clean that were never written.
//
// Images and marks are files, so they outlive a killed process, as a page cache does: several processes may serve one
// after the other before the power goes. lose_power() then makes the real files what the disk held, plus none, all, or
// any part of what was marked.
//
// Names of files are taken for durable as soon as they are made; that the directory is synced is not tested here.
// Thread: any, one process at a time. Memory: little.
#pragma once

#include <string>

#include "base/random.h"
#include "store/shim_vfs.h"

namespace tertulia {

class CrashVfs final : public sqlite::FailpointVfs {
 public:
  // `disk`: the directory of images and marks.
  CrashVfs(std::string name, std::string disk) : FailpointVfs(std::move(name)), disk_(std::move(disk)) {}

  int on_open(File& file) override;
  int on_write(File& file, const void* data, int bytes, sqlite3_int64 at) override;
  int on_truncate(File& file, sqlite3_int64 size) override;
  int on_sync(File& file, int flags) override;
  void on_sync_failed(File& file) override;

 private:
  const std::string disk_;
};

enum class Lost : uint8_t { nothing, everything, any_part };

// Nobody has the database of data_dir open. `any_part` decides for each file, and within it for each piece of 512 bytes
// or of 4 KiB.
void lose_power(const std::string& data_dir, const std::string& disk, Lost lost, Random& random);
// What the real files hold now is what the disk holds.
void forget_disk(const std::string& disk);

}  // namespace tertulia
