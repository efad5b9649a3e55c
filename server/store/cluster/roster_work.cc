#include "store/cluster/roster_work.h"

#include <algorithm>

#include "base/log.h"
#include "protocol/base64url.h"
#include "store/answer.h"

namespace tertulia::cluster {
namespace {

constexpr size_t batch_max = 256;    // asks in one load and one put
constexpr size_t search_max = 2048;  // asks looked through for them
constexpr int rounds_max = 32;       // then others get their turn
constexpr size_t tried_max = 64;     // undecided writes of one ask; there is one for each tick at most

}  // namespace

Roster::Work::Work(Database& database, Workers& workers, const StoreOptions& options, const Clock& clock,
                   Random& random)
    : options_(options),
      times_(options.lease_ms, options.lease_renew_ms),
      clock_(clock),
      random_(random),
      tick_us_(std::max<int64_t>(5'000, times_.retry_us)),
      settle_us_(std::max<int64_t>(60'000'000, 10 * times_.lease_us)),
      worker_(workers.make("roster")),
      link_(database.link(*worker_)),
      actor_{random_text(), {}},
      lease_(times_, actor_.node),
      peers_(times_),
      members_(options.claims.name_grace_ms * 1000, options.claims.former_member_ms * 1000,
               options.claims.former_members_max),
      names_told_(std::make_shared<std::atomic<uint64_t>>(0)),
      node_(actor_.node) {}

std::string Roster::Work::random_text() {
  uint8_t bytes[12];
  random_.fill(bytes);
  std::string text;
  append_base64url(text, bytes);
  return text;
}

// --- any thread ---

void Roster::Work::start() {
  worker_->post([this] { tick(); });
}

void Roster::Work::stop() {
  {
    std::lock_guard lock(mutex_);
    if (ending_) return;
    ending_ = true;
  }
  worker_->post([this] { end(); });
  worker_->stop();
}

void Roster::Work::add(Ask ask) {
  std::lock_guard lock(mutex_);
  if (ending_) return;
  incoming_.push_back(std::move(ask));
  wake();
}

void Roster::Work::add_read(ReadAsk ask) {
  std::lock_guard lock(mutex_);
  if (ending_) return;
  reads_.push_back(std::move(ask));
  wake();
}

void Roster::Work::wake() {
  if (woken_) return;
  woken_ = true;
  worker_->post([this] { run(); });
}

void Roster::Work::watch(StoreWatcher* watcher, Executor* executor) {
  std::lock_guard lock(mutex_);
  watcher_ = watcher;
  executor_ = executor;
}

std::string Roster::Work::node() const {
  std::lock_guard lock(mutex_);
  return node_;
}

std::vector<std::string> Roster::Work::peers() const {
  std::lock_guard lock(mutex_);
  return alive_;
}

std::string Roster::Work::trouble() const {
  std::lock_guard lock(mutex_);
  if (!trouble_.empty()) return trouble_;
  return lease_holds() ? "" : "this node's lease is in doubt";
}

// --- the worker ---

void Roster::Work::tick() {
  run();
  worker_->post_after(tick_us_, [this] { tick(); });
}

void Roster::Work::run() {
  if (stopped_) return;
  for (bool more = true; more;) {
    take_incoming();
    tend();
    bool well = true;
    if (!may_work()) {
      refuse_claims();
      well = false;
    } else if (reclaiming_) {
      refuse_claims();
      if (!reclaims_.empty()) {
        well = work(reclaims_);
        if (reclaims_.empty() && told_names_lost_) {
          tell([told = names_told_, epoch = epoch_](StoreWatcher&) { *told = epoch; });
        }
        reclaimed();
        publish();
        more = well;
      } else {
        well = false;  // until the watcher has heard
      }
    } else {
      if (!asks_.empty()) well = work(asks_);
      if (well && !internal_.empty()) well = work(internal_);
    }
    const bool reads_left = read_some();
    std::lock_guard lock(mutex_);
    more = reads_left || !incoming_.empty() || (well && (!asks_.empty() || !internal_.empty() || !reclaims_.empty()));
    if (!more) woken_ = false;
  }
}

void Roster::Work::take_incoming() {
  std::lock_guard lock(mutex_);
  for (Ask& ask : incoming_) asks_.push_back(std::move(ask));
  incoming_.clear();
}

// The lease does not hold: who comes is told so, unless something may stand for him already. All others wait.
void Roster::Work::refuse_claims() {
  std::deque<Ask> kept;
  for (Ask& ask : asks_) {
    const bool may_stand = ask.settled || (!ask.parts.empty() && !ask.parts.front().tried.empty());
    if (ask.kind == Ask::Kind::claim && !may_stand) {
      answer(*ask.executor, std::move(ask.claimed), ClaimResult{});
    } else {
      kept.push_back(std::move(ask));
    }
  }
  asks_ = std::move(kept);
}

// One ask of each user, in order: what a user's second ask means depends on the first.
std::deque<Ask> Roster::Work::take_batch(std::deque<Ask>& from) const {
  std::deque<Ask> batch, rest;
  std::set<LocalMembers::Key> seen;
  for (size_t looked = 0; !from.empty() && looked < search_max && batch.size() < batch_max; ++looked) {
    (seen.insert(from.front().key).second ? batch : rest).push_back(std::move(from.front()));
    from.pop_front();
  }
  for (; !rest.empty(); rest.pop_back()) from.push_front(std::move(rest.back()));
  return batch;
}

// What this node alone knows of it.
void Roster::Work::begin(Ask& ask) {
  const bool tried = ask.settled || (!ask.parts.empty() && !ask.parts.front().tried.empty());
  if (ask.begun && (ask.kind != Ask::Kind::claim || tried)) return;
  ask.begun = true;
  ask.parts.clear();
  std::vector<HeldName> names;
  const LocalMember* member = members_.find(ask.key);
  switch (ask.kind) {
    case Ask::Kind::claim:
      if (!members_.holds(ask.key, ask.name.folded)) names.push_back(ask.name);
      break;
    case Ask::Kind::leave:
      if (member != nullptr && member->sessions_count == 1) names = members_.last_left(ask.key);
      break;
    case Ask::Kind::expire:
      if (ask.name.folded.empty()) {
        names = members_.take_due(ask.key, clock_.now_us());
      } else {
        names.push_back(ask.name);
      }
      break;
    case Ask::Kind::inherit:
    case Ask::Kind::forget:
    case Ask::Kind::reclaim: names.push_back(ask.name); break;
  }
  for (HeldName& name : names) {
    Ask::Part part;
    part.name = std::move(name);
    ask.parts.push_back(std::move(part));
  }
}

// False: the database did not take it; what is not done stands in front of the queue again, in order.
bool Roster::Work::work(std::deque<Ask>& from) {
  std::deque<Ask> open = take_batch(from);
  for (Ask& ask : open) begin(ask);
  bool well = true;
  for (int rounds = 0; well && !open.empty() && rounds < rounds_max; ++rounds) {
    if (rounds > 0) keep_alive();
    Round round;
    well = may_work() && decide(open, round);
    // Lost, and yet nothing else stands: what won is not proven yet. Trying again at once would not help.
    if (round.stuck && !open.empty()) well = false;
  }
  for (; !open.empty(); open.pop_back()) from.push_front(std::move(open.back()));
  return well;
}

bool Roster::Work::decide(std::deque<Ask>& open, Round& round) {
  if (!load(open, round) || !settle_nodes(round)) return false;
  // A slow database must not make the lease run out, nor what was loaded grow old: what is not reached in time is left
  // to the next round.
  const int64_t until_us = clock_.now_us() + times_.renew_us / 2;
  for (Ask& ask : open) {
    for (Ask::Part& part : ask.parts) part.evaluated = false;
  }
  for (Ask& ask : open) {
    if (clock_.now_us() > until_us) break;
    keep_alive();
    for (Ask::Part& part : ask.parts) {
      if (part.done) continue;
      part.evaluated = true;
      if (!evaluate(ask, part, round.records.at({ask.key.first, part.name.folded}), round)) return false;
    }
  }
  if (!put(open, round)) return false;
  bool well = true;
  std::deque<Ask> left;
  for (Ask& ask : open) {
    const bool done = std::all_of(ask.parts.begin(), ask.parts.end(), [](const auto& part) { return part.done; });
    if (done && well) {
      keep_alive();
      if (finish(ask, round)) continue;
      well = false;
    }
    left.push_back(std::move(ask));
  }
  open = std::move(left);
  return well;
}

bool Roster::Work::load(std::deque<Ask>& open, Round& round) {
  std::vector<RecordKey> keys;
  for (const Ask& ask : open) {
    for (const Ask::Part& part : ask.parts) {
      if (!part.done && round.records.try_emplace({ask.key.first, part.name.folded}).second) {
        keys.emplace_back(ask.key.first, part.name.folded);
      }
    }
  }
  if (keys.empty()) return true;
  std::vector<Record> records;
  if (failed(link_->load(keys, records), "claims cannot be read")) return false;
  for (size_t i = 0; i < keys.size(); ++i) {
    Working& working = round.records[keys[i]];
    working.record = std::move(records[i]);
    working.record.room = keys[i].first;
    working.record.name = keys[i].second;
    std::optional<ClaimState> state = claim_of(working.record);
    working.readable = state.has_value();
    if (state) {
      working.state = std::move(*state);
      count_if_keeper(keys[i].first, keys[i].second, working.state);
    } else if (log() != nullptr) {
      log()->limited(LogLevel::error, 1, "roster", "a claim's record cannot be read: it is left alone",
                     {{"room", keys[i].first}, {"name", keys[i].second}});
    }
  }
  return true;
}

// Whoever the record calls its keeper counts, however that came about.
void Roster::Work::count_if_keeper(const std::string& room, const std::string& folded, const ClaimState& state) {
  if (!state.live() || state.kind == ClaimState::Kind::present || state.keeper != actor_.node) return;
  const LocalMembers::Key key(room, state.user);
  if (!members_.counts_grace(key, folded)) members_.count_grace(key, {folded, state.shown}, true, clock_.now_us());
}

bool Roster::Work::settle_nodes(Round& round) {
  for (const auto& [key, working] : round.records) {
    for (const std::string& node : working.state.nodes()) {
      if (!find_node(node)) return false;
    }
  }
  return true;
}

// False: the database could not be asked.
bool Roster::Work::evaluate(Ask& ask, Ask::Part& part, Working& working, Round& round) {
  part.rests_on.clear();
  part.changes = false;
  part.outcome = {};
  if (!working.readable) return true;
  const bool claims = ask.kind == Ask::Kind::claim || ask.kind == Ask::Kind::reclaim;
  for (auto tried = part.tried.begin(); tried != part.tried.end(); ++tried) {
    if (!has_mark(working.state, tried->first)) continue;
    round.by_reading = true;
    if (!claims) {
      part.outcome = tried->second;
      part.done = true;
      return true;
    }
    // It stood, under whatever name this node had; whether it stands still is decided below.
    ask.stood(tried->second);
    part.tried.erase(tried);
    ask.settled = true;
    break;
  }
  if (!part.tried.empty() && part.tried_from == working.record.version) round.stuck = true;
  ClaimState state = working.state;
  bool changed = false;
  switch (ask.kind) {
    case Ask::Kind::claim:
    case Ask::Kind::reclaim:
      if (!evaluate_claim(ask, part, state, changed, round)) return false;
      break;
    case Ask::Kind::leave:
    case Ask::Kind::expire: {
      const Left left = ask.kind == Ask::Kind::leave ? cluster::leave(state, actor_, ask.key.second, ask.how)
                                                     : cluster::expire(state, actor_, ask.key.second);
      changed = left.changed;
      part.outcome.last = left.last;
      part.outcome.ended = left.ended;
      break;
    }
    case Ask::Kind::inherit: {
      std::set<std::string> dead = actor_.formerly;
      for (const auto& each : dead_) dead.insert(each.first);
      changed = nodes_died(state, actor_, dead).changed;
      break;
    }
    case Ask::Kind::forget:
      changed = state.user == ask.key.second &&
                forget(state, actor_, state.keeper != actor_.node && !peers_.alive(state.keeper));
      break;
  }
  if (changed) {
    if (working.mark.empty()) working.mark = random_text();
    working.state = std::move(state);
    part.changes = true;
  }
  // What an earlier ask of this round has changed is not sure yet either.
  part.rests_on = working.mark;
  return true;
}

bool Roster::Work::evaluate_claim(Ask& ask, Ask::Part& part, ClaimState& state, bool& changed, Round& round) {
  std::set<std::string> dead = actor_.formerly;
  for (const auto& each : dead_) dead.insert(each.first);
  changed = nodes_died(state, actor_, dead).changed;
  const ClaimState before = state;
  const Claimed result = cluster::claim(state, actor_, ask.key.second, ask.name.shown);
  part.outcome.waiting = result.status == Claimed::Status::waiting;
  part.outcome.holder = before.user;
  if (result.status != Claimed::Status::granted) return true;
  bool elsewhere = false;
  if (result.began) {
    std::vector<Record> others;
    if (!others_of(ask.key, part.name.folded, others)) return false;
    elsewhere = !others.empty();
    bool full = others.size() >= options_.claims.names_per_member_max;
    if (!elsewhere) {
      auto [found, fresh] = round.counts_before.try_emplace(ask.key.first);
      if (fresh && failed(link_->count(ask.key.first, found->second), "members cannot be counted")) return false;
      // Those of this round are not in it yet. One too few is right when one goes in the same round, too.
      full = found->second >= options_.claims.members_per_room_max;
      if (!full) ++found->second;
    }
    if (full && ask.kind == Ask::Kind::claim) {
      state = before;
      part.outcome.too_many = true;
      return true;
    }
  }
  if (!result.changed) round.by_reading = true;
  changed = changed || result.changed;
  part.outcome.granted = true;
  part.outcome.began = result.began && !elsewhere;
  part.outcome.robbed_user = result.robbed_user;
  part.outcome.robbed_shown = result.robbed_shown;
  return true;
}

// What was read may be taken back by a failover until a commit begun later has come back clean. (A put that succeeds is
// such a commit.)
bool Roster::Work::prove_reads() {
  return !link_->reads_need_mark() || !failed(link_->mark(), "what was read cannot be proven");
}

bool Roster::Work::put(std::deque<Ask>& open, Round& round) {
  std::vector<Put> puts;
  for (auto& [key, working] : round.records) {
    if (!working.mark.empty()) puts.push_back(claim_put(working.record, working.state, working.mark));
  }
  if (puts.empty()) {
    if (round.by_reading && !prove_reads()) return false;
    conclude(open, puts, round);
    return true;
  }
  if (!may_work()) return false;
  for (Ask& ask : open) {
    for (Ask::Part& part : ask.parts) {
      if (part.done || !part.evaluated || !part.changes) continue;
      part.tried.emplace_back(part.rests_on, part.outcome);
      part.tried_from = round.records.at({ask.key.first, part.name.folded}).record.version;
      if (part.tried.size() > tried_max) part.tried.erase(part.tried.begin());
    }
  }
  const Failure failure = link_->put(puts, actor_.node);
  switch (failure.trouble) {
    case Trouble::none: conclude(open, puts, round); return true;
    case Trouble::unknown: failed(failure, "whether claims were written is unknown"); return false;
    case Trouble::message:
      if (puts.size() > 1) return put_one_by_one(open, puts, round);
      break;
    case Trouble::fenced: lease_.doubt(); break;
    case Trouble::not_now: break;
  }
  // Nothing was done, so nothing may stand for it.
  for (Ask& ask : open) {
    for (Ask::Part& part : ask.parts) {
      if (part.done || !part.evaluated || !part.changes) continue;
      part.tried.pop_back();
      if (failure.trouble != Trouble::message) continue;
      part.outcome = {};
      part.done = true;
    }
  }
  failed(failure, "claims cannot be written");
  return failure.trouble == Trouble::message;
}

// One of them is such that the database takes it never: the others are not to suffer.
bool Roster::Work::put_one_by_one(std::deque<Ask>& open, std::vector<Put>& puts, Round& round) {
  for (Put& put : puts) {
    std::vector<Put> one = {put};
    const Failure failure = link_->put(one, actor_.node);
    put.won = one.front().won && !failure;
    if (failure.trouble == Trouble::message) {
      failed(failure, "a claim is refused by the database");
      for (Ask& ask : open) {
        for (Ask::Part& part : ask.parts) {
          if (ask.key.first != put.record.room || part.name.folded != put.record.name) continue;
          part.outcome = {};
          part.rests_on.clear();
          part.changes = false;
          part.tried.clear();
        }
      }
    } else if (failed(failure, "claims cannot be written")) {
      return false;  // what was tried stays tried; the trail tells what stands
    }
  }
  conclude(open, puts, round);
  return true;
}

void Roster::Work::conclude(std::deque<Ask>& open, const std::vector<Put>& puts, Round& round) {
  for (const Put& put : puts) {
    Working& working = round.records.at({put.record.room, put.record.name});
    working.stood = put.won;
    if (put.won) count_if_keeper(put.record.room, put.record.name, working.state);
  }
  for (Ask& ask : open) {
    for (Ask::Part& part : ask.parts) {
      if (part.done || !part.evaluated) continue;
      part.done = part.rests_on.empty() || round.records.at({ask.key.first, part.name.folded}).stood;
      if (part.done && part.changes) {
        ask.stood(part.outcome);
        part.tried.clear();
        ask.settled = true;
      }
    }
  }
}

bool Roster::Work::failed(const Failure& failure, const char* what) {
  unanswered_ = static_cast<bool>(failure);
  std::lock_guard lock(mutex_);
  if (!failure) {
    trouble_.clear();
    return false;
  }
  trouble_ = std::string(what) + ": " + failure.reason;
  if (log() != nullptr) log()->limited(LogLevel::warn, 1, "roster", "the database", {{"trouble", trouble_}});
  return true;
}

// --- the end ---

void Roster::Work::end() {
  run();
  stopped_ = true;
  speaks_until_us_ = 0;
  if (!lease_.stands()) return;
  std::vector<Put> puts = {lease_.give_back()};
  if (failed(link_->put(puts, ""), "the lease cannot be given back") || !puts.front().won) return;
  // If nothing names this node, nobody need look for what it left.
  std::vector<Record> left;
  const bool clean = asks_.empty() && internal_.empty() && members_.all().empty();
  if (clean && !link_->of_node(actor_.node, 1, left) && left.empty()) close_estate(actor_.node);
}

}  // namespace tertulia::cluster
