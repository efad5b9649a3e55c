// Remembers the newest committed uuids of a shard's rooms, so that a repeat is known without asking the store.
//
// Only a shortcut: whoever is not remembered here is found by the store, which alone decides what was committed.
// Pure. Thread: the shard's. Memory: about 100 bytes an entry, entries_max of them, the oldest forgotten first; and
// about 64 bytes for each room that has gone back, at most forgotten_max.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "protocol/message.h"

namespace tertulia {

// Of a message's body: kind, user, and text, or blob and file name. Equal digests are equal bodies.
using BodyDigest = std::array<uint8_t, 16>;
BodyDigest body_digest(const Message& message);

class CommittedUuids {
 public:
  struct Known {
    Position position;
    BodyDigest body{};
  };

  explicit CommittedUuids(size_t entries_max) : entries_max_(entries_max) {}

  // `room` is the room's chain(0). Null if not remembered; the pointer lasts until the next remember().
  const Known* find(const Chain& room, std::string_view uuid) const;
  void remember(const Chain& room, std::string_view uuid, const Known& known);
  // The store has gone back: nothing that was remembered of this room is sure any more.
  void forget(const Chain& room);
  // The same of all rooms.
  void forget_all();
  size_t size() const { return known_.size(); }

 private:
  using Key = std::array<uint8_t, 16>;
  struct KeyHash {
    size_t operator()(const Key& key) const;
  };
  static constexpr size_t forgotten_max = 10'000;
  Key key_of(const Chain& room, std::string_view uuid) const;

  size_t entries_max_;
  std::map<Chain, uint32_t> forgotten_;  // how often each room was; older keys of it are never asked for again
  std::unordered_map<Key, Known, KeyHash> known_;
  std::vector<Key> order_;  // a ring of the keys, oldest at next_
  size_t next_ = 0;
};

}  // namespace tertulia
