// Decides when a node tells the others that it lives, and when it compares what it holds with the store.
//
// The bus may lose anything, the last message of a room too, after which nothing tells of the loss. So: whoever's
// heartbeat is not heard although his lease is alive may be telling us things in vain, and after the bus or the store
// were away anything may have been missed. Then heads are compared: at once, again and again while it lasts, and once
// more when it is over.
// Pure. Thread: one. Memory: a few words a node; unknown ones are forgotten soon.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tertulia {

class BusWatch {
 public:
  struct Limits {
    int64_t beat_us = 500'000;       // so often this node says that it lives
    int64_t silent_us = 1'000'000;   // a peer that was not heard for so long may be telling things in vain
    int64_t compare_us = 1'000'000;  // so often heads are compared while there is a silent peer
    size_t nodes_max = 10'000;       // heard of and no peer (yet)
  };
  struct Effects {
    bool beat = false;     // tell the others that this node lives
    bool compare = false;  // compare heads
    int64_t next_us = 0;   // step() again then, or earlier
  };

  BusWatch() : BusWatch(Limits()) {}
  explicit BusWatch(const Limits& limits) : limits_(limits) {}

  void heard(const std::string& node, int64_t now_us);
  // The bus, or the store, was away.
  void returned() { compare_due_ = true; }
  // `node`: this one's name, empty while there are no leases: then nothing is done. `peers`: whose leases are alive.
  Effects step(const std::string& node, const std::vector<std::string>& peers, int64_t now_us);

  size_t silent_count() const { return silent_count_; }

 private:
  struct Heard {
    int64_t at_us = 0;
    bool peer = false, silent = false;
  };

  const Limits limits_;
  std::map<std::string, Heard> nodes_;
  int64_t beat_at_us_ = 0, compare_at_us_ = 0;
  bool compare_due_ = false;
  size_t silent_count_ = 0;
};

}  // namespace tertulia
