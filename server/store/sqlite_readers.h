// Two threads that read, each with its own read-only connection. Every job is one short snapshot.
//
// Only rows up to a given entry are shown: normally all; while it is not known what is on the disk, those that were
// proven durable before.
// Thread: any for post(); the writer's for the others. Memory: two page caches, and the jobs that wait, whose number is
// the callers' business (one page a member, shared by all who need the same). Ends: stop() answers what waits.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/function.h"
#include "protocol/outcome.h"
#include "store/sqlite.h"
#include "store/store_options.h"

namespace tertulia::sqlite {

inline constexpr int64_t kEverything = std::numeric_limits<int64_t>::max();

// A read-only connection with its statements. Thread: one.
class ReadConnection {
 public:
  // Empty, or a sentence. After trouble the next call opens the file again by itself.
  [[nodiscard]] std::string open(const std::string& path, const StoreOptions& options);
  void close();
  bool is_open() const { return connection_.is_open(); }

  // `entry_max`: rows behind it are as if they were not there.
  Rows read(const std::string& room, const Position& after, size_t limit, size_t bytes_max, int64_t entry_max);
  Rows range(const std::string& room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max,
             int64_t entry_max);
  Rows find(const std::string& room, const std::string& uuid, int64_t entry_max);
  // In the order asked; nothing: trouble.
  std::optional<std::vector<Position>> heads(const std::vector<std::string>& rooms, int64_t entry_max);
  // The markers of these users, 0 where there is none; nothing: trouble.
  std::optional<std::vector<Sequence>> markers(const std::string& room, const std::vector<std::string>& users);

  // The last trouble, for the log; empty if there was none.
  std::string take_error() { return std::exchange(error_, {}); }

 private:
  class Snapshot;
  // 0: there is no such room; nothing: trouble.
  std::optional<int64_t> room_id(const std::string& room);
  bool head(const std::string& room, int64_t id, int64_t entry_max, Position& out);
  Rows trouble();
  // False: it cannot be read just now.
  bool ready();

  std::string path_;
  const StoreOptions* options_ = nullptr;
  bool suspect_ = false;  // the last use ended in trouble
  Connection connection_;
  Statement begin_, commit_, room_, head_, forwards_, backwards_, uuid_, marker_;
  std::unordered_map<std::string, int64_t> room_ids_;  // bounded; a room's id never changes
  std::string error_;
};

class Readers {
 public:
  using Job = Function<void(ReadConnection&, int64_t entry_max)>;

  Readers(std::string path, const StoreOptions& options);
  ~Readers();

  // Runs on a reader's thread. The connection may be closed: then the job answers not_now.
  void post(Job job);

  // While paused no job runs and no snapshot is held.
  void pause();
  void resume();
  // REQUIRES: paused.
  void set_entry_max(int64_t entry_max) { entry_max_ = entry_max; }
  void close();
  // Empty, or a sentence; what could be opened is open.
  [[nodiscard]] std::string open();

  // Runs what waits, then ends the threads.
  void stop();

 private:
  void run(ReadConnection& connection);

  static constexpr int kThreads = 2;
  const std::string path_;
  const StoreOptions& options_;
  ReadConnection connections_[kThreads];  // each its thread's; the writer's while paused
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_, quiet_;
  std::deque<Job> jobs_;             // under mutex_
  int active_ = 0;                   // under mutex_
  bool paused_ = false;              // under mutex_
  bool stopping_ = false;            // under mutex_
  int64_t entry_max_ = kEverything;  // the writer's, while paused; read by the readers
};

}  // namespace tertulia::sqlite
