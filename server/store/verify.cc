#include "store/verify.h"

#include "base/log.h"

namespace tertulia {
namespace {

constexpr size_t rooms_page = 1'000;
constexpr uint64_t progress_every = 10'000;

class Walk {
 public:
  Walk(const std::string& room, Verified& verified, const std::function<void(const Misfit&)>& found)
      : room_(room), at_{0, chain_start(room)}, verified_(verified), found_(found) {}

  const Position& at() const { return at_; }

  void take(const Row& row) {
    ++verified_.messages;
    const Sequence next = at_.sequence + 1;
    if (row.sequence != next) {
      says(Misfit::Kind::missing, next, std::to_string(next), std::to_string(row.sequence));
    } else if (row.previous != at_.chain) {
      says(Misfit::Kind::previous, row.sequence, chain_text(at_.chain), chain_text(row.previous));
    }
    const Chain computed = chain_next(row.previous, row.sequence, row.message);
    if (computed != row.chain) says(Misfit::Kind::chain, row.sequence, chain_text(computed), chain_text(row.chain));
    // From what is written on: so one bad row is one finding, and not one for each behind it.
    at_ = row.position();
  }

  void end(const Position& head, Sequence newest) {
    if (head != at_) {
      says(Misfit::Kind::end, at_.sequence, position_text(at_), position_text(head));
    } else if (newest > at_.sequence) {
      says(Misfit::Kind::unled, newest, position_text(at_), std::to_string(newest));
    }
  }

 private:
  void says(Misfit::Kind kind, Sequence sequence, std::string expected, std::string found) {
    ++verified_.misfits;
    if (++told_ <= misfits_told_max) found_({kind, room_, sequence, std::move(expected), std::move(found)});
  }

  const std::string& room_;
  Position at_;
  Verified& verified_;
  const std::function<void(const Misfit&)>& found_;
  uint64_t told_ = 0;
};

}  // namespace

std::string misfit_text(const Misfit& misfit) {
  std::string text = "room \"";
  append_escaped(text, misfit.room);
  text += "\", sequence " + std::to_string(misfit.sequence) + ": ";
  switch (misfit.kind) {
    case Misfit::Kind::missing: text += "there is no such message; the next one is " + misfit.found; break;
    case Misfit::Kind::previous:
      text += "continues the chain " + misfit.found + ", but the message before has " + misfit.expected;
      break;
    case Misfit::Kind::chain:
      text += "has the chain " + misfit.found + ", but from the message " + misfit.expected + " is computed";
      break;
    case Misfit::Kind::end:
      text += "here the log ends, at " + misfit.expected + ", but its head is said to be " + misfit.found;
      break;
    case Misfit::Kind::unled: text += "nothing leads to this message, for the log ends at " + misfit.expected; break;
  }
  return text;
}

Verified verify(LogSource& source, const std::function<void(const Misfit&)>& found,
                const std::function<void(const Verified&)>& progress) {
  Verified verified;
  uint64_t told_at = 0;
  std::string last;
  while (true) {
    std::vector<std::string> names;
    verified.error = source.rooms(last, rooms_page, names);
    if (!verified.error.empty() || names.empty()) return verified;
    for (const std::string& name : names) {
      Walk walk(name, verified, found);
      Sequence newest = 0;
      while (true) {
        Rows page;
        verified.error = source.rows(name, walk.at().sequence, page);
        if (!verified.error.empty()) return verified;
        for (const Row& row : page.rows) walk.take(row);
        if (page.rows.empty()) {
          // A server may have added a row since the page was read: then the next one has it.
          const Sequence seen = newest;
          verified.error = source.newest(name, newest);
          if (!verified.error.empty()) return verified;
          if (newest > walk.at().sequence && seen <= walk.at().sequence) continue;
          walk.end(page.head, newest);
          break;
        }
        if (verified.messages - told_at >= progress_every) {
          told_at = verified.messages;
          progress(verified);
        }
      }
      ++verified.rooms;
    }
    last = names.back();
    progress(verified);
  }
}

}  // namespace tertulia
