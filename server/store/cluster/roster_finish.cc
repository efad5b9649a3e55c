// Answers: what was decided and stands is remembered here and told.
#include <algorithm>

#include "store/answer.h"
#include "store/cluster/roster_work.h"

namespace tertulia::cluster {
namespace {

// How long a name waits is known to its keeper alone; the others let people ask again soon.
constexpr int64_t ask_again_ms = 1'000;
constexpr size_t forgets_max = 64;
constexpr size_t reads_max = 64;  // in a row
// A database that does not answer is not asked again for everybody who waits: each attempt may take seconds.
constexpr int read_failures_max = 2;

}  // namespace

// Is he there by no other name? Whoever has claimed one of these again since they ended was told that he has joined, so
// they do not count. False: the database could not be asked.
bool Roster::Work::is_gone(const Ask& ask, bool& gone) {
  std::vector<Record> others;
  if (!others_of(ask.key, "", others)) return false;
  gone = std::all_of(others.begin(), others.end(), [&](const Record& record) {
    return std::any_of(ask.parts.begin(), ask.parts.end(),
                       [&](const Ask::Part& part) { return part.name.folded == record.name; });
  });
  return true;
}

// False: it stays open.
bool Roster::Work::finish(Ask& ask, Round& round) {
  switch (ask.kind) {
    case Ask::Kind::claim: return finish_claim(ask, round);
    case Ask::Kind::leave: return finish_leave(ask, round);
    case Ask::Kind::expire: return finish_expire(ask, round);
    case Ask::Kind::reclaim: return finish_reclaim(ask, round);
    case Ask::Kind::inherit: {
      auto found = dead_.find(ask.dead);
      // The last of a page: the next page, at once.
      if (found != dead_.end() && --found->second.pending == 0) found->second.next_look_us = clock_.now_us();
      return true;
    }
    case Ask::Kind::forget: return true;
  }
  return true;
}

// False: the database could not be asked whether they are there by another name.
bool Roster::Work::tell_robbed(Ask& ask, Round& round) {
  for (; !ask.robbed.empty(); ask.robbed.pop_back()) {
    const auto& [user, shown] = ask.robbed.back();
    std::vector<Record> others;
    if (!others_of({ask.key.first, user}, ask.name.folded, others)) return false;
    if (!others.empty()) continue;
    tell([room = ask.key.first, user = user, shown = shown, left = count(ask.key.first, round)](StoreWatcher& watcher) {
      watcher.departed(room, user, shown, left);
    });
  }
  return true;
}

bool Roster::Work::finish_claim(Ask& ask, Round& round) {
  auto decide_again = [&] {
    for (Ask::Part& part : ask.parts) part.done = false;
    return false;
  };
  if (!tell_robbed(ask, round)) return decide_again();
  ClaimResult result;
  const std::string& room = ask.key.first;
  const Outcome outcome = ask.parts.empty() ? Outcome{.granted = true} : ask.parts.front().outcome;
  if (!outcome.granted) {
    result.status = outcome.too_many  ? ClaimResult::Status::too_many
                    : outcome.waiting ? ClaimResult::Status::waiting
                                      : ClaimResult::Status::taken;
    if (outcome.waiting) {
      const Grace* grace = members_.grace({room, outcome.holder}, ask.name.folded);
      const int64_t rest_us = grace == nullptr ? 0 : grace->due_us - clock_.now_us();
      result.retry_after_ms = rest_us > 0 ? (rest_us + 999) / 1000
                                          : std::max<int64_t>(1, std::min(ask_again_ms, options_.claims.name_grace_ms));
    }
    answer(*ask.executor, std::move(ask.claimed), result);
    return true;
  }
  result.members_count = std::max<uint64_t>(1, count(room, round));
  // It stands in the store; but it counts only if this node was alive all the time, judged after all else. If it was
  // not, the ask is decided again when the lease holds, and `began` is remembered.
  if (!may_work() || reclaiming_) return decide_again();
  members_.came(ask.key, ask.name);
  result.status = ClaimResult::Status::granted;
  result.first = ask.began;
  answer(*ask.executor, std::move(ask.claimed), result);
  return true;
}

bool Roster::Work::finish_leave(Ask& ask, Round& round) {
  ReleaseResult result;
  bool ended = false;
  for (const Ask::Part& part : ask.parts) {
    result.last = result.last || part.outcome.last;
    ended = ended || part.outcome.ended;
  }
  if (ended) {
    if (!is_gone(ask, result.left)) return false;
  }
  const int64_t now_us = clock_.now_us();
  for (const Ask::Part& part : ask.parts) {
    if (part.outcome.ended) {
      members_.ended(ask.key, part.name, now_us);
    } else if (part.outcome.last) {
      members_.count_grace(ask.key, part.name, ask.executor == nullptr, now_us);
    }
  }
  if (ask.parts.empty()) {
    const LocalMember* member = members_.find(ask.key);
    if (member != nullptr && member->sessions_count > 1) members_.one_left(ask.key);
  }
  result.members_count = count(ask.key.first, round);
  if (ask.executor != nullptr) answer(*ask.executor, std::move(ask.released), result);
  return true;
}

bool Roster::Work::finish_expire(Ask& ask, Round& round) {
  ReleaseResult result;
  bool ended = false;
  for (const Ask::Part& part : ask.parts) ended = ended || part.outcome.ended;
  if (ended) {
    if (!is_gone(ask, result.left)) return false;
  }
  for (const Ask::Part& part : ask.parts) {
    if (part.outcome.ended) members_.ended(ask.key, part.name, clock_.now_us());
    members_.end_grace(ask.key, part.name.folded);
  }
  const LocalMember* member = members_.find(ask.key);
  result.last = member == nullptr || member->sessions_count == 0;
  result.members_count = count(ask.key.first, round);
  if (ask.executor != nullptr) {
    answer(*ask.executor, std::move(ask.released), result);
  } else if (result.left) {
    tell([key = ask.key, shown = ask.name.shown, left = result.members_count](StoreWatcher& watcher) {
      watcher.departed(key.first, key.second, shown, left);
    });
  }
  return true;
}

bool Roster::Work::finish_reclaim(Ask& ask, Round& round) {
  if (!tell_robbed(ask, round)) return false;
  if (ask.parts.front().outcome.granted) {
    if (ask.began) {
      tell([key = ask.key, shown = ask.name.shown, here = count(ask.key.first, round)](StoreWatcher& watcher) {
        watcher.arrived(key.first, key.second, shown, here);
      });
    }
    return true;
  }
  members_.name_lost(ask.key, ask.name.folded);
  told_names_lost_ = true;
  tell([key = ask.key, folded = ask.name.folded](StoreWatcher& watcher) {
    watcher.name_lost(key.first, folded, key.second);
  });
  return true;
}

// His other live claims in the room. False: the database could not be asked.
bool Roster::Work::others_of(const LocalMembers::Key& key, const std::string& but, std::vector<Record>& others) {
  if (failed(link_->of_user(key.first, key.second, others), "a user's claims cannot be read")) return false;
  size_t forgets = 0;
  std::erase_if(others, [&](const Record& record) {
    if (record.live) return record.name == but;
    // His keeper was to make it forgotten, and is dead.
    const std::optional<ClaimState> state = claim_of(record);
    if (state && state->keeper != actor_.node && !peers_.alive(state->keeper) && !dead_.contains(state->keeper) &&
        record.name != but && forgets++ < forgets_max) {
      Ask ask;
      ask.kind = Ask::Kind::forget;
      ask.key = key;
      ask.name = {record.name, state->shown};
      internal_.push_back(std::move(ask));
    }
    return true;
  });
  return true;
}

// After what this round has put. 0: the database could not be asked.
uint64_t Roster::Work::count(const std::string& room, Round& round) {
  auto [found, fresh] = round.counts.try_emplace(room);
  if (fresh && failed(link_->count(room, found->second), "members cannot be counted")) found->second = 0;
  return found->second;
}

// --- reads ---

bool Roster::Work::read_some() {
  int failures = 0;
  for (size_t done = 0; done < reads_max; ++done) {
    ReadAsk ask;
    {
      std::lock_guard lock(mutex_);
      if (reads_.empty()) return false;
      ask = std::move(reads_.front());
      reads_.pop_front();
    }
    if (failures >= read_failures_max) {
      refuse(std::move(ask));
      continue;
    }
    keep_alive();  // each may take long
    unanswered_ = false;
    read(std::move(ask));
    failures = unanswered_ ? failures + 1 : 0;
  }
  std::lock_guard lock(mutex_);
  return !reads_.empty();
}

void Roster::Work::refuse(ReadAsk ask) {
  switch (ask.kind) {
    case ReadAsk::Kind::name: answer(*ask.executor, std::move(ask.named), std::optional<std::string>()); return;
    case ReadAsk::Kind::list: answer(*ask.executor, std::move(ask.listed), MemberList()); return;
    case ReadAsk::Kind::count: answer(*ask.executor, std::move(ask.counted), uint64_t{0}); return;
  }
}

void Roster::Work::read(ReadAsk ask) {
  switch (ask.kind) {
    case ReadAsk::Kind::name: answer(*ask.executor, std::move(ask.named), name_of({ask.room, ask.user})); return;
    case ReadAsk::Kind::list:
      answer(*ask.executor, std::move(ask.listed), list(ask.room, ask.after, ask.limit));
      return;
    case ReadAsk::Kind::count: {
      Round round;
      answer(*ask.executor, std::move(ask.counted), count(ask.room, round));
      return;
    }
  }
}

// A former member is known by what his claim's keeper remembers: itself here, a living peer by its record, a dead one
// for so long after its death.
std::optional<std::string> Roster::Work::name_of(const LocalMembers::Key& key) {
  const LocalMember* member = members_.find(key);
  if (member != nullptr && member->sessions_count > 0 && !member->names.empty()) return member->names.front().shown;
  std::vector<Record> records;
  if (failed(link_->of_user(key.first, key.second, records), "a user's claims cannot be read")) return std::nullopt;
  const int64_t now_us = clock_.now_us();
  std::optional<std::string> former = members_.former_name(key, now_us);
  for (const Record& record : records) {
    const std::optional<ClaimState> state = claim_of(record);
    if (!state) continue;
    if (state->live()) return state->shown;
    if (state->kind != ClaimState::Kind::ended || former) continue;
    auto dead = dead_.find(state->keeper);
    if (dead != dead_.end() ? now_us - dead->second.seen_us < options_.claims.former_member_ms * 1000
                            : peers_.alive(state->keeper)) {
      former = state->shown;
    }
  }
  return former;
}

MemberList Roster::Work::list(const std::string& room, const std::string& after, size_t limit) {
  MemberList list;
  std::vector<Record> records;
  if (failed(link_->list(room, after, limit + 1, records), "members cannot be listed") ||
      failed(link_->count(room, list.total), "members cannot be counted")) {
    return list;
  }
  if (records.size() > limit) {
    records.resize(limit);
    list.next = records.back().name;
  }
  std::vector<std::string> users;
  std::set<std::string> listed;
  for (const Record& record : records) {
    const std::optional<ClaimState> state = claim_of(record);
    if (!state) continue;
    for (const std::string& node : record.nodes) suspects_.insert(node);
    if (!listed.insert(record.user).second) continue;  // by another name already
    list.members.push_back({record.user, state->shown, 0});
    users.push_back(record.user);
  }
  std::vector<Sequence> markers;
  if (!users.empty() && failed(link_->read_markers(room, users, markers), "read markers cannot be read")) return list;
  for (size_t i = 0; i < list.members.size() && i < markers.size(); ++i) list.members[i].read = markers[i];
  list.ok = true;
  return list;
}

}  // namespace tertulia::cluster
