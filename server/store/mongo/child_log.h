// Logs as chains of documents: how rows are appended and read where the only thing that is atomic is to insert a
// document under a key that nobody has.
//
// A row's key is its room and the chain that it continues, so every row has at most one child, and order is decided by
// inserting: whoever's row goes in as the head's child is the next. Nothing is updated, nothing deleted. A log is what
// is reached from chain(0) by going from row to child; a row that nothing leads to does not exist, whatever its number.
// So an append needs three calls: look the uuids up at a head, insert behind it, and read from it. What the read shows
// is committed. What it does not show yet is undecided and is inserted again *as the same child*: as long as that place
// is open it may still be taken by the first attempt, and never by both. A duplicate key says only that there is
// somebody, perhaps one who will be gone after a failover.
//
// Heads are remembered, so that the first call also says whether the remembered one is still the newest. A remembered
// head that is gone is believed to be gone only after a write on a majority: the store was put back.
//
// Thread: one. Memory: `rooms_max` heads with up to 32 positions each, about 1.5 KiB a room. Ends: before the
// collection and the worker.
#pragma once

#include <deque>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/worker.h"
#include "store/mongo/collection.h"

namespace tertulia::mongo {

class ChildLog {
 public:
  struct Limits {
    size_t rooms_max = 8'192;       // remembered heads
    size_t rooms_at_once = 128;     // in one query and one insert
    unsigned undecided_tries = 9;   // with doubling pauses from 4 ms: 2 s in all; then Trouble::unknown
    unsigned beaten_tries = 200;    // rounds in which others took the place; then not_now
    size_t places_at_once = 1'000;  // from which a head is found
  };
#ifdef TERTULIA_FAILPOINTS
  // For tests that show that the tests find it: each breaks a promise.
  struct Unsafe {
    bool ack_on_duplicate = false;      // a duplicate key is taken for one's own row
    bool renumber_undecided = false;    // what is undecided goes in again behind itself, not in its place
    bool trust_any_hit = false;         // a row with the uuid is taken for committed, wherever it stands
    bool no_read_after_insert = false;  // an insert that came back well is taken for a place in the log
  };
  Unsafe unsafe;
#endif

  ChildLog(Collection& collection, Worker& worker) : ChildLog(collection, worker, Limits()) {}
  ChildLog(Collection& collection, Worker& worker, const Limits& limits)
      : collection_(collection), worker_(worker), limits_(limits) {}

  // As of cluster::Link. Rooms are each on their own: after Trouble::unknown some rows may stand, and are found by
  // their uuids when asked again.
  Failure append(const std::vector<cluster::RoomBatch*>& rooms);
  Failure read(const std::string& room, const Position& after, size_t limit, size_t bytes_max, Rows& rows);
  Failure read_range(const std::string& room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max,
                     Rows& rows);
  Failure find(const std::string& room, const std::string& uuid, Rows& rows);
  Failure heads(const std::vector<std::string>& rooms, std::vector<Position>& heads);

 private:
  // A stretch of a log that ends with its head, read at majority. Of a head that is not 0 at least the position before
  // it is there too, as that is the key of its row.
  struct Memory {
    std::deque<Position> places;
    std::list<std::string>::iterator used;
    const Position& head() const { return places.back(); }
    void grow(const Row& row);
  };
  struct Work;

  Memory* remembered(const std::string& room);
  Memory& remember(const std::string& room, std::deque<Position> places);
  void forget(const std::string& room);
  void trim();

  // The head as it was when this was called, or newer.
  Failure head_of(const std::string& room, Memory*& memory);
  Failure find_head(const std::string& room, Memory*& memory);
  // The remembered head's row was not seen. Sees to it that what is remembered is so.
  Failure regain(const std::string& room, Memory*& memory);
  // Reads on behind the remembered head. gone: its row is not there. each: called for every row, in order.
  template <class Each>
  Failure extend(const std::string& room, Memory& memory, bool& gone, Each each);
  // Rows that continue `from`, whose own row must be there (`held`), up to the sequence `last`.
  Failure follow(const std::string& room, const Position& from, Sequence last, size_t limit, size_t bytes_max,
                 bool& held, std::vector<Row>& rows, bool& end);
  Failure follow(const std::string& room, const Position& from, std::vector<Row>& rows, bool& held, bool& end);
  // What chains the log has at these sequences, of which none is above the head. Nothing: the log is broken there.
  Failure own_chains(const std::string& room, const Memory& memory, std::vector<Sequence> sequences,
                     std::unordered_map<Sequence, Chain>& chains);
  Failure contains(const std::string& room, const Memory& memory, const Position& position, bool& yes);

  // The steps of an append, for several rooms each.
  struct Outcome {
    bool moved = false;      // some room's log has grown, by whomsoever
    bool beaten = false;     // … by another
    bool undecided = false;  // some room's log has not: what was sent may come or not
  };
  Failure append_some(std::vector<Work>& works, bool& written);
  Failure look_up(std::vector<Work>& works);
  Failure settle(Work& work, Look& look);
  Failure insert(std::vector<Work>& works, bool& written);
  Failure read_back(std::vector<Work>& works, Outcome& outcome);

  Collection& collection_;
  Worker& worker_;
  const Limits limits_;
  std::unordered_map<std::string, Memory> memories_;
  std::list<std::string> used_;  // the longest unused first
};

}  // namespace tertulia::mongo
