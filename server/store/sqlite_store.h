// The store of one node: logs in one SQLite file in a data directory that belongs to this process.
//
// One thread writes (sqlite_writer.h), two read (sqlite_readers.h); claims are kept in memory (claims.h), as the
// directory's lock is this node's lease.
// Thread: any. Memory: page caches, heads, members. Ends: stop(), or its destructor, which ends as after a crash but
// for what had been appended, which is finished.
#pragma once

#include <memory>
#include <string>

#include "store/claims.h"
#include "store/open_store.h"
#include "store/sqlite_readers.h"
#include "store/sqlite_writer.h"
#include "store/store.h"

namespace tertulia {

class SqliteStore final : public Store {
 public:
  [[nodiscard]] static OpenedStore open(const std::string& data_dir, const StoreOptions& options, const Clock& clock);
  ~SqliteStore() override;

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

 private:
  SqliteStore(const std::string& data_dir, const StoreOptions& options, const Clock& clock);
  // `read` makes Rows of (ReadConnection&, entry_max).
  template <class Read>
  void post_read(Executor& executor, Callback<Rows> done, Read read);
  void note_trouble(sqlite::ReadConnection& reader);

  const StoreOptions options_;
  StoreMetrics own_metrics_;
  StoreMetrics& metrics_;
  sqlite::DataDir directory_;
  std::unique_ptr<SharedClaims> claims_;
  sqlite::Readers readers_;
  sqlite::Writer writer_;
  bool stopped_ = false;
};

}  // namespace tertulia
