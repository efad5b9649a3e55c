#include "store/cluster/roster.h"

#include "base/failpoint.h"
#include "store/cluster/roster_work.h"

namespace tertulia::cluster {
namespace {

Ask ask_to_leave(std::string room, std::string user_id, Leaving how, Executor& executor, Callback<ReleaseResult> done) {
  Ask ask;
  ask.kind = Ask::Kind::leave;
  ask.key = {std::move(room), std::move(user_id)};
  ask.how = how;
  ask.executor = &executor;
  ask.released = std::move(done);
  return ask;
}

}  // namespace

Roster::Roster(Database& database, Workers& workers, const StoreOptions& options, const Clock& clock, Random& random)
    : work_(std::make_unique<Work>(database, workers, options, clock, random)) {}

Roster::~Roster() {
  stop();
}

void Roster::start() {
  work_->start();
}

void Roster::stop() {
  work_->stop();
}

void Roster::claim(ClaimRequest request, Executor& executor, Callback<ClaimResult> done) {
  Ask ask;
  ask.kind = Ask::Kind::claim;
  ask.key = {std::move(request.room), std::move(request.user_id)};
  ask.name = {std::move(request.name_folded), std::move(request.user_name)};
  ask.executor = &executor;
  ask.claimed = std::move(done);
  work_->add(std::move(ask));
}

void Roster::release(std::string room, std::string user_id, bool clean, Executor& executor,
                     Callback<ReleaseResult> done) {
  work_->add(ask_to_leave(std::move(room), std::move(user_id), clean ? Leaving::clean : Leaving::unclean, executor,
                          std::move(done)));
}

void Roster::release_reloading(std::string room, std::string user_id, Executor& executor,
                               Callback<ReleaseResult> done) {
  work_->add(ask_to_leave(std::move(room), std::move(user_id), Leaving::reloading, executor, std::move(done)));
}

void Roster::expire(std::string room, std::string user_id, Executor& executor, Callback<ReleaseResult> done) {
  Ask ask;
  ask.kind = Ask::Kind::expire;
  ask.key = {std::move(room), std::move(user_id)};
  ask.executor = &executor;
  ask.released = std::move(done);
  work_->add(std::move(ask));
}

void Roster::member_name(std::string room, std::string user_id, Executor& executor,
                         Callback<std::optional<std::string>> done) {
  ReadAsk ask;
  ask.kind = ReadAsk::Kind::name;
  ask.room = std::move(room);
  ask.user = std::move(user_id);
  ask.executor = &executor;
  ask.named = std::move(done);
  work_->add_read(std::move(ask));
}

void Roster::members(std::string room, std::string after, size_t limit, Executor& executor, Callback<MemberList> done) {
  ReadAsk ask;
  ask.kind = ReadAsk::Kind::list;
  ask.room = std::move(room);
  ask.after = std::move(after);
  ask.limit = limit;
  ask.executor = &executor;
  ask.listed = std::move(done);
  work_->add_read(std::move(ask));
}

void Roster::members_count(std::string room, Executor& executor, Callback<uint64_t> done) {
  ReadAsk ask;
  ask.kind = ReadAsk::Kind::count;
  ask.room = std::move(room);
  ask.executor = &executor;
  ask.counted = std::move(done);
  work_->add_read(std::move(ask));
}

void Roster::watch(StoreWatcher* watcher, Executor* executor) {
  work_->watch(watcher, executor);
}

std::string Roster::node() const {
  return work_->node();
}

std::vector<std::string> Roster::peers() const {
  return work_->peers();
}

bool Roster::lease_holds() const {
  return FAILPOINT("unsafe_lease_for_ever") || work_->lease_holds();
}

std::string Roster::trouble() const {
  return work_->trouble();
}

}  // namespace tertulia::cluster
