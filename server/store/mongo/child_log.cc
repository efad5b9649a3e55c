#include "store/mongo/child_log.h"

#include <algorithm>
#include <map>

#include "store/mongo/child_log_parts.h"

namespace tertulia::mongo {

namespace {

constexpr size_t kPlacesMax = 32;
constexpr size_t kPageRows = 512;
constexpr size_t kPageBytes = 1 << 20;

Failure failed(Trouble trouble, std::string reason) {
  return {trouble, std::move(reason)};
}

}  // namespace

// --- what is remembered ---

void ChildLog::Memory::grow(const Row& row) {
  places.push_back(row.position());
  if (places.size() > kPlacesMax) places.pop_front();
}

ChildLog::Memory* ChildLog::remembered(const std::string& room) {
  auto found = memories_.find(room);
  if (found == memories_.end()) return nullptr;
  used_.splice(used_.end(), used_, found->second.used);
  return &found->second;
}

ChildLog::Memory& ChildLog::remember(const std::string& room, std::deque<Position> places) {
  Memory* memory = remembered(room);
  if (memory == nullptr) {
    memory = &memories_[room];
    memory->used = used_.insert(used_.end(), room);
  }
  memory->places = std::move(places);
  return *memory;
}

void ChildLog::forget(const std::string& room) {
  auto found = memories_.find(room);
  if (found == memories_.end()) return;
  used_.erase(found->second.used);
  memories_.erase(found);
}

// Only between calls: within one they point to each other's memories.
void ChildLog::trim() {
  while (memories_.size() > limits_.rooms_max) forget(std::string(used_.front()));
}

// --- heads ---

Failure ChildLog::find_head(const std::string& room, Memory*& memory) {
  std::vector<Place> places;  // descending
  for (bool all = false;;) {
    // From the lowest number again: the limit may have cut between two rows that bear it.
    const Sequence last = places.empty() ? sequence_max : places.back().sequence;
    while (!places.empty() && places.back().sequence == last) places.pop_back();
    std::vector<Place> page;
    if (Failure failure = collection_.newest(room, last, limits_.places_at_once, page)) return failure;
    places.insert(places.end(), page.begin(), page.end());
    all = page.size() < limits_.places_at_once;
    std::deque<Position> stretch;
    if (all) {
      stretch.push_back({0, chain_start(room)});
    } else {
      // A number that one row alone bears is the log's own. Of the lowest one not all rows may be here.
      auto above = places.rbegin();
      while (above != places.rend() && above->sequence == places.back().sequence) ++above;
      if (above == places.rend()) return failed(Trouble::not_now, "mongodb: too many rows bear one number in a room");
      if (std::next(above) != places.rend() && std::next(above)->sequence == above->sequence) continue;
      stretch.push_back({above->sequence - 1, above->previous});
      stretch.push_back({above->sequence, above->chain});
    }
    std::map<Chain, const Place*> children;
    for (const Place& place : places) children[place.previous] = &place;
    size_t walked = 1;
    for (;; ++walked) {
      auto next = children.find(stretch.back().chain);
      if (next == children.end() || next->second->sequence != stretch.back().sequence + 1) break;
      stretch.push_back({next->second->sequence, next->second->chain});
      if (stretch.size() > kPlacesMax) stretch.pop_front();
    }
    // When most of what is here is not the log's, the beginning may not be so either.
    if (!all && walked * 2 < places.size()) continue;
    memory = &remember(room, std::move(stretch));
    return {};
  }
}

Failure ChildLog::regain(const std::string& room, Memory*& memory) {
  // A primary that was elected just now may show less than another one did before. Not any more, when it has got a
  // write onto a majority.
  if (Failure failure = collection_.mark()) return failure;
  Look look{&room, {key_of_head(memory->places)}, {}, {}};
  if (Failure failure = collection_.look({&look, 1})) return failure;
  if (row_at(look.rows, memory->head()) != nullptr) return {};
  // What is remembered stays until something else is known.
  return find_head(room, memory);
}

Failure ChildLog::follow(const std::string& room, const Position& from, Sequence last, size_t limit, size_t bytes_max,
                         bool& held, std::vector<Row>& rows, bool& end) {
  held = from.sequence == 0;
  end = false;
  Position at = from;
  size_t bytes = 0;
  while (rows.size() < limit && at.sequence < last) {
    std::vector<Row> page;
    const RowLimit page_limit{std::min(limit - rows.size() + 1, kPageRows),
                              std::min(bytes_max, kPageBytes) + (64 << 10)};
    if (Failure failure = collection_.range(room, at.sequence == 0 ? 1 : at.sequence, last, false, page_limit, page)) {
      return failure;
    }
    size_t page_bytes = 0;
    for (const Row& row : page) page_bytes += row.message.bytes();
    const bool cut = page.size() >= page_limit.rows || page_bytes > page_limit.bytes;
    if (!held) {
      if (row_at(page, at) == nullptr) {
        // Rows of the same number may have filled the page.
        if (!cut) return {};
        std::vector<Row> there;
        if (Failure failure = collection_.at(room, {at.sequence}, there)) return failure;
        if (row_at(there, at) == nullptr) return {};
      }
      held = true;
    }
    std::map<Chain, Row*> children;
    for (Row& row : page) children[row.previous] = &row;
    bool moved = false;
    const auto take = [&](Row& row) {
      bytes += row.message.bytes();
      if (rows.size() >= limit || (bytes > bytes_max && !rows.empty())) return false;
      at = row.position();
      rows.push_back(std::move(row));
      moved = true;
      return true;
    };
    for (;;) {
      auto next = children.find(at.chain);
      if (next == children.end() || next->second->before() != at) break;
      if (!take(*next->second)) return {};
    }
    if (!cut) {
      end = true;
      return {};
    }
    if (moved) continue;
    Look look{&room, {at.chain}, {}, {}};
    if (Failure failure = collection_.look({&look, 1})) return failure;
    const Row* child = child_of(look.rows, at);
    if (child == nullptr) {
      end = true;
      return {};
    }
    Row row = *child;
    if (!take(row)) return {};
  }
  if (!held) {
    std::vector<Row> there;
    if (Failure failure = collection_.at(room, {from.sequence}, there)) return failure;
    held = row_at(there, from) != nullptr;
  }
  end = at.sequence >= last;
  return {};
}

Failure ChildLog::head_of(const std::string& room, Memory*& memory) {
  memory = remembered(room);
  if (memory == nullptr) return find_head(room, memory);
  bool gone = false;
  if (Failure failure = extend(room, *memory, gone, [](const Row&) {})) return failure;
  if (!gone) return {};
  if (Failure failure = regain(room, memory)) return failure;
  return extend(room, *memory, gone, [](const Row&) {});
}

// A page of what continues the head.
Failure ChildLog::follow(const std::string& room, const Position& from, std::vector<Row>& rows, bool& held, bool& end) {
  return follow(room, from, sequence_max, kPageRows, kPageBytes, held, rows, end);
}

Failure ChildLog::heads(const std::vector<std::string>& rooms, std::vector<Position>& heads) {
  trim();
  heads.assign(rooms.size(), Position());
  for (size_t first = 0; first < rooms.size(); first += limits_.rooms_at_once) {
    const size_t last = std::min(first + limits_.rooms_at_once, rooms.size());
    std::vector<Look> looks;
    std::vector<size_t> of_looks;
    for (size_t i = first; i < last; ++i) {
      Memory* memory = remembered(rooms[i]);
      if (memory == nullptr) continue;
      Look& look = looks.emplace_back();
      look.room = &rooms[i];
      if (memory->head().sequence > 0) look.children_of.push_back(key_of_head(memory->places));
      look.children_of.push_back(memory->head().chain);
      of_looks.push_back(i);
    }
    if (!looks.empty()) {
      if (Failure failure = collection_.look(looks)) return failure;
    }
    std::vector<bool> known(last - first);
    for (size_t n = 0; n < looks.size(); ++n) {
      const Position& head = remembered(*looks[n].room)->head();
      if (head.sequence > 0 && row_at(looks[n].rows, head) == nullptr) continue;
      if (child_of(looks[n].rows, head) != nullptr) continue;
      known[of_looks[n] - first] = true;
      heads[of_looks[n]] = head;
    }
    for (size_t i = first; i < last; ++i) {
      if (known[i - first]) continue;
      Memory* memory = nullptr;
      if (Failure failure = head_of(rooms[i], memory)) return failure;
      heads[i] = memory->head();
    }
  }
  return {};
}

// --- what the log contains ---

Failure ChildLog::own_chains(const std::string& room, const Memory& memory, std::vector<Sequence> sequences,
                             std::unordered_map<Sequence, Chain>& chains) {
  std::erase_if(sequences, [&](Sequence sequence) {
    if (sequence == 0) {
      chains[0] = chain_start(room);
    } else if (sequence >= memory.places.front().sequence && sequence <= memory.head().sequence) {
      chains[sequence] = memory.places[sequence - memory.places.front().sequence].chain;
    } else {
      return sequence > memory.head().sequence;
    }
    return true;
  });
  if (sequences.empty()) return {};
  std::vector<Row> rows;
  if (Failure failure = collection_.at(room, sequences, rows)) return failure;
  // The log has a row of each number up to its head, so one that is alone is the log's.
  std::map<Sequence, size_t> bearers;
  for (const Row& row : rows) {
    if (++bearers[row.sequence] == 1) chains[row.sequence] = row.chain;
  }
  Sequence lowest = 0;
  for (const auto& [sequence, count] : bearers) {
    if (count == 1) continue;
    chains.erase(sequence);
    if (lowest == 0) lowest = sequence;
  }
  if (lowest == 0) return {};
  // Back from what is known to be the log's, row by row.
  Place at{memory.places.front().sequence + 1, memory.places.front().chain, {}};
  while (at.sequence > lowest) {
    std::vector<Place> places;
    if (Failure failure = collection_.newest(room, at.sequence - 1, limits_.places_at_once, places)) return failure;
    bool moved = false;
    for (const Place& place : places) {
      if (place.sequence + 1 != at.sequence || place.chain != at.previous) continue;
      at = place;
      moved = true;
      auto asked = bearers.find(at.sequence);
      if (asked != bearers.end() && asked->second > 1) chains[at.sequence] = at.chain;
    }
    if (!moved) return {};
  }
  return {};
}

Failure ChildLog::contains(const std::string& room, const Memory& memory, const Position& position, bool& yes) {
  std::unordered_map<Sequence, Chain> chains;
  if (Failure failure = own_chains(room, memory, {position.sequence}, chains)) return failure;
  auto found = chains.find(position.sequence);
  yes = found != chains.end() && found->second == position.chain;
  return {};
}

// --- reading ---

Failure ChildLog::read(const std::string& room, const Position& after, size_t limit, size_t bytes_max, Rows& rows) {
  trim();
  rows = Rows();
  Memory* memory = nullptr;
  if (Failure failure = head_of(room, memory)) return failure;
  bool held = false;
  if (Failure failure = contains(room, *memory, after, held)) return failure;
  if (held && after != memory->head()) {
    bool end = false;
    if (Failure failure = follow(room, after, sequence_max, limit, bytes_max, held, rows.rows, end)) return failure;
  }
  rows.head = memory->head();
  if (!held) {
    rows.rows.clear();
    rows.status = Rows::Status::does_not_fit;
    return {};
  }
  for (const Row& row : rows.rows) {
    if (row.sequence > rows.head.sequence) rows.head = row.position();
  }
  rows.status = Rows::Status::ok;
  return {};
}

Failure ChildLog::read_range(const std::string& room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max,
                             Rows& rows) {
  trim();
  rows = Rows();
  Memory* memory = nullptr;
  if (Failure failure = head_of(room, memory)) return failure;
  rows.head = memory->head();
  rows.status = Rows::Status::ok;
  // The row nearest to `sequence` on its outer side, or the beginning.
  const Sequence edge = backwards ? std::min(sequence == 0 ? 0 : sequence - 1, rows.head.sequence)
                                  : std::min(sequence, rows.head.sequence);
  if (edge == (backwards ? 0 : rows.head.sequence)) return {};
  std::unordered_map<Sequence, Chain> chains;
  if (Failure failure = own_chains(room, *memory, {edge}, chains)) return failure;
  if (!chains.contains(edge)) return failed(Trouble::not_now, "mongodb: a row is missing in the middle of a log");
  if (!backwards) {
    bool held = false, end = false;
    if (Failure failure =
            follow(room, {edge, chains[edge]}, rows.head.sequence, limit, bytes_max, held, rows.rows, end)) {
      return failure;
    }
    if (!held) return failed(Trouble::not_now, "mongodb: the log has changed while it was read");
    return {};
  }
  Position want{edge, chains[edge]};
  size_t bytes = 0;
  for (bool more = true; more && want.sequence > 0 && rows.rows.size() < limit;) {
    std::vector<Row> page;
    const RowLimit page_limit{std::min(limit - rows.rows.size(), kPageRows), std::min(bytes_max, kPageBytes)};
    if (Failure failure = collection_.range(room, 1, want.sequence, true, page_limit, page)) return failure;
    bool moved = false;
    for (Row& row : page) {
      if (row.position() != want) continue;
      bytes += row.message.bytes();
      if (bytes > bytes_max && !rows.rows.empty()) {
        more = false;
        break;
      }
      want = row.before();
      moved = true;
      rows.rows.push_back(std::move(row));
    }
    if (moved || !more) continue;
    // Rows of the same number may have filled the page.
    std::vector<Row> there;
    if (Failure failure = collection_.at(room, {want.sequence}, there)) return failure;
    const Row* row = row_at(there, want);
    if (row == nullptr) return failed(Trouble::not_now, "mongodb: a row is missing in the middle of a log");
    bytes += row->message.bytes();
    if (bytes > bytes_max && !rows.rows.empty()) break;
    want = row->before();
    rows.rows.push_back(*row);
  }
  std::reverse(rows.rows.begin(), rows.rows.end());
  return {};
}

Failure ChildLog::find(const std::string& room, const std::string& uuid, Rows& rows) {
  trim();
  rows = Rows();
  Memory* memory = nullptr;
  if (Failure failure = head_of(room, memory)) return failure;
  Look look{&room, {}, {uuid}, {}};
  if (Failure failure = collection_.look({&look, 1})) return failure;
  // A row that has come since is found as well.
  bool newer = false, gone = false;
  for (const Row& row : look.rows) newer |= row.sequence > memory->head().sequence;
  if (newer) {
    if (Failure failure = extend(room, *memory, gone, [](const Row&) {})) return failure;
  }
  for (Row& row : look.rows) {
    bool own = false;
    if (Failure failure = contains(room, *memory, row.position(), own)) return failure;
    if (own && rows.rows.empty()) rows.rows.push_back(std::move(row));
  }
  rows.head = memory->head();
  rows.status = Rows::Status::ok;
  return {};
}

}  // namespace tertulia::mongo
