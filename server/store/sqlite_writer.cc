#include "store/sqlite_writer.h"

#include <algorithm>
#include <chrono>

#include "store/answer.h"
#include "store/sqlite_schema.h"

namespace tertulia::sqlite {
namespace {

constexpr int64_t kFrameBytes = 4'096 + 24;
constexpr int64_t kRecoverPauseMs = 50, kRecoverPauseMaxMs = 2'000;
// When the store ends while the disk is broken, so many more attempts are made.
constexpr int kAttemptsAtTheEnd = 5;
constexpr int64_t kMakeRoomEveryUs = 1'000'000, kBallastEveryUs = 30'000'000;

}  // namespace

Writer::Writer(DataDir& directory, Readers& readers, const StoreOptions& options, const Clock& clock,
               StoreMetrics& metrics)
    : directory_(directory),
      readers_(readers),
      options_(options),
      clock_(clock),
      metrics_(metrics),
      batch_(options, clock, metrics) {}

Writer::~Writer() {
  stop();
}

void Writer::log(LogLevel level, const char* event, const std::string& reason) {
  if (options_.log == nullptr) return;
  options_.log->limited(level, 5, "store", event, {{"reason", reason}, {"data_dir", directory_.path()}});
}

std::string Writer::open_connection(int& code) {
  bool sync = true, write_back = true;
#ifdef TERTULIA_FAILPOINTS
  sync = !options_.unsafe_no_sync_at_opening;
  write_back = !options_.unsafe_no_write_back_at_opening;
#endif
  std::string error;
  for (bool lighter : {false, true}) {
    if (lighter) {
      // A full disk keeps SQLite from making its shared memory file; the ballast is there for that moment.
      if (!directory_.ballast_exists() || code == SQLITE_ERROR) break;
      directory_.give_up_ballast();
      log(LogLevel::warn, "ballast given up to open the database", error);
    }
    code = SQLITE_IOERR;
    error = sync ? directory_.make_durable(write_back) : "";
    if (error.empty()) error = open_writer(connection_, directory_.database_path(), options_, code);
    if (error.empty()) error = directory_.sync_directory();
    if (error.empty()) error = batch_.open(connection_);
    if (error.empty()) break;
    close_connection();
  }
  if (!error.empty()) return error;
  wal_frames_ = 0;
  checkpoint_at_frames_ = options_.wal_checkpoint_bytes / kFrameBytes;
  sqlite3_wal_hook(
      connection_.raw(),
      [](void* self, sqlite3*, const char*, int frames) {
        static_cast<Writer*>(self)->wal_frames_ = frames;
        return SQLITE_OK;
      },
      this);
  return "";
}

void Writer::close_connection() {
  batch_.close();
  connection_.close();
}

std::string Writer::open() {
  int code = SQLITE_OK;
  std::string error = open_connection(code);
  if (!error.empty()) return error;
  bool sync = true;
#ifdef TERTULIA_FAILPOINTS
  sync = !options_.unsafe_no_sync_at_opening;
#endif
  if (sync) {
    code = checkpoint(SQLITE_CHECKPOINT_TRUNCATE);
    if (trouble_of(code) == Trouble::unknown) {
      error = "store: cannot copy the write-ahead log into " + directory_.database_path() + ": " + connection_.error() +
              ". See whether the disk is well.";
      close_connection();
      return error;
    }
    // The log was written back and synced just now, so what it holds is durable without the copy too.
    if (code != SQLITE_OK) log(LogLevel::warn, "write-ahead log not emptied at the start", connection_.error());
  }
  error = readers_.open();
  if (!error.empty()) {
    close_connection();
    return error;
  }
  directory_.make_ballast();
  thread_ = std::thread([this] { run(); });
  return "";
}

bool Writer::stop() {
  if (!thread_.joinable()) return false;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  thread_.join();
  if (broken_) return false;
  readers_.pause();
  readers_.close();
  const bool whole = checkpoint(SQLITE_CHECKPOINT_TRUNCATE) == SQLITE_OK;
  close_connection();
  readers_.resume();
  return whole;
}

void Writer::append(std::string room, const Position& known, std::vector<Message> messages, Executor& executor,
                    Callback<AppendResult> done) {
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  if (jobs_.empty()) wake_.notify_all();
  Job& job = jobs_.emplace_back();
  job.item.room = std::move(room);
  job.item.known = known;
  job.item.messages = std::move(messages);
  job.executor = &executor;
  job.done = std::move(done);
}

void Writer::mark_read(const std::string& room, const std::string& user_id, Sequence sequence) {
  std::lock_guard lock(mutex_);
  if (stopping_ || sequence > sequence_max) return;
  auto key = std::make_pair(room, user_id);
  auto found = markers_.find(key);
  if (found == markers_.end()) {
    if (markers_.size() >= options_.markers_pending_max) return;
    if (markers_.empty()) wake_.notify_all();
    markers_.emplace(std::move(key), sequence);
  } else {
    found->second = std::max(found->second, sequence);
  }
}

Sequence Writer::pending_marker(const std::string& room, const std::string& user_id) {
  std::lock_guard lock(mutex_);
  const auto key = std::make_pair(room, user_id);
  Sequence result = 0;
  for (const Markers* markers : {&markers_, &markers_being_written_}) {
    auto found = markers->find(key);
    if (found != markers->end()) result = std::max(result, found->second);
  }
  return result;
}

std::vector<Writer::Job> Writer::take_jobs() {
  std::vector<Job> jobs;
  size_t rows = 0, bytes = 0;
  while (!jobs_.empty()) {
    const BatchItem& next = jobs_.front().item;
    size_t next_bytes = 0;
    for (const Message& message : next.messages) next_bytes += message.bytes();
    if (!jobs.empty() && (rows + next.messages.size() > options_.transaction_rows_max ||
                          bytes + next_bytes > options_.transaction_bytes_max)) {
      break;
    }
    rows += next.messages.size();
    bytes += next_bytes;
    jobs.push_back(std::move(jobs_.front()));
    jobs_.pop_front();
  }
  return jobs;
}

Markers Writer::take_markers() {
  const int64_t now_us = clock_.now_us();
  if (markers_.empty() || (now_us < markers_after_us_ && !stopping_)) return {};
  markers_after_us_ = now_us + options_.markers_flush_ms * 1000;
  markers_being_written_ = std::exchange(markers_, {});
  return markers_being_written_;
}

void Writer::put_back(Markers markers) {
  std::lock_guard lock(mutex_);
  for (auto& [who, sequence] : markers) {
    Sequence& marker = markers_[who];
    marker = std::max(marker, sequence);
  }
}

void Writer::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    while (jobs_.empty() && !stopping_) {
      if (markers_.empty()) {
        wake_.wait(lock);
        continue;
      }
      const int64_t wait_us = markers_after_us_ - clock_.now_us();
      if (wait_us <= 0) break;
      wake_.wait_for(lock, std::chrono::microseconds(wait_us));
    }
    if (jobs_.empty() && markers_.empty() && stopping_) return;
    const bool last = stopping_ && jobs_.empty();
    std::vector<Job> jobs = take_jobs();
    Markers markers = take_markers();
    lock.unlock();
    const bool decided = write(std::move(jobs), std::move(markers));
    if (decided && !broken_) checkpoint_if_due();
    lock.lock();
    markers_being_written_.clear();
    // At the end what the disk does not take now is not waited for: an append was answered, a marker may be lost.
    if (!decided || broken_ || last) return;
  }
}

