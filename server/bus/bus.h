// The door to the other shards and nodes: tells who reads a log that it grew, and carries signals.
//
// A bus may lose, repeat and reorder; whoever listens takes message n+1 only after n and only if its chain continues
// his own, and reads what is missing from the store. It never blocks and never queues without bound.
// Thread: any. Ends: unsubscribe before the subscriber goes; the bus outlives all its subscribers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/executor.h"
#include "base/function.h"
#include "base/metrics.h"
#include "room/log_piece.h"

namespace tertulia {

struct BusItem {
  std::string room;
  std::variant<std::shared_ptr<const LogPiece>, Signal, Position> what;  // a position announces the log's head
};

class BusSubscriber {
 public:
  virtual ~BusSubscriber() = default;
  // Where on_bus runs.
  virtual Executor& bus_executor() = 0;
  virtual void on_bus(const std::shared_ptr<const BusItem>& item) = 0;
};

// What a bus between nodes has to say about itself and the others.
class BusWatcher {
 public:
  virtual ~BusWatcher() = default;
  // A node's heartbeat; never this one's own.
  virtual void bus_heard(const std::string& node) = 0;
  // The connection is there (again), and all subscriptions with it: anything may have been missed until now.
  virtual void bus_returned() = 0;
};

class Bus {
 public:
  virtual ~Bus() = default;
  // `ready` runs on the subscriber's executor once everything published from then on will arrive: only then may the
  // log's head be read, or the messages between are lost.
  virtual void subscribe(const std::string& room, BusSubscriber& subscriber, Function<void()> ready) = 0;
  // Items under way may still arrive.
  virtual void unsubscribe(const std::string& room, BusSubscriber& subscriber) = 0;
  // To all subscribers of the room but `from`.
  virtual void publish(std::shared_ptr<const BusItem> item, const BusSubscriber& from) = 0;
  // As publish, to all subscribers of the room: for what no shard of this node has seen happen.
  virtual void publish(std::shared_ptr<const BusItem> item) = 0;

  // --- several nodes; a bus within one process knows none ---

  // Tells the watcher, on the executor. Null: nobody any more.
  virtual void watch(BusWatcher* watcher, Executor* executor) {
    (void)watcher;
    (void)executor;
  }
  // Tells the other nodes that this one lives.
  virtual void beat(const std::string& node) { (void)node; }
  // What keeps it from working just now, in a sentence; empty: nothing.
  virtual std::string trouble() const { return ""; }
  // Thread: any.
  virtual void describe(MetricsSink& sink) const { (void)sink; }
};

}  // namespace tertulia
