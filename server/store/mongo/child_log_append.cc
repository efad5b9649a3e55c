// Appending: look up, insert, read back; for many rooms in each step.
#include <algorithm>
#include <map>
#include <unordered_map>

#include "store/mongo/child_log.h"
#include "store/mongo/child_log_parts.h"

namespace tertulia::mongo {

using cluster::Placed;
using cluster::RoomBatch;

namespace {

constexpr int64_t kPauseUs = 4'000;
constexpr unsigned kReadsLostMax = 2;

}  // namespace

// One room's part of an append, on its way.
struct ChildLog::Work {
  explicit Work(RoomBatch& b) : batch(&b), room(b.room) {
    b.fits = true;
    b.placed.assign(b.messages.size(), Placed());
    for (size_t i = 0; i < b.messages.size(); ++i) open.emplace(b.messages[i]->uuid, i);
  }
  RoomBatch* batch;
  const std::string& room;
  Memory* memory = nullptr;
  std::unordered_map<std::string, size_t> open;  // messages without a place, by uuid
  bool looked_up = false;                        // none of the open ones is in the log up to the head
  bool judged = false;                           // `known` is in the log
  std::vector<NewRow> rows;                      // of this round: child of the head, grandchild …
  std::map<Chain, bool> tried;                   // rows that were made, by chain: true if sent and not rejected
#ifdef TERTULIA_FAILPOINTS
  std::optional<Position> renumbered;
#endif

