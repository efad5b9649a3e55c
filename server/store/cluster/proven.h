// Which positions are known to be safe from a failover.
//
// A database with a synchronous standby shows rows that only the primary has yet: those of a commit whose wait for the
// standby was cut short, or which a restart has recovered. A promotion takes them back. So a log is shown, and a repeat
// acked, only up to a position that is proven: by our own clean append, by the bus (another node's clean append), or by
// a commit that was begun after the read, on its connection, and came back clean.
//
// Positions and not numbers: a deposed primary that still answers may have another row 7 than the log of which the bus
// tells that row 9 is safe. A chain vouches for everything below it, so it is enough to know a log's head.
//
// Another server may have another past, so with every new connection all is forgotten; the cost is one commit more.
// Thread: any. Memory: rooms_max entries of about 400 bytes; the ones used longest ago go. Ends: with its store.
#pragma once

#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "protocol/outcome.h"

namespace tertulia::cluster {

class Proven {
 public:
  explicit Proven(size_t rooms_max) : rooms_max_(rooms_max) {}

  void add(const std::string& room, const Position& position);
  bool covers(const std::string& room, const Position& position);
  // All that this read shows, its head too. REQUIRES: rows and head are of one moment.
  bool covers(const std::string& room, const Rows& rows);
  void forget_all();

 private:
  struct Room {
    std::string name;
    std::vector<Position> positions;  // the last few, in a ring
    size_t oldest = 0;
  };
  static constexpr size_t kPositions = 8;  // heads of a busy room that a read under way may have seen

  const size_t rooms_max_;
  std::mutex mutex_;
  std::list<Room> rooms_;                                                    // under mutex_; used last first
  std::unordered_map<std::string_view, std::list<Room>::iterator> by_name_;  // under mutex_
};

}  // namespace tertulia::cluster
