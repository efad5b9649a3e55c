// A store that forgets: logs in memory, for tests and for measuring what everything but the disk costs.
//
// It decides at once, under one lock, and answers on the caller's executor; so with an executor that tests drive by
// hand, everything happens in one thread and in one order.
// Thread: any. Memory: every message ever appended. Ends: with its owner; nothing survives it.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "store/claims.h"
#include "store/store.h"
#include "store/store_options.h"

namespace tertulia {

class MemoryStore final : public Store {
 public:
  MemoryStore(const StoreOptions& options, const Clock& clock);
  ~MemoryStore() override;

  void append(std::string room, Position known, std::vector<Message> messages, Executor& executor,
              Callback<AppendResult> done) override;
  void read(std::string room, Position after, size_t limit, size_t bytes_max, Executor& executor,
            Callback<Rows> done) override;
  void read_last(std::string room, size_t limit, size_t bytes_max, Executor& executor, Callback<Rows> done) override;
  void read_range(std::string room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max,
                  Executor& executor, Callback<Rows> done) override;
  void find(std::string room, std::string uuid, Executor& executor, Callback<Rows> done) override;
  void heads(std::vector<std::string> rooms, Executor& executor,
             Callback<std::optional<std::vector<Position>>> done) override;
  void mark_read(std::string room, std::string user_id, Sequence sequence) override;
  void read_marker(std::string room, std::string user_id, Executor& executor,
                   Callback<std::optional<Sequence>> done) override;
  void claim(ClaimRequest request, Executor& executor, Callback<ClaimResult> done) override;
  void release(std::string room, std::string user_id, bool clean, Executor& executor,
               Callback<ReleaseResult> done) override;
  void release_reloading(std::string room, std::string user_id, Executor& executor,
                         Callback<ReleaseResult> done) override;
  void expire(std::string room, std::string user_id, Executor& executor, Callback<ReleaseResult> done) override;
  void member_name(std::string room, std::string user_id, Executor& executor,
                   Callback<std::optional<std::string>> done) override;
  void members(std::string room, std::string after, size_t limit, Executor& executor,
               Callback<MemberList> done) override;
  void members_count(std::string room, Executor& executor, Callback<uint64_t> done) override;
  void stop(bool empty) override;

  // For tests: messages of which `poison` is true are refused. To be set before the first append.
  void refuse(Function<bool(const Message&)> poison) { poison_ = std::move(poison); }
  // For tests: while away, logs are neither read nor appended to, and everybody who asks is told not_now.
  void be_away(bool away);

 private:
  struct Log {
    std::vector<Row> rows;  // rows[n - 1] has sequence n
    std::unordered_map<std::string, Sequence> by_uuid;
    std::unordered_map<std::string, Sequence> markers;
  };

  // REQUIRES: mutex_ held. Rows from first to last (both inclusive), cut at limit and bytes_max; `newest`: the rows at
  // the end are kept.
  static Rows cut(const Log& log, const Position& head, Sequence first, Sequence last, bool newest, size_t limit,
                  size_t bytes_max);
  Position head_of(const std::string& room, const Log* log) const;
  const Log* log_of(const std::string& room) const;
  AppendResult append_now(const std::string& room, const Position& known, std::vector<Message> messages);
  // The log contains this position.
  bool contains(const std::string& room, const Log* log, const Position& position) const;

  StoreMetrics own_metrics_;
  StoreMetrics& metrics_;
  Function<bool(const Message&)> poison_;
  SharedClaims claims_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Log> logs_;  // under mutex_
  bool away_ = false;                          // under mutex_
};

}  // namespace tertulia
