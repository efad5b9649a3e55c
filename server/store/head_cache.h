// The heads of the rooms that were appended to last, as they are on the disk, so that numbering reads nothing.
//
// Within a transaction a room's head moves on in `work`; only commit() makes that its head, and an entry of an older
// transaction is as if it had no `work`. So a rollback costs nothing and nothing unproven is ever remembered.
// Thread: one. Memory: rooms_max entries of about 200 bytes; the ones used longest ago go. Ends: with its owner.
#pragma once

#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "protocol/position.h"

namespace tertulia::sqlite {

class HeadCache {
 public:
  struct Entry {
    std::string room;
    int64_t id = 0;  // 0: the room has no row yet
    Position head;
    // Of the transaction `transaction`.
    uint64_t transaction = 0;
    int64_t work_id = 0;
    Position work;
  };

  // REQUIRES: rooms_max is above the number of rooms in any one transaction.
  explicit HeadCache(size_t rooms_max) : rooms_max_(rooms_max) {}

  void begin() {
    ++transaction_;
    touched_.clear();
  }
  // Nothing if it is not known. Takes part in the transaction from now on.
  Entry* find(std::string_view room) {
    auto found = by_room_.find(room);
    if (found == by_room_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return touch(&*found->second);
  }
  // REQUIRES: not known.
  Entry* add(const std::string& room, int64_t id, const Position& head) {
    if (entries_.size() >= rooms_max_) {
      by_room_.erase(entries_.back().room);
      entries_.pop_back();
    }
    Entry& entry = entries_.emplace_front();
    entry.room = room;
    entry.id = id;
    entry.head = head;
    by_room_.emplace(entry.room, entries_.begin());
    return touch(&entry);
  }
  void commit() {
    for (Entry* entry : touched_) {
      entry->id = entry->work_id;
      entry->head = entry->work;
    }
    touched_.clear();
  }
  void clear() {
    by_room_.clear();
    entries_.clear();
    touched_.clear();
  }
  size_t size() const { return entries_.size(); }

 private:
  Entry* touch(Entry* entry) {
    if (entry->transaction != transaction_) {
      entry->transaction = transaction_;
      entry->work_id = entry->id;
      entry->work = entry->head;
      touched_.push_back(entry);
    }
    return entry;
  }

  const size_t rooms_max_;
  uint64_t transaction_ = 0;
  std::list<Entry> entries_;  // used last first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> by_room_;
  std::vector<Entry*> touched_;
};

}  // namespace tertulia::sqlite
