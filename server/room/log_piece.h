// What shards tell each other about a room: messages that grew its log, and signals.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/message.h"
#include "room/committed_uuids.h"

namespace tertulia {

// Messages that were committed together, with their ready frames, shared and immutable.
struct LogPiece {
  struct Entry {
    Sequence sequence = 0;
    Chain previous, chain;
    std::string uuid, user_id;
    BodyDigest body{};
    std::string frame;
  };
  std::vector<Entry> entries;  // ascending; not necessarily dense
};

// Ephemeral; never in the log, may be dropped.
struct Signal {
  enum class Kind : uint8_t {
    joined,
    left,
    typing,
    read,
    returned,  // just after a restart: nobody need be told, but lists that were read before he was back lack him
  };
  Kind kind = Kind::joined;
  std::string user_id, user_name;
  Sequence sequence = 0;       // read
  uint64_t members_count = 0;  // joined, left, returned
  bool came_back = false;      // joined: with a past; classic clients, who never heard that he left, are not told
};

}  // namespace tertulia