bool Writer::write(std::vector<Job> jobs, Markers markers) {
  std::vector<BatchItem*> items;
  items.reserve(jobs.size());
  for (Job& job : jobs) items.push_back(&job.item);
#ifdef TERTULIA_FAILPOINTS
  batch_.before_commit = [&] { answer_all(jobs, BatchOutcome::committed, ""); };
#endif
  std::string reason;
  BatchOutcome outcome;
  while ((outcome = batch_.write(items, markers, reason)) == BatchOutcome::unknown) {
    // The markers come later: when the messages stand already, nothing must be left that a full disk could refuse.
    put_back(std::move(markers));
    markers.clear();
    if (!recover(reason)) return false;
  }
  if (outcome == BatchOutcome::not_now) {
    log(LogLevel::error, "the store takes nothing just now; messages wait", reason);
    put_back(std::move(markers));
    make_room();
  }
  answer_all(jobs, outcome, reason);
  return true;
}

void Writer::answer_all(std::vector<Job>& jobs, BatchOutcome outcome, const std::string& reason) {
  for (Job& job : jobs) {
    if (!job.done) continue;
    AppendResult result;
    if (outcome == BatchOutcome::committed && !job.item.fits) {
      result.status = AppendResult::Status::does_not_fit;
      result.reason = "the log does not contain the position held";
    } else if (outcome == BatchOutcome::committed) {
      result.status = AppendResult::Status::done;
      result.each = std::move(job.item.each);
    } else {
      result.reason = reason;
      metrics_.not_now.fetch_add(1, std::memory_order_relaxed);
    }
    answer(*job.executor, std::exchange(job.done, nullptr), std::move(result));
  }
}

int Writer::checkpoint(int mode) {
  const int64_t began_us = clock_.now_us();
  int frames = 0, copied = 0;
  int code = sqlite3_wal_checkpoint_v2(connection_.raw(), "main", mode, &frames, &copied);
  metrics_.checkpoints.fetch_add(1, std::memory_order_relaxed);
  metrics_.checkpoint_us.fetch_add(static_cast<uint64_t>(clock_.now_us() - began_us), std::memory_order_relaxed);
  if (code == SQLITE_OK && mode != SQLITE_CHECKPOINT_PASSIVE) wal_frames_ = 0;
  // A passive one that a snapshot stops in the middle succeeds all the same: it is tried again a little later.
  if (code == SQLITE_OK && mode == SQLITE_CHECKPOINT_PASSIVE && copied < frames) code = SQLITE_BUSY;
  return code;
}

