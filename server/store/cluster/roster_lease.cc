// The node's life: its lease, its peers', what the dead left.
#include "base/log.h"
#include "store/cluster/roster_work.h"

namespace tertulia::cluster {
namespace {

constexpr size_t leases_page = 512;
constexpr size_t inherit_page = 256;
constexpr int64_t inherit_again_us = 500'000;

}  // namespace

void Roster::Work::tend() {
  keep_alive();
  if (lease_.lost()) {
    new_identity();
    keep_alive();
  }
  if (lease_.stands() && !estate_open_) open_estate();
  if (reclaiming_) reclaimed();
  if (may_work() && !reclaiming_) {
    const int64_t now_us = clock_.now_us();
    for (auto& [key, name] : members_.take_due(now_us)) {
      Ask ask;
      ask.kind = Ask::Kind::expire;
      ask.key = key;
      ask.name = name;
      internal_.push_back(std::move(ask));
    }
    for (auto& [key, name] : members_.take_formers(now_us)) {
      Ask ask;
      ask.kind = Ask::Kind::forget;
      ask.key = key;
      ask.name = name;
      internal_.push_back(std::move(ask));
    }
    inherit();
  }
  publish();
}

void Roster::Work::keep_alive() {
  bool changed = false;
  for (int steps = 0; steps < 4; ++steps) {
    // The clock is read before the put begins: the lease counts from there.
    const OwnLease::Step step = lease_.step(clock_.now_us());
    if (step == OwnLease::Step::none) break;
    changed = true;
    if (step == OwnLease::Step::renew) {
      std::vector<Put> puts = {lease_.attempt(clock_.now_us())};
      const Failure failure = link_->put(puts, "");
      failed(failure, "the lease cannot be renewed");
      lease_.attempted(puts.front(), failure, clock_.now_us());
    } else {
      std::vector<Record> records;
      if (failed(link_->load({{"", lease_.node()}}, records), "the lease cannot be read") || !prove_reads()) {
        lease_.look_failed(clock_.now_us());
      } else {
        lease_.looked(records.front());
      }
    }
  }
  if (clock_.now_us() >= next_look_us_) {
    look();
    changed = true;
  }
  if (changed) publish();
}

void Roster::Work::look() {
  const int64_t began_us = clock_.now_us();
  next_look_us_ = began_us + times_.look_us;
  std::vector<Record> leases, estates;
  std::string after;
  for (bool more = true; more;) {
    std::vector<Record> page;
    if (failed(link_->list("", after, leases_page, page), "the leases cannot be read")) {
      peers_.look_failed();
      return;
    }
    more = page.size() == leases_page;
    if (more) after = page.back().name;
    for (Record& record : page) {
      (estate_node(record.name).empty() ? leases : estates).push_back(std::move(record));
    }
  }
  std::vector<std::pair<std::string, std::string>> keys;
  for (const std::string& node : peers_.missing(leases)) keys.emplace_back("", node);
  if (!keys.empty()) {
    std::vector<Record> missing;
    if (failed(link_->load(keys, missing), "the leases cannot be read")) {
      peers_.look_failed();
      return;
    }
    for (size_t i = 0; i < missing.size(); ++i) {
      missing[i].name = keys[i].second;
      leases.push_back(std::move(missing[i]));
    }
  }
  peers_.looked(leases, actor_.node, began_us, clock_.now_us(), link_->connects());
  // Who declared it dead takes over at once; the others help if that one dies too.
  for (const std::string& node : peers_.gone()) bury(node, false);
  for (const Record& estate : estates) suspects_.insert(estate_node(estate.name));
  for (const std::string& node : std::exchange(suspects_, {})) {
    if (!find_node(node)) {
      suspects_.insert(node);
      break;
    }
  }
  declare_overdue();
}

// A node that something names: alive, dead, or looked at now.
bool Roster::Work::find_node(const std::string& node) {
  if (node == actor_.node || actor_.formerly.contains(node) || dead_.contains(node) || peers_.alive(node)) return true;
  std::vector<Record> records;
  if (failed(link_->load({{"", node}}, records), "a lease cannot be read")) return false;
  Record& lease = records.front();
  lease.name = node;
  if (lease.version > 0 && !lease.live) {
    bury(node, true);
  } else {
    // A missing lease is no death: it is counted like one that does not change.
    peers_.found(lease, clock_.now_us());
  }
  return true;
}

void Roster::Work::declare_overdue() {
  if (!may_work()) return;
  std::vector<Put> puts = peers_.overdue(actor_.node);
  if (puts.empty()) return;
  if (failed(link_->put(puts, actor_.node), "a peer cannot be declared dead")) return;  // the next look tells
  for (const Put& put : puts) {
    if (!put.won) continue;
    peers_.forget(put.record.name);
    bury(put.record.name, true);
    if (log() != nullptr) {
      log()->warn("roster", "a node was declared dead: its lease was not renewed", {{"node", put.record.name}});
    }
  }
}

void Roster::Work::bury(const std::string& node, bool soon) {
  const int64_t now_us = clock_.now_us();
  auto [found, fresh] = dead_.try_emplace(node);
  Dead& dead = found->second;
  if (fresh) {
    dead.seen_us = dead.found_us = now_us;
    dead.interval_us = inherit_again_us;
    dead.next_look_us = now_us + (soon ? 0 : times_.renew_us);
  } else if (soon) {
    dead.next_look_us = now_us;
  }
}

// What names the dead is looked for until nothing was found for a while: a write of the dead may have been on its way.
void Roster::Work::inherit() {
  for (auto each = dead_.begin(); each != dead_.end();) {
    const std::string node = each->first;
    Dead& dead = each->second;
    ++each;  // close_estate() may take it away
    const int64_t now_us = clock_.now_us();
    if (dead.pending > 0 || now_us < dead.next_look_us) continue;
    std::vector<Record> records;
    if (!dead.proven) {
      // What told of its death may have been the past of a primary that is none any more: nothing is taken from whoever
      // lives in the present one.
      if (failed(link_->load({{"", node}}, records), "a lease cannot be read") || !prove_reads()) return;
      if (records.front().live) {
        dead_.erase(node);
        continue;
      }
      dead.proven = true;
      records.clear();
    }
    if (failed(link_->of_node(node, inherit_page, records), "what a dead node left cannot be read")) return;
    dead.next_look_us = now_us + dead.interval_us;
    if (records.empty()) {
      dead.interval_us *= 2;
      if (now_us - dead.found_us >= settle_us_) close_estate(node);
      continue;
    }
    dead.found_us = now_us;
    dead.interval_us = inherit_again_us;
    for (const Record& record : records) {
      if (record.room.empty()) continue;
      ++dead.pending;
      Ask ask;
      ask.kind = Ask::Kind::inherit;
      ask.key = {record.room, record.user};
      ask.name = {record.name, ""};
      ask.dead = node;
      internal_.push_back(std::move(ask));
    }
  }
}

// Before anything else names this node, so that whoever comes later knows that it was here.
void Roster::Work::open_estate() {
  std::vector<Record> records;
  if (failed(link_->load({{"", estate_name(actor_.node)}}, records), "the estate cannot be read")) return;
  if (!records.front().live) {
    std::vector<Put> puts = {estate_put(actor_.node, records.front(), true)};
    if (failed(link_->put(puts, actor_.node), "the estate cannot be written") || !puts.front().won) return;
  }
  estate_open_ = true;
}

void Roster::Work::close_estate(const std::string& node) {
  std::vector<Record> records;
  if (failed(link_->load({{"", estate_name(node)}}, records), "an estate cannot be read")) return;
  if (records.front().live) {
    std::vector<Put> puts = {estate_put(node, records.front(), false)};
    if (failed(link_->put(puts, stopped_ ? "" : actor_.node), "an estate cannot be settled")) return;
  }
  dead_.erase(node);
}

void Roster::Work::new_identity() {
  if (log() != nullptr) {
    log()->warn("roster", "the lease was lost: names are claimed again under another node's name",
                {{"node", actor_.node}, {"members", members_.all().size()}});
  }
  const std::string before = actor_.node;
  actor_.formerly.insert(before);
  actor_.node = random_text();
  ++epoch_;
  lease_ = OwnLease(times_, actor_.node);
  estate_open_ = false;
  members_.drop_graces();  // whoever inherits counts them
  reclaims_.clear();
  told_names_lost_ = false;
  reclaiming_ = true;
  for (const auto& [key, member] : members_.all()) {
    for (const HeldName& name : member.names) {
      Ask ask;
      ask.kind = Ask::Kind::reclaim;
      ask.key = key;
      ask.name = name;
      reclaims_.push_back(std::move(ask));
    }
  }
  bury(before, true);
}

// Ends the time in which names are claimed again, when the watcher has heard which were lost.
void Roster::Work::reclaimed() {
  if (!may_work() || !reclaims_.empty()) return;
  if (told_names_lost_ && names_told_->load() != epoch_) return;
  reclaiming_ = false;
}

void Roster::Work::publish() {
  speaks_until_us_ = estate_open_ && !reclaiming_ ? lease_.holds_until_us() : 0;
  std::vector<std::string> alive = peers_.alive();
  std::lock_guard lock(mutex_);
  node_ = actor_.node;
  alive_ = std::move(alive);
}

}  // namespace tertulia::cluster
