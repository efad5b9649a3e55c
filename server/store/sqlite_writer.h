// The one thread that writes: groups what waits into transactions, checkpoints, and recovers from a failing disk.
//
// While one transaction is in, the next one fills, from all shards and rooms. The checkpoints are its own too: a second
// connection that writes or checkpoints could lose the log's reset race of this SQLite.
//
// After an error of input or output nobody knows what is on the disk, and after a failed fsync the kernel calls pages
// clean that were never written. So everything is closed; readers are opened again and show only what was proven
// durable before; and with a growing pause the files are made durable, opened, and the log is copied into the database
// (wal_checkpoint(TRUNCATE)) until that has succeeded. Then what is there is true, and the batch whose outcome was
// unknown is written again: its uuids say which of its messages stand already.
// Thread: any for append() and the markers; the opener's for open() and stop(). Memory: what its callers wait for, and
// page caches. Ends: stop() writes what waits.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/executor.h"
#include "store/data_dir.h"
#include "store/sqlite_batch.h"
#include "store/sqlite_readers.h"
#include "store/store.h"

namespace tertulia::sqlite {

class Writer {
 public:
  Writer(DataDir& directory, Readers& readers, const StoreOptions& options, const Clock& clock, StoreMetrics& metrics);
  ~Writer();

  // Empty, or a sentence. Then the thread runs.
  [[nodiscard]] std::string open();
  // Writes what waits and closes. True: everything is in the database, and the log is empty.
  bool stop();

  void append(std::string room, const Position& known, std::vector<Message> messages, Executor& executor,
              Callback<AppendResult> done);
  void mark_read(const std::string& room, const std::string& user_id, Sequence sequence);
  // 0 if nothing is pending.
  Sequence pending_marker(const std::string& room, const std::string& user_id);

 private:
  struct Job {
    BatchItem item;
    Executor* executor = nullptr;
    Callback<AppendResult> done;
  };

  void run();
  // REQUIRES: mutex_ held.
  std::vector<Job> take_jobs();
  Markers take_markers();
  void put_back(Markers markers);

  // False: the store ends before it was decided; the jobs go unanswered.
  bool write(std::vector<Job> jobs, Markers markers);
  void answer_all(std::vector<Job>& jobs, BatchOutcome outcome, const std::string& reason);

  // Makes files durable and opens the writer's connection; gives up the ballast if that helps.
  std::string open_connection(int& code);
  void close_connection();
  // SQLite's code.
  int checkpoint(int mode);
  void checkpoint_if_due();
  void make_room();
  bool recover(const std::string& reason);
  bool try_to_recover(int64_t durable_entry, std::string& reason);
  // True: the store ends.
  bool pause_ms(int64_t ms);
  void log(LogLevel level, const char* event, const std::string& reason);

  // Constant after construction.
  DataDir& directory_;
  Readers& readers_;
  const StoreOptions& options_;
  const Clock& clock_;
  StoreMetrics& metrics_;

  // The writer's thread.
  Connection connection_;
  Batch batch_;
  int64_t wal_frames_ = 0;
  int64_t checkpoint_at_frames_ = 0;
  int64_t make_room_after_us_ = 0;
  int64_t ballast_after_us_ = 0;
  bool broken_ = false;  // recover() gave up because the store ends

  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;           // under mutex_
  Markers markers_;                // under mutex_: not yet taken
  Markers markers_being_written_;  // under mutex_
  int64_t markers_after_us_ = 0;   // under mutex_
  bool stopping_ = false;          // under mutex_
};

}  // namespace tertulia::sqlite
