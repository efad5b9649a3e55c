#include "store/sqlite_readers.h"

#include <algorithm>

#include "store/sqlite_rows.h"
#include "store/sqlite_schema.h"

namespace tertulia::sqlite {
namespace {

constexpr size_t kRoomIdsMax = 16'384;

// A limit of the caller's, as SQL takes it.
int64_t sql_limit(size_t limit) {
  return static_cast<int64_t>(std::min<size_t>(limit, 1'000'000));
}
// A sequence of the caller's: those on the wire are far below, others have nothing behind them.
int64_t sql_sequence(Sequence sequence) {
  return static_cast<int64_t>(std::min(sequence, sequence_max + 1));
}

}  // namespace

// Everything read while it lives is of one moment.
class ReadConnection::Snapshot {
 public:
  explicit Snapshot(ReadConnection& reader) : reader_(reader) {
    Use begin(reader_.begin_);
    ok_ = begin->step() == SQLITE_DONE;
  }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  ~Snapshot() {
    if (!ok_) return;
    Use commit(reader_.commit_);
    commit->step();
  }
  bool ok() const { return ok_; }

 private:
  ReadConnection& reader_;
  bool ok_;
};

std::string ReadConnection::open(const std::string& path, const StoreOptions& options) {
  close();
  path_ = path;
  options_ = &options;
  int code = SQLITE_OK;
  std::string error = open_reader(connection_, path, options, code);
  if (!error.empty()) return error;
  const std::pair<Statement*, const char*> all[] = {
      {&begin_, "BEGIN"},
      {&commit_, "COMMIT"},
      {&room_, "SELECT id FROM rooms WHERE name = ?1"},
      {&head_, "SELECT seq, chain FROM messages WHERE room = ?1 AND entry <= ?2 ORDER BY seq DESC LIMIT 1"},
      {&forwards_, "SELECT " TERTULIA_ROW_COLUMNS
                   " FROM messages WHERE room = ?1 AND entry <= ?2 AND seq >= ?3 ORDER BY seq LIMIT ?4"},
      {&backwards_, "SELECT " TERTULIA_ROW_COLUMNS
                    " FROM messages WHERE room = ?1 AND entry <= ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4"},
      {&uuid_, "SELECT " TERTULIA_ROW_COLUMNS " FROM messages WHERE room = ?1 AND uuid = ?2 AND entry <= ?3"},
      {&marker_, "SELECT seq FROM read_markers WHERE room = ?1 AND user_id = ?2"},
  };
  for (auto& [statement, sql] : all) {
    if (statement->prepare(connection_, sql) != SQLITE_OK) {
      error = "store: cannot read " + path + ": " + connection_.error() + ".";
      close();
      return error;
    }
  }
  return "";
}

void ReadConnection::close() {
  for (Statement* s : {&begin_, &commit_, &room_, &head_, &forwards_, &backwards_, &uuid_, &marker_}) s->finish();
  connection_.close();
  room_ids_.clear();
  suspect_ = false;
}

bool ReadConnection::ready() {
  if (!suspect_) return is_open();
  // A file handle that failed once may fail for ever; a new one is cheap.
  error_ = open(path_, *options_);
  suspect_ = !error_.empty();
  return !suspect_;
}

Rows ReadConnection::trouble() {
  if (connection_.is_open()) {
    error_ = connection_.error();
    suspect_ = true;
  }
  return {};
}

std::optional<int64_t> ReadConnection::room_id(const std::string& room) {
  auto known = room_ids_.find(room);
  if (known != room_ids_.end()) return known->second;
  Use find(room_);
  find->bind(1, room);
  int code = find->step();
  if (code == SQLITE_DONE) return 0;
  if (code != SQLITE_ROW) return std::nullopt;
  if (room_ids_.size() >= kRoomIdsMax) room_ids_.clear();
  return room_ids_[room] = find->number(0);
}

bool ReadConnection::head(const std::string& room, int64_t id, int64_t entry_max, Position& out) {
  Use find(head_);
  find->bind(1, id);
  find->bind(2, entry_max);
  int code = find->step();
  if (code == SQLITE_ROW) {
    out = {static_cast<Sequence>(find->number(0)), find->chain(1)};
  } else if (code == SQLITE_DONE) {
    out = {0, chain_start(room)};
  }
  return code == SQLITE_ROW || code == SQLITE_DONE;
}

Rows ReadConnection::read(const std::string& room, const Position& after, size_t limit, size_t bytes_max,
                          int64_t entry_max) {
  if (!ready()) return {};
  Snapshot snapshot(*this);
  Rows result;
  std::optional<int64_t> id = snapshot.ok() ? room_id(room) : std::nullopt;
  if (!id || !head(room, *id, entry_max, result.head)) return trouble();
  result.status = Rows::Status::does_not_fit;
  if (after.sequence > result.head.sequence) return result;
  Chain last = after.chain;
  if (after.sequence == 0) {
    if (after.chain != chain_start(room)) return result;
    result.status = Rows::Status::ok;
  }
  Use rows(forwards_);
  rows->bind(1, *id);
  rows->bind(2, entry_max);
  rows->bind(3, sql_sequence(after.sequence));
  rows->bind(4, sql_limit(limit) + 1);
  size_t bytes = 0;
  int code;
  while ((code = rows->step()) == SQLITE_ROW) {
    if (static_cast<Sequence>(rows->number(0)) == after.sequence) {
      if (rows->chain(2) != after.chain) return result;
      result.status = Rows::Status::ok;
      continue;
    }
    // The row at `after` is the first or there is none; a row that continues nothing does not exist.
    if (result.status != Rows::Status::ok || result.rows.size() >= limit) break;
    Row row = row_of(*rows.operator->());
    if (row.sequence != after.sequence + result.rows.size() + 1 || row.previous != last) break;
    bytes += row.message.bytes();
    if (bytes > bytes_max && !result.rows.empty()) break;
    last = row.chain;
    result.rows.push_back(std::move(row));
  }
  if (code != SQLITE_ROW && code != SQLITE_DONE) return trouble();
  return result;
}

Rows ReadConnection::range(const std::string& room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max,
                           int64_t entry_max) {
  if (!ready()) return {};
  Snapshot snapshot(*this);
  Rows result;
  std::optional<int64_t> id = snapshot.ok() ? room_id(room) : std::nullopt;
  if (!id || !head(room, *id, entry_max, result.head)) return trouble();
  Use rows(backwards ? backwards_ : forwards_);
  rows->bind(1, *id);
  rows->bind(2, entry_max);
  rows->bind(3, sql_sequence(backwards ? sequence : std::min(sequence, sequence_max) + 1));
  rows->bind(4, sql_limit(limit));
  size_t bytes = 0;
  int code;
  while ((code = rows->step()) == SQLITE_ROW) {
    Row row = row_of(*rows.operator->());
    if (!result.rows.empty()) {
      const Row& near = result.rows.back();
      const Row& first = backwards ? row : near;
      const Row& second = backwards ? near : row;
      if (second.before() != first.position()) break;
    }
    bytes += row.message.bytes();
    if (bytes > bytes_max && !result.rows.empty()) break;
    result.rows.push_back(std::move(row));
  }
  if (code != SQLITE_ROW && code != SQLITE_DONE) return trouble();
  if (backwards) std::reverse(result.rows.begin(), result.rows.end());
  result.status = Rows::Status::ok;
  return result;
}

Rows ReadConnection::find(const std::string& room, const std::string& uuid, int64_t entry_max) {
  if (!ready()) return {};
  Snapshot snapshot(*this);
  Rows result;
  std::optional<int64_t> id = snapshot.ok() ? room_id(room) : std::nullopt;
  if (!id || !head(room, *id, entry_max, result.head)) return trouble();
  Use rows(uuid_);
  rows->bind(1, *id);
  rows->bind(2, uuid);
  rows->bind(3, entry_max);
  int code = rows->step();
  if (code != SQLITE_ROW && code != SQLITE_DONE) return trouble();
  if (code == SQLITE_ROW) result.rows.push_back(row_of(*rows.operator->()));
  result.status = Rows::Status::ok;
  return result;
}

std::optional<std::vector<Position>> ReadConnection::heads(const std::vector<std::string>& rooms, int64_t entry_max) {
  if (!ready()) return std::nullopt;
  std::vector<Position> heads;
  heads.reserve(rooms.size());
  for (const std::string& room : rooms) {
    const std::optional<int64_t> id = room_id(room);
    if (!id || !head(room, *id, entry_max, heads.emplace_back())) {
      trouble();
      return std::nullopt;
    }
  }
  return heads;
}

std::optional<std::vector<Sequence>> ReadConnection::markers(const std::string& room,
                                                             const std::vector<std::string>& users) {
  if (!ready()) return std::nullopt;
  Snapshot snapshot(*this);
  std::optional<int64_t> id = snapshot.ok() ? room_id(room) : std::nullopt;
  if (!id) {
    trouble();
    return std::nullopt;
  }
  std::vector<Sequence> result(users.size(), 0);
  for (size_t i = 0; i < users.size() && *id != 0; ++i) {
    Use find(marker_);
    find->bind(1, *id);
    find->bind(2, users[i]);
    int code = find->step();
    if (code == SQLITE_ROW) result[i] = static_cast<Sequence>(find->number(0));
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
      trouble();
      return std::nullopt;
    }
  }
  return result;
}

