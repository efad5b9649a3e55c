#include "store/cluster/proven.h"

#include <algorithm>

namespace tertulia::cluster {

void Proven::add(const std::string& room, const Position& position) {
  if (position.sequence == 0 || rooms_max_ == 0) return;
  std::lock_guard lock(mutex_);
  const auto found = by_name_.find(room);
  if (found == by_name_.end()) {
    if (rooms_.size() >= rooms_max_) {
      by_name_.erase(rooms_.back().name);
      rooms_.pop_back();
    }
    rooms_.push_front({room, {}, 0});
    by_name_.emplace(rooms_.front().name, rooms_.begin());
  } else {
    rooms_.splice(rooms_.begin(), rooms_, found->second);
  }
  Room& known = rooms_.front();
  if (std::find(known.positions.begin(), known.positions.end(), position) != known.positions.end()) return;
  if (known.positions.size() < kPositions) {
    known.positions.push_back(position);
  } else {
    known.positions[known.oldest] = position;
    known.oldest = (known.oldest + 1) % kPositions;
  }
}

bool Proven::covers(const std::string& room, const Position& position) {
  if (position.sequence == 0) return true;  // nothing is shown
  std::lock_guard lock(mutex_);
  const auto found = by_name_.find(room);
  if (found == by_name_.end()) return false;
  rooms_.splice(rooms_.begin(), rooms_, found->second);
  const std::vector<Position>& positions = found->second->positions;
  return std::find(positions.begin(), positions.end(), position) != positions.end();
}

bool Proven::covers(const std::string& room, const Rows& rows) {
  if (rows.status != Rows::Status::ok) return true;  // it shows nothing
  if (!rows.rows.empty() && rows.rows.back().sequence > rows.head.sequence) return false;
  return covers(room, rows.head);
}

void Proven::forget_all() {
  std::lock_guard lock(mutex_);
  by_name_.clear();
  rooms_.clear();
}

}  // namespace tertulia::cluster
