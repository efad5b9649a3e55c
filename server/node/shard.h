// A shard: one thread with its sessions and the rooms of their members. A node in small.
//
// Shards share no room state: each appends through the store's door and hears of the others' messages over the bus.
// Thread: the shard's own executor runs everything but the calls marked *any thread*. Ends: the node stops the executor
// first; then the shard may be destroyed.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/executor.h"
#include "base/metrics.h"
#include "bus/bus.h"
#include "node/context.h"
#include "node/room_host.h"
#include "node/session.h"
#include "node/transport.h"
#include "room/committed_uuids.h"
#include "session/output.h"

namespace tertulia {

class Shard final : public BusSubscriber, public SessionOpener {
 public:
  Shard(NodeContext& context, Executor& executor, Timers& timers);
  ~Shard() override;

  // Starts the shard's own clockwork. On the shard's thread.
  void start();

  // A connection whose handshake is done. On the shard's thread.
  void open(std::unique_ptr<Transport> transport, Greeting greeting) override;
  void make_room() override;

  // Asks everybody to leave, spread over the window, and runs `done` on this thread when all are gone and all that they
  // said is decided; at the latest a little after the window.
  void drain(int64_t window_ms, Function<void()> done);
  // Closes everybody at once with 1012, without waiting.
  void close_all();
  // New allowances and history length.
  void reload(const Options::Live& live);

  // --- several nodes: on the shard's thread ---
  // Another past may answer now. What rooms hold is compared; what is remembered of those that left memory cannot be.
  void store_returned() { committed_uuids_.forget_all(); }
  // Something may have been missed: asks the store for the heads of all rooms with members here, those first that grew
  // last, heads_asked_max at a time and one such question at a time.
  void compare_heads();
  void compare_head(RoomHost& host);
  // How often all were compared.
  uint64_t compares() const { return compares_; }
  // Says how far a room's log has got: the bus may have lost its last message.
  void announce(const std::string& room, const Position& head);
  // The name is another user's by now: ends the sessions that have it here.
  void name_lost(const std::string& room, const std::string& name_folded, const std::string& user_id);

  // --- for sessions and rooms ---
  NodeContext& context() { return context_; }
  const Options& options() const { return context_.options; }
  const Options::Live& live() const { return live_; }
  Executor& executor() { return executor_; }
  Timers& timers() { return timers_; }
  ShardMetrics& metrics() { return metrics_; }
  CommittedUuids& committed_uuids() { return committed_uuids_; }
  int64_t now_us() const { return context_.clock.now_us(); }
  const WebSocketLimits& websocket_limits() const { return websocket_limits_; }
  const LifeLimits& life_limits(Dialect dialect) const { return life_limits_[dialect == Dialect::v2]; }
  Output::Plan& plan() { return plan_; }

  RoomHost& room(const std::string& name);  // opened if it is not here
  RoomHost* find_room(const std::string& name);
  void close_room(RoomHost& host);
  Session* find_session(uint64_t id);
  void remove(Session& session);
  // Rooms give up their tails, those first that have not grown for a while, until all together hold at most so much.
  void trim_tails(size_t bytes_max);
  void count_page_bytes(int64_t change) { page_bytes_ += static_cast<size_t>(change); }
  size_t page_bytes() const { return page_bytes_; }  // of all rooms' pages
  void count_members(int change) { metrics_.members.add(change); }

  // Soon: writes what the session has to say; serves the room's members.
  void pump_soon(Session& session);
  void sweep_soon(RoomHost& host);

  // --- BusSubscriber ---
  Executor& bus_executor() override { return executor_; }
  void on_bus(const std::shared_ptr<const BusItem>& item) override;

  const ShardMetrics& metrics() const { return metrics_; }  // any thread

 private:
  void schedule();
  void run();
  // Of the sessions; of the rooms and the metrics, once a second.
  void life_tick();
  void tick();
  void drain_step();
  void compare_next();

  // Constant after construction.
  NodeContext& context_;
  Executor& executor_;
  Timers& timers_;
  WebSocketLimits websocket_limits_;
  LifeLimits life_limits_[2];
  int64_t life_tick_us_ = 0;

  Options::Live live_;
  ShardMetrics metrics_;
  CommittedUuids committed_uuids_;
  Output::Plan plan_;

  size_t page_bytes_ = 0;  // before rooms_, which count down to the end
  uint64_t next_session_ = 1;
  std::unordered_map<uint64_t, std::unique_ptr<Session>> sessions_;
  std::unordered_map<std::string, std::unique_ptr<RoomHost>> rooms_;
  std::vector<uint64_t> to_pump_;
  std::deque<std::string> to_sweep_;
  bool scheduled_ = false;
  std::vector<std::string> rooms_closing_;

  struct Parted {
    Position head;
    int64_t until_us = 0;
  };
  std::unordered_map<std::string, Parted> parted_;  // rooms that left memory while their heads were announced
  std::deque<std::string> to_compare_;
  bool comparing_ = false;    // a question is open, or is put again soon
  bool compare_all_ = false;  // again, when to_compare_ is through
  uint64_t compares_ = 0;

  Function<void()> drained_;
  int64_t ticked_us_ = 0;  // 0: not yet
  int64_t drain_deadline_us_ = 0;
  bool draining_ = false;
};

}  // namespace tertulia
