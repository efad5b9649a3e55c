#include "crash_vfs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "base/check.h"

namespace tertulia {
namespace {

constexpr int64_t kSector = 512;
constexpr const char* kFiles[] = {"tertulia.db", "tertulia.db-wal"};

std::string image_of(const std::string& disk, const std::string& path) {
  return disk + "/" + std::filesystem::path(path).filename().string() + ".image";
}
std::string marks_of(const std::string& disk, const std::string& path) {
  return disk + "/" + std::filesystem::path(path).filename().string() + ".marks";
}

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void replace(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  CHECK(out.good(), "the test's own files can be written");
}

// A file opened for the length of one operation. SQLite's locks are on the database, never on these.
class Side {
 public:
  explicit Side(const std::string& path) : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    CHECK(fd_ >= 0, "the test's own files can be opened");
  }
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;
  ~Side() { ::close(fd_); }
  int64_t size() const {
    struct stat status {};
    return ::fstat(fd_, &status) == 0 ? status.st_size : 0;
  }
  void write(const std::string& data, int64_t at) {
    CHECK(::pwrite(fd_, data.data(), data.size(), at) == static_cast<ssize_t>(data.size()),
          "the test's own files can be written");
  }
  std::string read(int64_t at, int64_t bytes) const {
    std::string data(static_cast<size_t>(bytes), '\0');
    const ssize_t got = ::pread(fd_, data.data(), data.size(), at);
    CHECK(got >= 0, "the test's own files can be read");
    return data;
  }
  void resize(int64_t size) { CHECK(::ftruncate(fd_, size) == 0, "the test's own files can be cut"); }

 private:
  int fd_;
};

void mark(const std::string& marks, int64_t begin, int64_t end) {
  if (begin >= end) return;
  const int64_t first = begin / kSector, last = (end - 1) / kSector;
  Side(marks).write(std::string(static_cast<size_t>(last - first + 1), 1), first);
}

}  // namespace

int CrashVfs::on_open(File& file) {
  if (file.kind == Kind::other) return SQLITE_OK;
  if (::access(image_of(disk_, file.path).c_str(), F_OK) == 0) return SQLITE_OK;
  // Read through the VFS: opening the database from the side would drop this process's locks on it.
  sqlite3_int64 size = 0;
  int code = real_size(file, size);
  std::string data(static_cast<size_t>(size), '\0');
  for (int64_t at = 0; code == SQLITE_OK && at < size; at += 65'536) {
    code = real_read(file, data.data() + at, static_cast<int>(std::min<int64_t>(65'536, size - at)), at);
  }
  replace(image_of(disk_, file.path), data);
  return code;
}

int CrashVfs::on_write(File& file, const void* data, int bytes, sqlite3_int64 at) {
  int code = FailpointVfs::on_write(file, data, bytes, at);
  if (code == SQLITE_OK && file.kind != Kind::other) mark(marks_of(disk_, file.path), at, at + bytes);
  return code;
}

int CrashVfs::on_truncate(File& file, sqlite3_int64 size) {
  sqlite3_int64 before = 0;
  real_size(file, before);
  int code = FailpointVfs::on_truncate(file, size);
  if (code == SQLITE_OK && file.kind != Kind::other) mark(marks_of(disk_, file.path), size, before);
  return code;
}

int CrashVfs::on_sync(File& file, int flags) {
  int code = FailpointVfs::on_sync(file, flags);
  if (code != SQLITE_OK || file.kind == Kind::other) return code;
  sqlite3_int64 size = 0;
  code = real_size(file, size);
  Side image(image_of(disk_, file.path)), marks(marks_of(disk_, file.path));
  const std::string marked = marks.read(0, marks.size());
  for (int64_t sector = 0; code == SQLITE_OK && sector < static_cast<int64_t>(marked.size()); ++sector) {
    const int64_t at = sector * kSector;
    if (marked[static_cast<size_t>(sector)] == 0 || at >= size) continue;
    std::string data(static_cast<size_t>(std::min<int64_t>(kSector, size - at)), '\0');
    code = real_read(file, data.data(), static_cast<int>(data.size()), at);
    image.write(data, at);
  }
  image.resize(size);
  marks.resize(0);
  return code;
}

void CrashVfs::on_sync_failed(File& file) {
  if (file.kind != Kind::other) Side(marks_of(disk_, file.path)).resize(0);
}

void lose_power(const std::string& data_dir, const std::string& disk, Lost lost, Random& random) {
  for (const char* name : kFiles) {
    const std::string path = data_dir + "/" + name;
    if (::access(image_of(disk, path).c_str(), F_OK) != 0) continue;
    const std::string shown = content(path), held = content(image_of(disk, path)),
                      marks = content(marks_of(disk, path));
    Lost here = lost;
    if (lost == Lost::any_part) {
      constexpr Lost kHow[] = {Lost::nothing, Lost::everything, Lost::any_part, Lost::any_part};
      here = kHow[random.below(4)];
    }
    const int64_t piece_sectors = random.below(2) == 0 ? 1 : 8;
    bool kept = false;
    auto is_kept = [&](int64_t sector) {
      // What was cut off has no content that could have reached the disk instead of what it held: a file system that
      // has not yet made the file shorter still has all of it. (Zeros there would leave the beginning of a log that
      // has been copied into the database to be copied once more, over newer pages.)
      if (sector * kSector >= static_cast<int64_t>(shown.size())) return false;
      // A mark that is missing where the contents differ was taken away by a failed sync: lost in any case.
      if (sector >= static_cast<int64_t>(marks.size()) || marks[static_cast<size_t>(sector)] == 0) return false;
      if (here != Lost::any_part) return here == Lost::nothing;
      if (sector % piece_sectors == 0) kept = random.below(2) == 0;
      return kept;
    };
    const bool size_kept = here == Lost::any_part ? random.below(2) == 0 : here == Lost::nothing;
    const int64_t size = static_cast<int64_t>(size_kept ? shown.size() : held.size());
    std::string result(static_cast<size_t>(size), '\0');
    for (int64_t at = 0; at < size; at += kSector) {
      const std::string& from = is_kept(at / kSector) ? shown : held;
      if (at >= static_cast<int64_t>(from.size())) continue;
      const int64_t bytes = std::min({kSector, size - at, static_cast<int64_t>(from.size()) - at});
      std::copy_n(from.begin() + at, bytes, result.begin() + at);
    }
    replace(path, result);
  }
  std::filesystem::remove(data_dir + "/tertulia.db-shm");
  forget_disk(disk);
}

void forget_disk(const std::string& disk) {
  for (const auto& entry : std::filesystem::directory_iterator(disk)) std::filesystem::remove(entry.path());
}

}  // namespace tertulia
