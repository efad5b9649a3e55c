// Read markers that are not yet in the database: merged here, written together about once a second.
//
// Thread: any. Memory: entries_max entries of about 200 bytes; what does not fit is dropped. Ends: with its store.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "protocol/position.h"

namespace tertulia::cluster {

class PendingMarkers {
 public:
  using Markers = std::map<std::pair<std::string, std::string>, Sequence>;  // (room, user)

  explicit PendingMarkers(size_t entries_max) : entries_max_(entries_max) {}

  // Moves only forwards. False: it was dropped.
  bool add(std::string room, std::string user, Sequence sequence) {
    std::lock_guard lock(mutex_);
    auto key = std::make_pair(std::move(room), std::move(user));
    if (auto found = waiting_.find(key); found != waiting_.end()) {
      found->second = std::max(found->second, sequence);
    } else {
      if (waiting_.size() + writing_.size() >= entries_max_) return false;
      waiting_.emplace(std::move(key), sequence);
    }
    return true;
  }
  // 0: nothing is pending. To be asked before the database is, or what is written in between is not seen.
  Sequence find(const std::string& room, const std::string& user) const {
    std::lock_guard lock(mutex_);
    const auto key = std::make_pair(room, user);
    Sequence result = 0;
    for (const Markers* markers : {&waiting_, &writing_}) {
      if (auto found = markers->find(key); found != markers->end()) result = std::max(result, found->second);
    }
    return result;
  }
  // At most `limit`, to be written: pending until done() says what became of them. By one caller at a time.
  Markers take(size_t limit) {
    std::lock_guard lock(mutex_);
    while (!waiting_.empty() && writing_.size() < limit) writing_.insert(waiting_.extract(waiting_.begin()));
    return writing_;
  }
  void done(bool written) {
    std::lock_guard lock(mutex_);
    if (!written) {
      for (const auto& [who, sequence] : writing_) {
        Sequence& marker = waiting_[who];
        marker = std::max(marker, sequence);
      }
    }
    writing_.clear();
  }

 private:
  const size_t entries_max_;
  mutable std::mutex mutex_;
  Markers waiting_, writing_;  // under mutex_
};

}  // namespace tertulia::cluster
