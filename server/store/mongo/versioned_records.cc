#include "store/mongo/versioned_records.h"

#include <algorithm>
#include <map>

namespace tertulia::mongo {

using cluster::Put;

namespace {

constexpr size_t kKeysAtOnce = 500;

Failure fenced(const std::string& node) {
  return {Trouble::fenced, "the lease of node " + node + " is gone"};
}

}  // namespace

Failure VersionedRecords::newest(const std::vector<Key>& keys, std::vector<Record>& records) {
  records.assign(keys.size(), Record());
  std::map<Key, std::vector<size_t>> places;
  for (size_t i = 0; i < keys.size(); ++i) {
    records[i].room = keys[i].first;
    records[i].name = keys[i].second;
    places[keys[i]].push_back(i);
  }
  for (size_t first = 0; first < keys.size(); first += kKeysAtOnce) {
    const std::vector<Key> some(keys.begin() + static_cast<std::ptrdiff_t>(first),
                                keys.begin() + static_cast<std::ptrdiff_t>(std::min(first + kKeysAtOnce, keys.size())));
    std::vector<Record> found;
    if (Failure failure = collection_.versions(some, found)) return failure;
    for (Record& record : found) {
      for (size_t place : places[{record.room, record.name}]) {
        if (record.version > records[place].version) records[place] = record;
      }
    }
  }
  return {};
}

Failure VersionedRecords::load(const std::vector<Key>& keys, std::vector<Record>& records) {
  return newest(keys, records);
}

Failure VersionedRecords::judge(const std::string& node) {
  if (node.empty()) return {};
  std::vector<Record> lease;
  if (Failure failure = newest({{"", node}}, lease)) return failure;
  return lease[0].live ? Failure() : fenced(node);
}

Failure VersionedRecords::put(std::vector<Put>& puts, const std::string& node) {
  std::vector<Key> keys;
  for (Put& put : puts) {
    put.won = false;
    keys.emplace_back(put.record.room, put.record.name);
  }
  if (!node.empty()) keys.emplace_back("", node);
  std::vector<Record> now;
  if (Failure failure = newest(keys, now)) return failure;
  if (!node.empty() && !now.back().live) return fenced(node);
  // What was made from another version than the newest has lost already.
  std::vector<Record> next;
  std::vector<size_t> of_next;
  for (size_t i = 0; i < puts.size(); ++i) {
    if (now[i].version != puts[i].record.version) continue;
    next.push_back(puts[i].record);
    ++next.back().version;
    of_next.push_back(i);
  }
  if (next.empty()) return {};
  std::vector<bool> duplicate;
  if (Failure failure = collection_.insert_records(next, duplicate)) return failure;
  // The lease is read with them: at that moment it was alive, so nobody had begun to take what is its node's.
  if (Failure failure = newest(keys, now)) return {Trouble::unknown, failure.reason};
  if (!node.empty() && !now.back().live) return fenced(node);
  std::vector<Record> won;
  for (size_t n = 0; n < next.size(); ++n) {
    Put& put = puts[of_next[n]];
    put.won = !duplicate[n] && now[of_next[n]].version == next[n].version;
#ifdef TERTULIA_FAILPOINTS
    put.won |= (unsafe.no_read_after_insert && !duplicate[n]) || (unsafe.ack_on_duplicate && duplicate[n]);
#endif
    if (put.won) won.push_back(next[n]);
  }
  if (!won.empty()) collection_.tidy(won);
  return {};
}

Failure VersionedRecords::list(const std::string& room, const std::string& after, size_t limit,
                               std::vector<Record>& records) {
  records.clear();
  std::string behind = after;
  while (records.size() < limit) {
    const size_t want = std::min(limit - records.size(), kKeysAtOnce);
    std::vector<Key> keys;
    if (Failure failure = collection_.candidates(Collection::Which::live_in_room, room, behind, want, keys)) {
      return failure;
    }
    std::vector<Record> found;
    if (Failure failure = newest(keys, found)) return failure;
    for (Record& record : found) {
      if (record.live) records.push_back(std::move(record));
    }
    if (keys.size() < want) break;
    behind = keys.back().second;
  }
  return {};
}

Failure VersionedRecords::count(const std::string& room, uint64_t& live) {
  std::vector<Key> keys;
  if (Failure failure = collection_.candidates(Collection::Which::live_in_room, room, "", SIZE_MAX, keys)) {
    return failure;
  }
  std::vector<Record> found;
  if (Failure failure = newest(keys, found)) return failure;
  live = static_cast<uint64_t>(std::count_if(found.begin(), found.end(), [](const Record& r) { return r.live; }));
  return {};
}

Failure VersionedRecords::of_user(const std::string& room, const std::string& user, std::vector<Record>& records) {
  std::vector<Key> keys;
  if (Failure failure = collection_.candidates(Collection::Which::of_user, room, user, SIZE_MAX, keys)) return failure;
  if (Failure failure = newest(keys, records)) return failure;
  std::erase_if(records, [&](const Record& record) { return record.user != user || record.version == 0; });
  return {};
}

Failure VersionedRecords::of_node(const std::string& node, size_t limit, std::vector<Record>& records) {
  records.clear();
  std::vector<Key> keys;
  // All of them: those that are no longer so would otherwise fill the answer and hide the others.
  if (Failure failure = collection_.candidates(Collection::Which::live_of_node, node, "", SIZE_MAX, keys)) {
    return failure;
  }
  for (size_t first = 0; first < keys.size() && records.size() < limit; first += kKeysAtOnce) {
    const std::vector<Key> some(keys.begin() + static_cast<std::ptrdiff_t>(first),
                                keys.begin() + static_cast<std::ptrdiff_t>(std::min(first + kKeysAtOnce, keys.size())));
    std::vector<Record> found;
    if (Failure failure = newest(some, found)) return failure;
    for (Record& record : found) {
      const bool depends = std::find(record.nodes.begin(), record.nodes.end(), node) != record.nodes.end();
      if (record.live && depends && records.size() < limit) records.push_back(std::move(record));
    }
  }
  return {};
}

}  // namespace tertulia::mongo
