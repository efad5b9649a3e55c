#include "store/memory_store.h"

#include <algorithm>

#include "store/answer.h"

namespace tertulia {

MemoryStore::MemoryStore(const StoreOptions& options, const Clock& clock)
    : metrics_(options.metrics ? *options.metrics : own_metrics_), claims_(options.claims, false, clock) {}

MemoryStore::~MemoryStore() = default;

const MemoryStore::Log* MemoryStore::log_of(const std::string& room) const {
  auto found = logs_.find(room);
  return found == logs_.end() ? nullptr : &found->second;
}

Position MemoryStore::head_of(const std::string& room, const Log* log) const {
  if (log == nullptr || log->rows.empty()) return {0, chain_start(room)};
  return log->rows.back().position();
}

void MemoryStore::append(std::string room, Position known, std::vector<Message> messages, Executor& executor,
                         Callback<AppendResult> done) {
  AppendResult result = append_now(room, known, std::move(messages));
  answer(executor, std::move(done), std::move(result));
}

void MemoryStore::be_away(bool away) {
  std::lock_guard lock(mutex_);
  away_ = away;
}

bool MemoryStore::contains(const std::string& room, const Log* log, const Position& position) const {
  if (position.sequence == 0) return position.chain == chain_start(room);
  if (log == nullptr || position.sequence > log->rows.size()) return false;
  return log->rows[position.sequence - 1].chain == position.chain;
}

AppendResult MemoryStore::append_now(const std::string& room, const Position& known, std::vector<Message> messages) {
  std::lock_guard lock(mutex_);
  AppendResult result;
  if (away_) {
    result.reason = "away, for a test";
    return result;
  }
  if (!contains(room, log_of(room), known)) {
    result.status = AppendResult::Status::does_not_fit;
    result.reason = "the log does not contain the position held";
    return result;
  }
  result.status = AppendResult::Status::done;
  result.each.reserve(messages.size());
  Log& log = logs_[room];
  for (Message& message : messages) {
    Appended& one = result.each.emplace_back();
    auto found = log.by_uuid.find(message.uuid);
    if (found != log.by_uuid.end()) {
      const Row& row = log.rows[found->second - 1];
      const bool same = same_body(row.message, message);
      one.kind = same ? Appended::Kind::repeated : Appended::Kind::conflict;
      if (same) one.position = row.position();
      (same ? metrics_.repeats : metrics_.conflicts).fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    if (poison_ && poison_(message)) {
      one.kind = Appended::Kind::refused;
      one.reason = "refused by the test";
      metrics_.refused.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    Row row;
    Position head = head_of(room, &log);
    row.sequence = head.sequence + 1;
    row.previous = head.chain;
    row.chain = chain_next(head.chain, row.sequence, message);
    row.message = std::move(message);
    one.kind = Appended::Kind::added;
    one.position = row.position();
    one.previous = row.previous;
    log.by_uuid.emplace(row.message.uuid, row.sequence);
    log.rows.push_back(std::move(row));
    metrics_.rows.fetch_add(1, std::memory_order_relaxed);
  }
  metrics_.commits.fetch_add(1, std::memory_order_relaxed);
  return result;
}

Rows MemoryStore::cut(const Log& log, const Position& head, Sequence first, Sequence last, bool newest, size_t limit,
                      size_t bytes_max) {
  Rows result;
  result.status = Rows::Status::ok;
  result.head = head;
  size_t bytes = 0;
  while (first <= last && result.rows.size() < limit) {
    const Row& row = log.rows[(newest ? last-- : first++) - 1];
    bytes += row.message.bytes();
    if (bytes > bytes_max && !result.rows.empty()) break;
    result.rows.push_back(row);
  }
  if (newest) std::reverse(result.rows.begin(), result.rows.end());
  return result;
}

void MemoryStore::read(std::string room, Position after, size_t limit, size_t bytes_max, Executor& executor,
                       Callback<Rows> done) {
  Rows result;
  {
    std::lock_guard lock(mutex_);
    const Log* log = log_of(room);
    Position head = head_of(room, log);
    if (away_) {
      result.status = Rows::Status::not_now;
    } else if (!contains(room, log, after)) {
      result.status = Rows::Status::does_not_fit;
      result.head = head;
    } else if (log == nullptr) {
      result.status = Rows::Status::ok;
      result.head = head;
    } else {
      result = cut(*log, head, after.sequence + 1, head.sequence, false, limit, bytes_max);
    }
  }
  answer(executor, std::move(done), std::move(result));
}

void MemoryStore::read_last(std::string room, size_t limit, size_t bytes_max, Executor& executor, Callback<Rows> done) {
  read_range(std::move(room), sequence_max, true, limit, bytes_max, executor, std::move(done));
}

void MemoryStore::read_range(std::string room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max,
                             Executor& executor, Callback<Rows> done) {
  Rows result;
  {
    std::lock_guard lock(mutex_);
    static const Log none;
    const Log* log = log_of(room);
    Position head = head_of(room, log);
    if (log == nullptr) log = &none;
    if (away_) {
      result.status = Rows::Status::not_now;
    } else if (backwards) {
      Sequence last = sequence == 0 ? 0 : std::min(sequence - 1, head.sequence);
      result = cut(*log, head, 1, last, true, limit, bytes_max);
    } else {
      // A number behind the head has nothing behind it; + 1 does not wrap, as there is no such head.
      Sequence first = std::min(sequence, head.sequence) + 1;
      result = cut(*log, head, first, head.sequence, false, limit, bytes_max);
    }
  }
  answer(executor, std::move(done), std::move(result));
}

void MemoryStore::find(std::string room, std::string uuid, Executor& executor, Callback<Rows> done) {
  Rows result;
  {
    std::lock_guard lock(mutex_);
    const Log* log = log_of(room);
    result.status = away_ ? Rows::Status::not_now : Rows::Status::ok;
    result.head = head_of(room, log);
    if (!away_ && log != nullptr) {
      auto found = log->by_uuid.find(uuid);
      if (found != log->by_uuid.end()) result.rows.push_back(log->rows[found->second - 1]);
    }
  }
  answer(executor, std::move(done), std::move(result));
}

void MemoryStore::heads(std::vector<std::string> rooms, Executor& executor,
                        Callback<std::optional<std::vector<Position>>> done) {
  std::optional<std::vector<Position>> heads;
  {
    std::lock_guard lock(mutex_);
    if (!away_) {
      heads.emplace();
      for (const std::string& room : rooms) heads->push_back(head_of(room, log_of(room)));
    }
  }
  answer(executor, std::move(done), std::move(heads));
}

void MemoryStore::mark_read(std::string room, std::string user_id, Sequence sequence) {
  std::lock_guard lock(mutex_);
  Sequence& marker = logs_[room].markers[user_id];
  marker = std::max(marker, sequence);
}

void MemoryStore::read_marker(std::string room, std::string user_id, Executor& executor,
                              Callback<std::optional<Sequence>> done) {
  std::optional<Sequence> result = 0;
  {
    std::lock_guard lock(mutex_);
    if (const Log* log = log_of(room)) {
      auto found = log->markers.find(user_id);
      if (found != log->markers.end()) result = found->second;
    }
  }
  answer(executor, std::move(done), result);
}

void MemoryStore::claim(ClaimRequest request, Executor& executor, Callback<ClaimResult> done) {
  answer(executor, std::move(done), claims_.with([&](Claims& c, int64_t now_us) { return c.claim(request, now_us); }));
}

void MemoryStore::release(std::string room, std::string user_id, bool clean, Executor& executor,
                          Callback<ReleaseResult> done) {
  answer(executor, std::move(done),
         claims_.with([&](Claims& c, int64_t now_us) { return c.release(room, user_id, clean, now_us); }));
}

void MemoryStore::release_reloading(std::string room, std::string user_id, Executor& executor,
                                    Callback<ReleaseResult> done) {
  answer(executor, std::move(done),
         claims_.with([&](Claims& c, int64_t now_us) { return c.release_reloading(room, user_id, now_us); }));
}

void MemoryStore::expire(std::string room, std::string user_id, Executor& executor, Callback<ReleaseResult> done) {
  answer(executor, std::move(done),
         claims_.with([&](Claims& c, int64_t now_us) { return c.expire(room, user_id, now_us); }));
}

void MemoryStore::member_name(std::string room, std::string user_id, Executor& executor,
                              Callback<std::optional<std::string>> done) {
  answer(executor, std::move(done),
         claims_.with([&](Claims& c, int64_t now_us) { return c.member_name(room, user_id, now_us); }));
}

void MemoryStore::members(std::string room, std::string after, size_t limit, Executor& executor,
                          Callback<MemberList> done) {
  MemberList list = claims_.with(
      [&](Claims& c, int64_t now_us) { return c.members(room, after, std::max<size_t>(limit, 1), now_us); });
  {
    std::lock_guard lock(mutex_);
    if (const Log* log = log_of(room)) {
      for (MemberList::Entry& entry : list.members) {
        auto found = log->markers.find(entry.user_id);
        if (found != log->markers.end()) entry.read = found->second;
      }
    }
  }
  answer(executor, std::move(done), std::move(list));
}

void MemoryStore::members_count(std::string room, Executor& executor, Callback<uint64_t> done) {
  answer(executor, std::move(done),
         claims_.with([&](Claims& c, int64_t now_us) { return c.members_count(room, now_us); }));
}

void MemoryStore::stop(bool) {}

}  // namespace tertulia
