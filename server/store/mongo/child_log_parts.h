// What the reading and the appending half of ChildLog share.
#pragma once

#include <deque>
#include <vector>

#include "store/mongo/child_log.h"

namespace tertulia::mongo {

// The key of the head's own row. REQUIRES: the head is not the beginning.
inline const Chain& key_of_head(const std::deque<Position>& places) {
  return places[places.size() - 2].chain;
}

inline const Row* row_at(const std::vector<Row>& rows, const Position& position) {
  for (const Row& row : rows) {
    if (row.position() == position) return &row;
  }
  return nullptr;
}

inline const Row* child_of(const std::vector<Row>& rows, const Position& position) {
  for (const Row& row : rows) {
    if (row.before() == position) return &row;
  }
  return nullptr;
}

template <class Each>
Failure ChildLog::extend(const std::string& room, Memory& memory, bool& gone, Each each) {
  gone = false;
  for (bool end = false; !end;) {
    std::vector<Row> rows;
    bool held = false;
    if (Failure failure = follow(room, memory.head(), rows, held, end)) return failure;
    if (!held) {
      gone = true;
      return {};
    }
    for (const Row& row : rows) {
      memory.grow(row);
      each(row);
    }
  }
  return {};
}

}  // namespace tertulia::mongo
