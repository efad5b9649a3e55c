#include "node/bus_watch.h"

#include <algorithm>

namespace tertulia {

void BusWatch::heard(const std::string& node, int64_t now_us) {
  // One that is no peer may be one whose lease is not known here yet.
  const auto found = nodes_.find(node);
  if (found == nodes_.end() && nodes_.size() >= limits_.nodes_max) return;
  nodes_[node].at_us = now_us;
}

BusWatch::Effects BusWatch::step(const std::string& node, const std::vector<std::string>& peers, int64_t now_us) {
  Effects effects;
  effects.next_us = now_us + limits_.beat_us;
  if (node.empty()) return effects;

  if (now_us >= beat_at_us_) {
    effects.beat = true;
    beat_at_us_ = now_us + limits_.beat_us;
  }
  effects.next_us = beat_at_us_;

  for (auto& [name, heard] : nodes_) heard.peer = false;
  for (const std::string& name : peers) {
    // A new one gets as long as any to be heard.
    const auto [found, is_new] = nodes_.try_emplace(name);
    if (is_new) found->second.at_us = now_us;
    found->second.peer = true;
  }
  silent_count_ = 0;
  for (auto at = nodes_.begin(); at != nodes_.end();) {
    Heard& heard = at->second;
    const int64_t silent_at_us = heard.at_us + limits_.silent_us;
    if (!heard.peer && heard.silent) {
      // Dead, and appends nothing any more: now it is known what it left behind.
      compare_due_ = true;
      heard.silent = false;
    }
    if (!heard.peer && now_us >= silent_at_us + limits_.silent_us) {
      at = nodes_.erase(at);
      continue;
    }
    if (heard.peer && now_us >= silent_at_us) {
      heard.silent = true;
      ++silent_count_;
    } else if (heard.peer) {
      // Heard again: what it told between the last comparison and now may be lost.
      if (heard.silent) compare_due_ = true;
      heard.silent = false;
      effects.next_us = std::min(effects.next_us, silent_at_us);
    }
    ++at;
  }
  if (silent_count_ > 0 && now_us >= compare_at_us_) compare_due_ = true;
  if (compare_due_) {
    compare_due_ = false;
    effects.compare = true;
    compare_at_us_ = now_us + limits_.compare_us;
  }
  if (silent_count_ > 0) effects.next_us = std::min(effects.next_us, compare_at_us_);
  return effects;
}

}  // namespace tertulia
