// Judges what members receive: nothing lost, nothing twice, nothing out of order, the same message for all at n.
//
// Each member of a room must see every sequence directly behind the one before. What was jumped over is remembered: if
// it comes later it was reordered, if it never comes it is lost.
// Thread: one. Memory: 8 bytes a member and room, 8 bytes a message; more only where something is wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <tuple>
#include <vector>

namespace tertulia::bench {

struct Faults {
  uint64_t lost = 0, repeated = 0, reordered = 0;
  uint64_t differing = 0;  // another message than others saw at that sequence
  uint64_t malformed = 0;
  uint64_t all() const { return lost + repeated + reordered + differing + malformed; }
};

class Judge {
 public:
  // Of `members` each is in `rooms_each` rooms, numbered for each member from 0.
  Judge(uint32_t members, uint32_t rooms, uint32_t rooms_each);

  // The member has joined; its next message is the one behind `sequence`.
  void joined(uint32_t member, uint32_t place, uint64_t sequence) { last(member, place) = sequence; }
  // False if this receipt is a fault and counts for nothing.
  bool received(uint32_t member, uint32_t place, uint32_t room, uint64_t sequence, uint64_t index);
  // Nobody waits any longer: what member has not got up to `head` is lost.
  void ended(uint32_t member, uint32_t place, uint32_t room, uint64_t head);
  uint64_t last_of(uint32_t member, uint32_t place) const { return last_[member * rooms_each_ + place]; }

  Faults& faults() { return faults_; }

 private:
  uint64_t& last(uint32_t member, uint32_t place) { return last_[member * rooms_each_ + place]; }

  struct Room {
    uint64_t first = 0;                // the first sequence seen
    std::vector<uint64_t> index_plus;  // of first, first + 1 …: the message's index + 1; 0: not seen
  };
  uint32_t rooms_each_;
  std::vector<uint64_t> last_;
  std::vector<Room> rooms_;
  std::set<std::tuple<uint32_t, uint32_t, uint64_t>> missing_;  // member, room, sequence
  Faults faults_;
};

}  // namespace tertulia::bench