  bool done() const {
    return looked_up && (open.empty() || !batch->fits);
  }
  // The log has this row.
  void place(const Row& row) {
    auto found = open.find(row.message.uuid);
    if (found == open.end()) return;
    Placed& placed = batch->placed[found->second];
    // Two may make the very same row, of one message that came to both; whose was taken has added it.
    auto made = tried.find(row.chain);
    placed.added = made != tried.end() && made->second;
    if (placed.added) {
      placed.row.sequence = row.sequence;
      placed.row.previous = row.previous;
      placed.row.chain = row.chain;
    } else {
      placed.row = row;
    }
    open.erase(found);
  }
};

Failure ChildLog::append(const std::vector<RoomBatch*>& rooms) {
  trim();
  bool written = false;  // something may stand
  for (size_t first = 0; first < rooms.size(); first += limits_.rooms_at_once) {
    std::vector<Work> works;
    for (size_t i = first; i < std::min(first + limits_.rooms_at_once, rooms.size()); ++i)
      works.emplace_back(*rooms[i]);
    Failure failure = append_some(works, written);
    if (!failure) continue;
    // Not_now and `message` say that nothing was done, and whoever asks again would take what was done for another's.
    if (written) failure.trouble = Trouble::unknown;
    return failure;
  }
  return {};
}

Failure ChildLog::append_some(std::vector<Work>& works, bool& written) {
  unsigned undecided = 0, beaten = 0, lost = 0;
  const auto given_up = [&](Failure failure) {
    failure.trouble = Trouble::not_now;  // unless something was written, which the caller knows
    return failure;
  };
  for (;;) {
    if (Failure failure = look_up(works)) return given_up(std::move(failure));
    Failure inserted = insert(works, written);
    if (inserted.trouble == Trouble::message) return inserted;
    if (inserted && !written) return inserted;
    if (std::all_of(works.begin(), works.end(), [](const Work& work) { return work.done(); })) return {};
    Outcome outcome;
    for (;;) {
      Failure failure = read_back(works, outcome);
      if (!failure) break;
      if (++lost >= kReadsLostMax || !worker_.pause_us(kPauseUs << lost)) return given_up(std::move(failure));
    }
    if (std::all_of(works.begin(), works.end(), [](const Work& work) { return work.done(); })) return {};
    if (outcome.moved) undecided = 0;
    if (outcome.beaten && ++beaten >= limits_.beaten_tries) {
      return given_up({Trouble::not_now, "mongodb: others append to this room all the time"});
    }
    if (!outcome.undecided) continue;
    if (undecided >= limits_.undecided_tries || !worker_.pause_us(kPauseUs << undecided)) {
      if (!inserted) inserted.reason = "mongodb: the majority does not have the rows yet";
      return given_up(std::move(inserted));
    }
    ++undecided;
  }
}

// None of the open messages is in the log up to the head, and the head has no child that is known of.
Failure ChildLog::look_up(std::vector<Work>& works) {
  std::vector<Look> looks;
  std::vector<Work*> of_looks;
  for (Work& work : works) {
    if (work.looked_up) continue;
    work.memory = remembered(work.room);
    if (work.memory == nullptr) {
      if (Failure failure = find_head(work.room, work.memory)) return failure;
    }
    Look& look = looks.emplace_back();
    look.room = &work.room;
    if (work.memory->head().sequence > 0) look.children_of.push_back(key_of_head(work.memory->places));
    look.children_of.push_back(work.memory->head().chain);
    for (const auto& [uuid, index] : work.open) look.uuids.push_back(uuid);
    of_looks.push_back(&work);
  }
  if (looks.empty()) return {};
  if (Failure failure = collection_.look(looks)) return failure;
  for (size_t i = 0; i < looks.size(); ++i) {
    Work& work = *of_looks[i];
    if (Failure failure = settle(work, looks[i])) return failure;
  }
  return {};
}

Failure ChildLog::settle(Work& work, Look& look) {
  const Position head = work.memory->head();
  if (head.sequence > 0 && row_at(look.rows, head) == nullptr) {
    if (Failure failure = regain(work.room, work.memory)) return failure;
    // Whatever the head is now, the uuids were looked up without seeing it.
    look.rows.clear();
    look.children_of.clear();
    if (Failure failure = collection_.look({&look, 1})) return failure;
  }
  // Those at or below the head …
  std::vector<Sequence> sequences;
  for (const Row& row : look.rows) {
    if (work.open.contains(row.message.uuid)) sequences.push_back(row.sequence);
  }
  const Position looked_at = work.memory->head();
  if (!sequences.empty()) {
    std::unordered_map<Sequence, Chain> chains;
    if (Failure failure = own_chains(work.room, *work.memory, std::move(sequences), chains)) return failure;
    for (const Row& row : look.rows) {
      auto own = chains.find(row.sequence);
      bool counts = row.sequence <= looked_at.sequence && own != chains.end() && own->second == row.chain;
#ifdef TERTULIA_FAILPOINTS
      counts |= unsafe.trust_any_hit;
#endif
      if (counts) work.place(row);
    }
  }
  // … and whatever has come behind it.
  bool gone = false;
  if (head != looked_at || child_of(look.rows, head) != nullptr) {
    if (Failure failure = extend(work.room, *work.memory, gone, [&](const Row& row) { work.place(row); })) {
      return failure;
    }
    if (gone) return {Trouble::not_now, "mongodb: the log has changed while it was read"};
  }
  if (!work.judged) {
    if (Failure failure = contains(work.room, *work.memory, work.batch->known, work.judged)) return failure;
  }
  if (!work.judged) {
    // A primary that is new may not know yet how far the majority has got.
    if (Failure failure = collection_.mark()) return failure;
    if (Failure failure = head_of(work.room, work.memory)) return failure;
    if (Failure failure = contains(work.room, *work.memory, work.batch->known, work.judged)) return failure;
    work.batch->fits = work.judged;
    // The uuids are to be looked up at the newer head.
    if (work.judged) return {Trouble::not_now, "mongodb: the primary knew less of the log than its holder"};
  }
  work.looked_up = true;
  return {};
}

// The open messages of every room as its head's child, grandchild and so on.
Failure ChildLog::insert(std::vector<Work>& works, bool& written) {
  std::vector<NewRow> rows;
  std::vector<Work*> of_rows;
  for (Work& work : works) {
    work.rows.clear();
    if (work.done()) continue;
    Position at = work.memory->head();
#ifdef TERTULIA_FAILPOINTS
    if (work.renumbered) at = *work.renumbered;
#endif
    const auto& messages = work.batch->messages;
    for (size_t i = 0; i < messages.size(); ++i) {
      if (!work.open.contains(messages[i]->uuid)) continue;
      const Chain chain = chain_next(at.chain, at.sequence + 1, *messages[i]);
      work.rows.push_back({&work.room, at, chain, messages[i]});
      work.tried.emplace(chain, false);
      at = {at.sequence + 1, chain};
    }
    rows.insert(rows.end(), work.rows.begin(), work.rows.end());
    of_rows.insert(of_rows.end(), work.rows.size(), &work);
  }
  for (size_t first = 0; first < rows.size();) {
    Inserted inserted;
    Failure failure = collection_.insert(std::span(rows).subspan(first), inserted);
    const bool all = failure && failure.trouble == Trouble::unknown;  // they may stand, each of them
    for (size_t i = first; i < (all ? rows.size() : first + inserted.count); ++i)
      of_rows[i]->tried[rows[i].chain] = true;
    written |= inserted.count > 0 || all;
    if (failure) return failure;
    size_t stopped = first + inserted.count;
#ifdef TERTULIA_FAILPOINTS
    if (unsafe.ack_on_duplicate || unsafe.no_read_after_insert) {
      const size_t last = unsafe.ack_on_duplicate && inserted.duplicate ? stopped + 1 : stopped;
      for (size_t i = unsafe.no_read_after_insert ? first : stopped; i < last; ++i) {
        Row row{rows[i].before.sequence + 1, rows[i].before.chain, rows[i].chain, *rows[i].message};
        of_rows[i]->place(row);
        if (of_rows[i]->memory->head() == row.before()) of_rows[i]->memory->grow(row);
      }
    }
#endif
    if (!inserted.duplicate) break;
    // Somebody is there, or this row itself from an earlier attempt: the read will tell. What stands behind it in the
    // same room would continue a row that is not there.
    const Work* of = of_rows[stopped];
    while (stopped < rows.size() && of_rows[stopped] == of) ++stopped;
    first = stopped;
  }
  return {};
}

// What has become of the rows that were sent: the log is read from the head that they were sent behind, inclusive.
Failure ChildLog::read_back(std::vector<Work>& works, Outcome& outcome) {
  outcome = Outcome();
  std::vector<Look> looks;
  std::vector<Work*> of_looks;
  for (Work& work : works) {
    if (work.done() || work.rows.empty()) continue;
    Look& look = looks.emplace_back();
    look.room = &work.room;
    if (work.memory->head().sequence > 0) look.children_of.push_back(key_of_head(work.memory->places));
    look.children_of.push_back(work.memory->head().chain);
    for (const NewRow& row : work.rows) look.children_of.push_back(row.chain);
    of_looks.push_back(&work);
  }
  if (looks.empty()) return {};
  if (Failure failure = collection_.look(looks)) return failure;
  for (size_t i = 0; i < looks.size(); ++i) {
    Work& work = *of_looks[i];
    const Position head = work.memory->head();
    bool gone = head.sequence > 0 && row_at(looks[i].rows, head) == nullptr;
    bool mine = true;
    if (!gone) {
      std::map<Chain, const Row*> children;
      for (const Row& row : looks[i].rows) children[row.previous] = &row;
      for (;;) {
        auto next = children.find(work.memory->head().chain);
        if (next == children.end() || next->second->before() != work.memory->head()) break;
        mine = work.tried.contains(next->second->chain);
        work.place(*next->second);
        work.memory->grow(*next->second);
      }
      // Another's row, so there may be more behind it; they are looked at for the uuids, as those before were.
      if (!mine) {
        outcome.beaten = true;
        if (Failure failure = extend(work.room, *work.memory, gone, [&](const Row& row) { work.place(row); })) {
          return failure;
        }
      }
    }
    if (gone) {
      if (Failure failure = regain(work.room, work.memory)) return failure;
      if (work.memory->head() != head) work.looked_up = work.judged = false;
    }
    if (work.memory->head() != head) {
      outcome.moved = true;
    } else if (!work.done()) {
      outcome.undecided = true;
#ifdef TERTULIA_FAILPOINTS
      if (unsafe.renumber_undecided) work.renumbered = {work.rows.back().before.sequence + 1, work.rows.back().chain};
#endif
    }
  }
  return {};
}

}  // namespace tertulia::mongo
