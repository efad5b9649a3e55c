#include "store/cluster/cluster_store.h"

#include <algorithm>
#include <utility>

#include "base/failpoint.h"
#include "store/answer.h"

namespace tertulia {
namespace {

constexpr int64_t kStartUs = 30'000'000, kStartPauseUs = 500'000, kStartTellUs = 5'000'000;
constexpr int64_t kStopUs = 5'000'000;

// For an answer that is only handed on: runs it wherever it comes from.
class AtOnce final : public Executor {
 public:
  void post(Function<void()> task) override { task(); }
};
AtOnce at_once;

}  // namespace

ClusterStore::ClusterStore(std::unique_ptr<cluster::Database> database, std::unique_ptr<Workers> workers,
                           const StoreOptions& options, const Clock& clock, Random& random)
    : options_(options),
      clock_(clock),
      metrics_(options.metrics ? *options.metrics : own_metrics_),
      workers_(std::move(workers)),
      database_(std::move(database)),
      proven_(options.heads_cached_max),
      health_(database_->address(), options_, metrics_, proven_, clock),
      watched_(*database_, health_),
      roster_(watched_, *workers_, options_, clock, random),
      readers_(watched_, *workers_, proven_, options_, clock, metrics_),
      appender_(
          watched_, *workers_, proven_,
          [this]() -> std::optional<std::string> {
            // In this order: a lease that holds after the node's name was read is that node's, or a later one's, and
            // then the database does not know the earlier one any more.
            std::string node = roster_.node();
            if (!roster_.lease_holds()) return std::nullopt;
            return node;
          },
          options_, clock, random, metrics_) {}

ClusterStore::~ClusterStore() {
  stop(false);
}

std::string ClusterStore::start() {
  std::string error = watched_.prepare();
  if (!error.empty()) {
    appender_.worker().run([&] { wait_for_database(error); });
  }
  if (!error.empty()) return error;
  roster_.start();
  if (options_.log != nullptr) {
    options_.log->info("store", "opened", {{"address", database_->address()}});
    const std::string warning = database_->warning();
    if (!warning.empty()) {
      options_.log->warn("store", "the database may lose what it has confirmed",
                         {{"reason", LogSentence{warning}}, {"address", database_->address()}});
    }
  }
  return "";
}

void ClusterStore::wait_for_database(std::string& error) {
  const int64_t began_us = clock_.now_us();
  int64_t told_us = began_us - kStartTellUs;
  while (!error.empty() && clock_.now_us() - began_us < kStartUs) {
    if (options_.log != nullptr && clock_.now_us() - told_us >= kStartTellUs) {
      told_us = clock_.now_us();
      options_.log->warn("store", "waiting for the database",
                         {{"reason", LogSentence{error}}, {"address", database_->address()}});
    }
    if (!appender_.worker().pause_us(kStartPauseUs)) return;
    error = watched_.prepare();
  }
}

void ClusterStore::stop(bool) {
  if (std::exchange(stopped_, true)) return;
  // Appends first, while the lease still holds and readers still answer. Claims are in the database: whoever comes back
  // finds his name there, so it matters to nobody here whether the node ended empty.
  const int64_t deadline_us = clock_.now_us() + kStopUs;
  appender_.stop(deadline_us);
  readers_.stop(deadline_us);
  roster_.stop();
  health_.watch(nullptr, nullptr);
}

void ClusterStore::append(std::string room, Position known, std::vector<Message> messages, Executor& executor,
                          Callback<AppendResult> done) {
  appender_.append({std::move(room), known, std::move(messages), &executor, std::move(done)});
}

template <class Read>
void ClusterStore::post_rows(std::string room, bool confirms, Executor& executor, Callback<Rows> done, Read read) {
  readers_.post(std::make_unique<cluster::RowsReading<Read>>(std::move(room), confirms, std::move(read), executor,
                                                             std::move(done)));
}

void ClusterStore::read(std::string room, Position after, size_t limit, size_t bytes_max, Executor& executor,
                        Callback<Rows> done) {
  post_rows(std::move(room), false, executor, std::move(done),
            [after, limit, bytes_max](cluster::Link& link, const std::string& in, Rows& rows) {
              cluster::Failure failure = link.read(in, after, limit, bytes_max, rows);
              if (!failure && !rows.rows.empty() && rows.rows.front().before() != after)
                failure = {cluster::Trouble::not_now, "the database has shown rows that do not continue what is held"};
              return failure;
            });
}

void ClusterStore::read_last(std::string room, size_t limit, size_t bytes_max, Executor& executor,
                             Callback<Rows> done) {
  read_range(std::move(room), sequence_max + 1, true, limit, bytes_max, executor, std::move(done));
}

void ClusterStore::read_range(std::string room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max,
                              Executor& executor, Callback<Rows> done) {
  post_rows(std::move(room), false, executor, std::move(done),
            [sequence, backwards, limit, bytes_max](cluster::Link& link, const std::string& in, Rows& rows) {
              return link.read_range(in, sequence, backwards, limit, bytes_max, rows);
            });
}

void ClusterStore::find(std::string room, std::string uuid, Executor& executor, Callback<Rows> done) {
  post_rows(std::move(room), false, executor, std::move(done),
            [uuid = std::move(uuid)](cluster::Link& link, const std::string& in, Rows& rows) {
              return link.find(in, uuid, rows);
            });
}

void ClusterStore::confirm(std::string room, Position position, Executor& executor, Callback<Rows> done) {
  post_rows(std::move(room), !FAILPOINT("unsafe_confirm_without_mark"), executor, std::move(done),
            [position](cluster::Link& link, const std::string& in, Rows& rows) {
              return link.read(in, position, 1, 1, rows);
            });
}

void ClusterStore::heads(std::vector<std::string> rooms, Executor& executor,
                         Callback<std::optional<std::vector<Position>>> done) {
  readers_.post(std::make_unique<cluster::HeadsReading>(std::move(rooms), executor, std::move(done)));
}

void ClusterStore::heard(const std::string& room, const Position& position) {
  proven_.add(room, position);
}

void ClusterStore::mark_read(std::string room, std::string user_id, Sequence sequence) {
  readers_.mark_read(std::move(room), std::move(user_id), sequence);
}

void ClusterStore::read_marker(std::string room, std::string user_id, Executor& executor,
                               Callback<std::optional<Sequence>> done) {
  const Sequence pending = readers_.pending_markers().find(room, user_id);
  readers_.post(std::make_unique<cluster::MarkersReading>(
      std::move(room), std::vector<std::string>{std::move(user_id)},
      [pending, &executor, done = std::move(done)](std::optional<std::vector<Sequence>> stored) mutable {
        std::optional<Sequence> result;
        if (stored) result = std::max(stored->front(), pending);
        answer(executor, std::move(done), result);
      }));
}

void ClusterStore::members(std::string room, std::string after, size_t limit, Executor& executor,
                           Callback<MemberList> done) {
  roster_.members(room, std::move(after), std::max<size_t>(limit, 1), at_once,
                  [this, room, &executor, done = std::move(done)](MemberList list) mutable {
                    if (!list.ok || list.members.empty()) {
                      answer(executor, std::move(done), std::move(list));
                      return;
                    }
                    std::vector<std::string> users;
                    std::vector<Sequence> pending;
                    for (const MemberList::Entry& entry : list.members) {
                      users.push_back(entry.user_id);
                      pending.push_back(readers_.pending_markers().find(room, entry.user_id));
                    }
                    readers_.post(std::make_unique<cluster::MarkersReading>(
                        room, std::move(users),
                        [pending = std::move(pending), list = std::move(list), &executor,
                         done = std::move(done)](std::optional<std::vector<Sequence>> stored) mutable {
                          for (size_t i = 0; stored && i < list.members.size(); ++i) {
                            list.members[i].read = std::max((*stored)[i], pending[i]);
                          }
                          answer(executor, std::move(done), stored ? std::move(list) : MemberList{});
                        }));
                  });
}

void ClusterStore::claim(ClaimRequest request, Executor& executor, Callback<ClaimResult> done) {
  roster_.claim(std::move(request), executor, std::move(done));
}

void ClusterStore::release(std::string room, std::string user_id, bool clean, Executor& executor,
                           Callback<ReleaseResult> done) {
  roster_.release(std::move(room), std::move(user_id), clean, executor, std::move(done));
}

void ClusterStore::release_reloading(std::string room, std::string user_id, Executor& executor,
                                     Callback<ReleaseResult> done) {
  roster_.release_reloading(std::move(room), std::move(user_id), executor, std::move(done));
}

void ClusterStore::expire(std::string room, std::string user_id, Executor& executor, Callback<ReleaseResult> done) {
  roster_.expire(std::move(room), std::move(user_id), executor, std::move(done));
}

void ClusterStore::member_name(std::string room, std::string user_id, Executor& executor,
                               Callback<std::optional<std::string>> done) {
  roster_.member_name(std::move(room), std::move(user_id), executor, std::move(done));
}

void ClusterStore::members_count(std::string room, Executor& executor, Callback<uint64_t> done) {
  roster_.members_count(std::move(room), executor, std::move(done));
}

void ClusterStore::watch(StoreWatcher* watcher, Executor* executor) {
  health_.watch(watcher, executor);
  roster_.watch(watcher, executor);
}

std::string ClusterStore::node() const {
  return roster_.node();
}

std::vector<std::string> ClusterStore::peers() const {
  return roster_.peers();
}

bool ClusterStore::may_speak() const {
  return roster_.lease_holds();
}

std::string ClusterStore::trouble() const {
  std::string trouble = health_.trouble();
  return trouble.empty() ? roster_.trouble() : trouble;
}

}  // namespace tertulia