Readers::Readers(std::string path, const StoreOptions& options) : path_(std::move(path)), options_(options) {
  for (ReadConnection& connection : connections_) {
    threads_.emplace_back([this, &connection] { run(connection); });
  }
}

Readers::~Readers() {
  stop();
}

void Readers::post(Job job) {
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  jobs_.push_back(std::move(job));
  wake_.notify_one();
}

void Readers::run(ReadConnection& connection) {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return (!paused_ && !jobs_.empty()) || (stopping_ && jobs_.empty()); });
    if (jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    ++active_;
    lock.unlock();
    job(connection, entry_max_);
    job = nullptr;
    lock.lock();
    if (--active_ == 0) quiet_.notify_all();
  }
}

void Readers::pause() {
  std::unique_lock lock(mutex_);
  paused_ = true;
  quiet_.wait(lock, [this] { return active_ == 0; });
}

void Readers::resume() {
  std::lock_guard lock(mutex_);
  paused_ = false;
  wake_.notify_all();
}

void Readers::close() {
  for (ReadConnection& connection : connections_) connection.close();
}

std::string Readers::open() {
  std::string error;
  for (ReadConnection& connection : connections_) {
    std::string one = connection.open(path_, options_);
    if (!one.empty()) error = one;
  }
  return error;
}

void Readers::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    paused_ = false;
    wake_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace tertulia::sqlite
