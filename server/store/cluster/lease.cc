#include "store/cluster/lease.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "protocol/json_reader.h"

namespace tertulia::cluster {
namespace {

constexpr std::string_view estate_prefix = "estate of ";
constexpr size_t undecided_max = 64;  // if an older one lands all the same, the lease is taken for lost

// What a living lease says; 0: nothing.
struct Renewal {
  uint64_t number = 0;
  int64_t lease_ms = 0;
};

class RenewalReader final : public JsonVisitor {
 public:
  void on_value(uint32_t depth, std::string_view key, JsonKind kind, std::string_view text) override {
    if (depth != 1 || kind != JsonKind::number) return;
    if (key == "renewal") std::from_chars(text.data(), text.data() + text.size(), renewal.number);
    if (key == "leaseMs") std::from_chars(text.data(), text.data() + text.size(), renewal.lease_ms);
  }
  Renewal renewal;
};

Renewal renewal_of(const Record& lease) {
  RenewalReader reader;
  return read_json(lease.state, reader) ? Renewal() : reader.renewal;
}

std::string ended_state(std::string_view how, std::string_view by) {
  std::string state = "{\"ended\":";
  append_json_string(state, how);
  state += ",\"by\":";
  append_json_string(state, by);
  state += '}';
  return state;
}

}  // namespace

LeaseTimes::LeaseTimes(int64_t lease_ms, int64_t renew_ms)
    : lease_us(lease_ms * 1000),
      renew_us(renew_ms * 1000),
      margin_us(lease_us / 20),
      gap_us(lease_us / 3),
      look_us(lease_us / 12),
      retry_us(lease_us / 24) {
  CHECK(renew_ms > 0 && renew_ms * 2 <= lease_ms, "a lease is renewed at least twice while it holds");
}

// --- one's own ---

OwnLease::Step OwnLease::step(int64_t now_us) const {
  if (lost_) return Step::none;
  if (in_doubt_) return now_us < retry_at_us_ ? Step::none : Step::look;
  if (now_us < retry_at_us_) return Step::none;
  return held_from_us_ < 0 || now_us >= held_from_us_ + times_.renew_us ? Step::renew : Step::none;
}

Put OwnLease::attempt(int64_t now_us) {
  // Another number each time, so that the record itself says which attempt stands, and from when it counts.
  undecided_[++number_] = now_us;
  if (undecided_.size() > undecided_max) undecided_.erase(undecided_.begin());
  Put put;
  put.record.name = node_;
  put.record.version = version_;
  put.record.live = true;
  put.record.nodes = {node_};
  put.record.state =
      "{\"renewal\":" + std::to_string(number_) + ",\"leaseMs\":" + std::to_string(times_.lease_us / 1000) + "}";
  return put;
}

void OwnLease::attempted(const Put& put, const Failure& failure, int64_t now_us) {
  if (lost_) return;
  switch (failure.trouble) {
    case Trouble::none:
      if (put.won) {
        won(put.record.version + 1, number_);
      } else {
        in_doubt_ = true;
      }
      return;
    case Trouble::unknown: in_doubt_ = true; return;
    case Trouble::fenced: in_doubt_ = true; return;
    case Trouble::not_now:
    case Trouble::message:
      undecided_.erase(number_);
      retry_at_us_ = now_us + times_.retry_us;
      return;
  }
}

void OwnLease::looked(const Record& stands) {
  if (lost_) return;
  in_doubt_ = false;
  retry_at_us_ = 0;
  if (stands.version == version_) {
    // Nothing has landed, or not yet; the next attempt is made from the same version, so only one of them can.
    if (version_ > 0 && !stands.live) lost_ = true;
    return;
  }
  const uint64_t number = renewal_of(stands).number;
  if (stands.version > version_ && stands.live && undecided_.contains(number)) {
    won(stands.version, number);
    return;
  }
  // Declared dead; or the store went back, and what it says of our names is no longer what we know.
  lost_ = true;
}

void OwnLease::won(uint64_t version, uint64_t number) {
  version_ = version;
  held_from_us_ = std::max(held_from_us_, undecided_.at(number));
  undecided_.clear();  // the others were made from an older version and cannot land any more
  retry_at_us_ = 0;
}

Put OwnLease::give_back() const {
  Put put;
  put.record.name = node_;
  put.record.version = version_;
  put.record.nodes = {node_};
  put.record.state = ended_state("given back", node_);
  return put;
}

// --- the others' ---

std::vector<std::string> Peers::missing(const std::vector<Record>& listed) const {
  std::vector<std::string> names;
  for (const auto& peer : peers_) {
    const std::string& node = peer.first;
    if (std::none_of(listed.begin(), listed.end(), [&](const Record& each) { return each.name == node; })) {
      names.push_back(node);
    }
  }
  return names;
}

void Peers::looked(const std::vector<Record>& leases, const std::string& own_node, int64_t began_us, int64_t ended_us,
                   uint64_t connects) {
  // A look that took long is a gap too: what it showed may be as old as it took.
  const bool gap = gap_ || connects != connects_ || ended_us - looked_us_ > times_.gap_us;
  gap_ = false;
  connects_ = connects;
  looked_us_ = ended_us;
  gone_.clear();
  for (const Record& lease : leases) {
    if (lease.name == own_node) continue;
    if (lease.version > 0 && !lease.live) {
      if (peers_.erase(lease.name) > 0) gone_.push_back(lease.name);
      continue;
    }
    auto [found, fresh] = peers_.try_emplace(lease.name);
    Peer& peer = found->second;
    if (fresh || gap || peer.lease.version != lease.version) {
      peer.lease = lease;
      peer.since_us = ended_us;
    }
    const int64_t its_own_us = renewal_of(lease).lease_ms * 1000;
    const int64_t lease_us = its_own_us > 0 ? its_own_us : times_.lease_us;
    // It was renewed at the latest when it was first seen so; what is read now is not older than the look's beginning.
    peer.overdue = began_us - peer.since_us >= lease_us;
  }
}

void Peers::found(const Record& lease, int64_t now_us) {
  auto [found, fresh] = peers_.try_emplace(lease.name);
  if (fresh) found->second = {lease, now_us, false};
}

std::vector<Put> Peers::overdue(const std::string& own_node) const {
  std::vector<Put> puts;
  for (const auto& [node, peer] : peers_) {
    if (!peer.overdue) continue;
    Put put;
    put.record = peer.lease;
    put.record.room.clear();
    put.record.name = node;
    put.record.live = false;
    put.record.state = ended_state("declared dead", own_node);
    puts.push_back(std::move(put));
  }
  return puts;
}

std::vector<std::string> Peers::alive() const {
  std::vector<std::string> nodes;
  for (const auto& [node, peer] : peers_) {
    if (peer.lease.version > 0) nodes.push_back(node);
  }
  return nodes;
}

// --- estates ---

std::string estate_name(const std::string& node) {
  return std::string(estate_prefix) + node;
}

std::string estate_node(std::string_view record_name) {
  if (!record_name.starts_with(estate_prefix)) return "";
  return std::string(record_name.substr(estate_prefix.size()));
}

Put estate_put(const std::string& node, const Record& stands, bool live) {
  Put put;
  put.record = stands;
  put.record.room.clear();
  put.record.name = estate_name(node);
  put.record.live = live;
  put.record.state = live ? "{\"estate\":\"open\"}" : "{\"estate\":\"settled\"}";
  return put;
}

}  // namespace tertulia::cluster
