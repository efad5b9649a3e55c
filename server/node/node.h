// A node: its shards, and what is done to all of them at once. What store and bus tell of other nodes comes here, on
// the first shard's thread.
//
// Thread: built, started and destroyed by the main thread; drain() and reload() from any one thread at a time.
// Ends: the event loops are stopped and joined first, then the node may be destroyed; then bus and store.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "node/bus_watch.h"
#include "node/context.h"
#include "node/shard.h"

namespace tertulia {

class Node final : private StoreWatcher, private BusWatcher {
 public:
  struct Loop {
    Executor* executor;
    Timers* timers;
  };

  // One shard for each loop. REQUIRES: doors and loops outlive the node.
  Node(Clock& clock, Random& random, Log& log, Store& store, Bus& bus, Options options, std::string version,
       const std::vector<Loop>& loops);
  ~Node() override;

  // Starts the shards' clockwork. The loops may run already, or later.
  void start();

  size_t shards_count() const { return shards_.size(); }
  // For SessionOpeners: open() is called on the shard's own thread.
  Shard& shard(size_t index) { return *shards_[index]; }

  // Admits nobody any more, asks everybody to leave over the window, and runs `done`, on some shard's thread, when all
  // are gone and all that they said is decided (at the latest some seconds after the window). Once; a second call has
  // no effect.
  void drain(int64_t window_ms, Function<void()> done);
  bool draining() const { return context_.draining.load(std::memory_order_relaxed); }
  // SIGHUP: allowances and history length.
  void reload(const Options::Live& live);

  // Users in any room, sessions: over all shards, about now.
  int64_t members_count() const;
  int64_t sessions_count() const;
  // Adds the shards' numbers to a render.
  void describe(MetricsSink& sink) const;

 private:
  // --- StoreWatcher, BusWatcher ---
  void store_returned() override;
  void departed(const std::string& room, const std::string& user_id, const std::string& user_name,
                uint64_t members_count) override;
  void arrived(const std::string& room, const std::string& user_id, const std::string& user_name,
               uint64_t members_count) override;
  void name_lost(const std::string& room, const std::string& name_folded, const std::string& user_id) override;
  void bus_heard(const std::string& node) override;
  void bus_returned() override;

  void watch_step();
  void note_lease(const std::string& lease, size_t peers_count);
  template <class F>
  void on_all(F call);  // on each shard's thread

  NodeContext context_;
  std::vector<Loop> loops_;
  std::vector<std::unique_ptr<Shard>> shards_;

  // The first shard's thread.
  BusWatch watch_;
  uint64_t watch_timer_ = 0;
  bool store_returned_ = false;  // and the shards have not been told
  std::string lease_;            // as the store named this node last

  // Written by the first shard's thread, read by any.
  Gauge peers_, silent_peers_;
  Counter leases_lost_, departed_, names_lost_;
};

}  // namespace tertulia