void Writer::checkpoint_if_due() {
  const int64_t now_us = clock_.now_us();
  if (now_us >= ballast_after_us_) {
    ballast_after_us_ = now_us + kBallastEveryUs;
    directory_.make_ballast();
  }
  metrics_.wal_bytes.store(static_cast<uint64_t>(wal_frames_ * kFrameBytes), std::memory_order_relaxed);
  const int64_t due = options_.wal_checkpoint_bytes / kFrameBytes;
  if (wal_frames_ < checkpoint_at_frames_) {
    // The log began anew: the last checkpoint had copied all of it.
    if (wal_frames_ < due) checkpoint_at_frames_ = due;
    return;
  }
  int code = checkpoint(SQLITE_CHECKPOINT_PASSIVE);
  if (trouble_of(code) != Trouble::unknown && wal_frames_ * kFrameBytes > options_.wal_restart_bytes) {
    // Our readers are short, and now they wait. A backup's snapshot is not waited for.
    readers_.pause();
    sqlite3_busy_timeout(connection_.raw(), 0);
    code = checkpoint(SQLITE_CHECKPOINT_RESTART);
    sqlite3_busy_timeout(connection_.raw(), 1'000);
    readers_.resume();
  }
  checkpoint_at_frames_ = trouble_of(code) == Trouble::none && wal_frames_ == 0 ? due : wal_frames_ + due / 4;
  if (trouble_of(code) == Trouble::unknown) recover(connection_.error());
}

// On a full disk: what the log holds may fit into the database's own pages, and then the log's space is free again.
void Writer::make_room() {
  const int64_t now_us = clock_.now_us();
  if (now_us < make_room_after_us_) return;
  make_room_after_us_ = now_us + kMakeRoomEveryUs;
  int code = checkpoint(SQLITE_CHECKPOINT_PASSIVE);
  if (trouble_of(code) == Trouble::unknown) recover(connection_.error());
}

bool Writer::pause_ms(int64_t ms) {
  std::unique_lock lock(mutex_);
  // The end cuts the pause short, but not to nothing: the disk may be back in a moment.
  wake_.wait_for(lock, std::chrono::milliseconds(ms), [this] { return stopping_; });
  if (stopping_) wake_.wait_for(lock, std::chrono::milliseconds(kRecoverPauseMs), [] { return false; });
  return stopping_;
}

bool Writer::recover(const std::string& first_reason) {
  metrics_.io_errors.fetch_add(1, std::memory_order_relaxed);
  log(LogLevel::error, "the disk failed; opening the database again, showing what was durable before", first_reason);
  const int64_t durable_entry = batch_.durable_entry();
  close_connection();
  readers_.pause();
  readers_.set_entry_max(durable_entry);
  readers_.resume();
  bool excluded = false;
  std::string reason;
  int64_t wait_ms = kRecoverPauseMs;
  int attempts_left = kAttemptsAtTheEnd;
  for (;;) {
    if (!excluded && (excluded = directory_.exclude_backups())) {
      // With nobody left the log is read anew at the next opening, and what a checkpoint left half done is forgotten.
      readers_.pause();
      readers_.close();
      std::string ignored = readers_.open();
      readers_.resume();
    }
    if (excluded ? try_to_recover(durable_entry, reason) : (reason = "a backup is running", false)) break;
    log(LogLevel::error, "the database cannot be opened again yet", reason);
    if (pause_ms(wait_ms) && --attempts_left == 0) {
      broken_ = true;
      directory_.admit_backups();
      return false;
    }
    wait_ms = std::min(wait_ms * 2, kRecoverPauseMaxMs);
  }
  directory_.admit_backups();
  metrics_.reopens.fetch_add(1, std::memory_order_relaxed);
  log(LogLevel::warn, "the disk is well again; everything that is shown is durable", first_reason);
  return true;
}

bool Writer::try_to_recover(int64_t durable_entry, std::string& reason) {
  int code = SQLITE_OK;
  reason = open_connection(code);
  if (!reason.empty()) return false;
  readers_.pause();
  code = checkpoint(SQLITE_CHECKPOINT_TRUNCATE);
  if (code == SQLITE_OK) {
    readers_.close();
    readers_.set_entry_max(kEverything);
    reason = readers_.open();
    readers_.resume();
    if (reason.empty()) return true;
    readers_.pause();
    readers_.set_entry_max(durable_entry);
  } else {
    reason = connection_.error();
  }
  readers_.resume();
  close_connection();
  return false;
}

}  // namespace tertulia::sqlite
