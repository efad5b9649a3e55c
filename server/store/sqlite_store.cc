#include "store/sqlite_store.h"

#include <algorithm>

#include "store/answer.h"
#include "store/sqlite_schema.h"

namespace tertulia {

OpenedStore SqliteStore::open(const std::string& data_dir, const StoreOptions& options, const Clock& clock) {
  std::unique_ptr<SqliteStore> store(new SqliteStore(data_dir, options, clock));
  sqlite::DataDir& directory = store->directory_;
  std::string error = directory.take();
  if (!error.empty()) return {nullptr, error};
  // Where there was no database there was nobody.
  const bool names_kept = directory.database_exists() && !directory.ended_empty();
  error = store->writer_.open();
  if (!error.empty()) return {nullptr, error};
  // Before anybody is admitted: from now on a kill leaves names that wait.
  error = directory.forget_ended_empty();
  if (!error.empty()) return {nullptr, error};
  store->claims_ = std::make_unique<SharedClaims>(options.claims, names_kept, clock);
  if (options.log != nullptr) {
    options.log->info("store", "opened", {{"data_dir", data_dir}, {"names_kept", names_kept}});
  }
  return {std::move(store), ""};
}

SqliteStore::SqliteStore(const std::string& data_dir, const StoreOptions& options, const Clock& clock)
    : options_(options),
      metrics_(options.metrics ? *options.metrics : own_metrics_),
      directory_(data_dir, sqlite::vfs_of(options)),
      readers_(directory_.database_path(), options_),
      writer_(directory_, readers_, options_, clock, metrics_) {}

SqliteStore::~SqliteStore() {
  stop(false);
}

void SqliteStore::stop(bool empty) {
  if (std::exchange(stopped_, true)) return;
  // The writer first: it finishes what is queued, and readers still answer meanwhile.
  const bool whole = writer_.stop();
  readers_.stop();
  // Whoever was cut off by this very end, or shortly before it, is no longer present and is about to come back.
  const bool names_wait = !claims_ || !claims_->with([](Claims& c, int64_t now_us) { return c.empty(now_us); });
  if (!empty || !whole || names_wait) return;
  std::string error = directory_.note_ended_empty();
  if (!error.empty() && options_.log != nullptr) options_.log->warn("store", "ended", {{"reason", error}});
}

void SqliteStore::append(std::string room, Position known, std::vector<Message> messages, Executor& executor,
                         Callback<AppendResult> done) {
  writer_.append(std::move(room), known, std::move(messages), executor, std::move(done));
}

void SqliteStore::note_trouble(sqlite::ReadConnection& reader) {
  std::string error = reader.take_error();
  if (!error.empty() && options_.log != nullptr) {
    options_.log->limited(LogLevel::error, 5, "store", "cannot read", {{"reason", error}});
  }
}

template <class Read>
void SqliteStore::post_read(Executor& executor, Callback<Rows> done, Read read) {
  readers_.post([this, &executor, done = std::move(done), read = std::move(read)](sqlite::ReadConnection& reader,
                                                                                  int64_t entry_max) mutable {
    Rows rows = read(reader, entry_max);
    const bool away = rows.status == Rows::Status::not_now;
    (away ? metrics_.reads_not_now : metrics_.reads).fetch_add(1, std::memory_order_relaxed);
    if (away) note_trouble(reader);
    answer(executor, std::move(done), std::move(rows));
  });
}

void SqliteStore::read(std::string room, Position after, size_t limit, size_t bytes_max, Executor& executor,
                       Callback<Rows> done) {
  post_read(executor, std::move(done),
            [room = std::move(room), after, limit, bytes_max](sqlite::ReadConnection& reader, int64_t entry_max) {
              return reader.read(room, after, limit, bytes_max, entry_max);
            });
}

void SqliteStore::read_last(std::string room, size_t limit, size_t bytes_max, Executor& executor, Callback<Rows> done) {
  read_range(std::move(room), sequence_max + 1, true, limit, bytes_max, executor, std::move(done));
}

void SqliteStore::read_range(std::string room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max,
                             Executor& executor, Callback<Rows> done) {
  post_read(executor, std::move(done),
            [room = std::move(room), sequence, backwards, limit, bytes_max](sqlite::ReadConnection& reader,
                                                                            int64_t entry_max) {
              return reader.range(room, sequence, backwards, limit, bytes_max, entry_max);
            });
}

void SqliteStore::find(std::string room, std::string uuid, Executor& executor, Callback<Rows> done) {
  post_read(executor, std::move(done),
            [room = std::move(room), uuid = std::move(uuid)](sqlite::ReadConnection& reader, int64_t entry_max) {
              return reader.find(room, uuid, entry_max);
            });
}

void SqliteStore::heads(std::vector<std::string> rooms, Executor& executor,
                        Callback<std::optional<std::vector<Position>>> done) {
  readers_.post([this, &executor, rooms = std::move(rooms), done = std::move(done)](sqlite::ReadConnection& reader,
                                                                                    int64_t entry_max) mutable {
    std::optional<std::vector<Position>> heads = reader.heads(rooms, entry_max);
    if (!heads) note_trouble(reader);
    answer(executor, std::move(done), std::move(heads));
  });
}

void SqliteStore::mark_read(std::string room, std::string user_id, Sequence sequence) {
  writer_.mark_read(room, user_id, sequence);
}

void SqliteStore::read_marker(std::string room, std::string user_id, Executor& executor,
                              Callback<std::optional<Sequence>> done) {
  readers_.post([this, &executor, room = std::move(room), user_id = std::move(user_id), done = std::move(done)](
                    sqlite::ReadConnection& reader, int64_t) mutable {
    // Pending first: what is written in between is then seen in the database.
    const Sequence pending = writer_.pending_marker(room, user_id);
    std::optional<Sequence> result;
    if (auto stored = reader.markers(room, {user_id})) {
      result = std::max(stored->front(), pending);
    } else {
      note_trouble(reader);
    }
    answer(executor, std::move(done), result);
  });
}

void SqliteStore::claim(ClaimRequest request, Executor& executor, Callback<ClaimResult> done) {
  answer(executor, std::move(done), claims_->with([&](Claims& c, int64_t now_us) { return c.claim(request, now_us); }));
}

void SqliteStore::release(std::string room, std::string user_id, bool clean, Executor& executor,
                          Callback<ReleaseResult> done) {
  answer(executor, std::move(done),
         claims_->with([&](Claims& c, int64_t now_us) { return c.release(room, user_id, clean, now_us); }));
}

void SqliteStore::release_reloading(std::string room, std::string user_id, Executor& executor,
                                    Callback<ReleaseResult> done) {
  answer(executor, std::move(done),
         claims_->with([&](Claims& c, int64_t now_us) { return c.release_reloading(room, user_id, now_us); }));
}

void SqliteStore::expire(std::string room, std::string user_id, Executor& executor, Callback<ReleaseResult> done) {
  answer(executor, std::move(done),
         claims_->with([&](Claims& c, int64_t now_us) { return c.expire(room, user_id, now_us); }));
}

void SqliteStore::member_name(std::string room, std::string user_id, Executor& executor,
                              Callback<std::optional<std::string>> done) {
  answer(executor, std::move(done),
         claims_->with([&](Claims& c, int64_t now_us) { return c.member_name(room, user_id, now_us); }));
}

void SqliteStore::members(std::string room, std::string after, size_t limit, Executor& executor,
                          Callback<MemberList> done) {
  MemberList list = claims_->with(
      [&](Claims& c, int64_t now_us) { return c.members(room, after, std::max<size_t>(limit, 1), now_us); });
  readers_.post([this, &executor, room = std::move(room), list = std::move(list), done = std::move(done)](
                    sqlite::ReadConnection& reader, int64_t) mutable {
    std::vector<std::string> users;
    users.reserve(list.members.size());
    for (const MemberList::Entry& entry : list.members) users.push_back(entry.user_id);
    std::vector<Sequence> pending;
    pending.reserve(users.size());
    for (const std::string& user : users) pending.push_back(writer_.pending_marker(room, user));
    if (auto stored = reader.markers(room, users)) {
      for (size_t i = 0; i < users.size(); ++i) list.members[i].read = std::max((*stored)[i], pending[i]);
    } else {
      note_trouble(reader);
      list = {};
    }
    answer(executor, std::move(done), std::move(list));
  });
}

void SqliteStore::members_count(std::string room, Executor& executor, Callback<uint64_t> done) {
  answer(executor, std::move(done),
         claims_->with([&](Claims& c, int64_t now_us) { return c.members_count(room, now_us); }));
}

}  // namespace tertulia
