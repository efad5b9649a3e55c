#include "driver/judge.h"

namespace tertulia::bench {
namespace {

constexpr uint64_t missing_max = 1'000'000;  // beyond it only counted: then nothing is right any more
constexpr uint64_t span_max = 100'000'000;

}  // namespace

Judge::Judge(uint32_t members, uint32_t rooms, uint32_t rooms_each)
    : rooms_each_(rooms_each), last_(std::size_t{members} * rooms_each), rooms_(rooms) {}

bool Judge::received(uint32_t member, uint32_t place, uint32_t room, uint64_t sequence, uint64_t index) {
  uint64_t& seen = last(member, place);
  if (sequence != seen + 1) {
    if (sequence <= seen) {
      if (missing_.erase({member, room, sequence}) == 0) {
        ++faults_.repeated;
        return false;
      }
      ++faults_.reordered;
      --faults_.lost;
    } else {
      for (uint64_t each = seen + 1; each < sequence && missing_.size() < missing_max; ++each)
        missing_.emplace(member, room, each);
      faults_.lost += sequence - seen - 1;
    }
  }
  if (sequence > seen) seen = sequence;
  Room& log = rooms_[room];
  if (log.first == 0) log.first = sequence;
  if (sequence < log.first || sequence - log.first > span_max) return true;
  const uint64_t at = sequence - log.first;
  if (at >= log.index_plus.size()) log.index_plus.resize(at + 1);
  if (log.index_plus[at] == 0) log.index_plus[at] = index + 1;
  if (log.index_plus[at] != index + 1) ++faults_.differing;
  return true;
}

void Judge::ended(uint32_t member, uint32_t place, uint32_t room, uint64_t head) {
  uint64_t& seen = last(member, place);
  if (seen >= head) return;
  for (uint64_t each = seen + 1; each <= head && missing_.size() < missing_max; ++each)
    missing_.emplace(member, room, each);
  faults_.lost += head - seen;
  seen = head;
}

}  // namespace tertulia::bench
