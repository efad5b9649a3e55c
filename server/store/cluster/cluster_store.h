// The store of several nodes: logs, read markers and claims in a database that they share.
//
// What PostgreSQL and MongoDB each do in their own way is behind a Link (link.h). Here is what they do alike, so that
// all of it runs in the simulation too: appends share commits and unknown outcomes are settled (appender.h), nothing is
// shown before it is proven (readers.h, proven.h), and claims and leases are kept (roster.h).
// Thread: any; the work is done by Workers: one appends, two read, the roster has its own. Memory: what callers wait
// for, read markers not yet written, proven positions, members. Ends: stop(), or its destructor, which ends as after a
// crash but for what had been appended, which is finished if the database takes it.
#pragma once

#include <memory>
#include <string>

#include "base/random.h"
#include "base/worker.h"
#include "store/cluster/appender.h"
#include "store/cluster/health.h"
#include "store/cluster/link.h"
#include "store/cluster/proven.h"
#include "store/cluster/readers.h"
#include "store/cluster/roster.h"
#include "store/cluster/watched_database.h"
#include "store/store.h"
#include "store/store_options.h"

namespace tertulia {

class ClusterStore final : public Store {
 public:
  // The clock, the random and what the options name outlive it.
  ClusterStore(std::unique_ptr<cluster::Database> database, std::unique_ptr<Workers> workers,
               const StoreOptions& options, const Clock& clock, Random& random);
  ~ClusterStore() override;

  // To be called once, before all else. Empty, or a sentence that says what, where and what to do. Blocks: a database
  // that is away is waited for, since it may be starting together with this node. The lease is taken a little later.
  [[nodiscard]] std::string start();

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
  void confirm(std::string room, Position position, Executor& executor, Callback<Rows> done) override;
  void heard(const std::string& room, const Position& position) override;
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
  void watch(StoreWatcher* watcher, Executor* executor) override;
  std::string node() const override;
  std::vector<std::string> peers() const override;
  bool may_speak() const override;
  std::string trouble() const override;
  void stop(bool empty) override;

 private:
  // On a worker. `error`: what was wrong at first, and at last.
  void wait_for_database(std::string& error);
  template <class Read>
  void post_rows(std::string room, bool confirms, Executor& executor, Callback<Rows> done, Read read);

  const StoreOptions options_;
  const Clock& clock_;
  StoreMetrics own_metrics_;
  StoreMetrics& metrics_;
  const std::unique_ptr<Workers> workers_;
  const std::unique_ptr<cluster::Database> database_;
  cluster::Proven proven_;
  cluster::Health health_;
  cluster::WatchedDatabase watched_;
  cluster::Roster roster_;
  cluster::Readers readers_;
  cluster::Appender appender_;
  bool stopped_ = false;
};

}  // namespace tertulia
