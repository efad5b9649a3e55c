// What all shards of a node share: its doors, its settings, and the few numbers that belong to the whole process.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "bus/bus.h"
#include "node/options.h"
#include "session/allowance.h"
#include "store/store.h"

namespace tertulia {

// What one address may send, over all its connections. Thread: any.
class AddressAllowance {
 public:
  void charge(double messages, double bytes, const Options::Live& live, int64_t now_us);
  void refund(double messages, const Options::Live& live);
  int64_t wait_us(const Options::Live& live, int64_t now_us);
  bool full(const Options::Live& live, int64_t now_us);

 private:
  std::mutex mutex_;
  Allowance messages_, bytes_;  // under mutex_
};

// An address keeps its allowance when its last session ends, until it is full again: else connecting anew would be all
// that it takes to send without one.
// Thread: any. Memory: an entry for each address that has a session, or had one some seconds ago.
class AddressAllowances {
 public:
  std::shared_ptr<AddressAllowance> of(const std::string& address, const Options::Live& live, int64_t now_us);

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<AddressAllowance>> entries_;  // under mutex_
  size_t sweep_at_ = 1024;  // entries at which those that nobody needs are removed
};

// The newest rooms whose log went back, for the metrics: an operator who sees it there should find it in the log.
// Thread: any. Memory: a few entries.
class PastChanges {
 public:
  struct Change {
    std::string room;       // its hash: chain(0)
    std::string held, now;  // positions
  };
  void add(Change change);
  std::vector<Change> newest() const;

 private:
  static constexpr size_t kept_max = 8;
  mutable std::mutex mutex_;
  std::vector<Change> changes_;  // under mutex_; the newest last
};

struct NodeContext {
  // Constant after construction.
  Clock& clock;
  Random& random;  // of the system: any thread
  Log& log;
  Store& store;
  Bus& bus;
  const Options options;
  const std::string node_id;  // random, new at every start
  const std::string version;
  const int64_t started_us;

  // Any thread.
  std::atomic<int64_t> waiting_bytes{0};  // messages accepted and not yet committed, over all shards
  std::atomic<bool> draining{false};
  AddressAllowances addresses;
  PastChanges past_changes;
};

}  // namespace tertulia
