// The bus between nodes, over NATS: a LocalBus for this node's shards, and one connection to one of several servers.
//
// A room is subscribed to at the server while a shard here has it, under a subject that is a hash of its name. What is
// published goes to the own shards at once, and to the others through a bounded queue that drops; what is heard goes to
// the own shards. While no server can be reached the node's own shards hear each other as ever; whoever subscribes
// waits `ready_wait_ms` for the bus and is then told *ready* without it. So whenever something may have been missed,
// the watcher's bus_returned() is called: after every connection once all subscriptions stand at the server, when a
// subscription stands whose subscriber had stopped waiting for it, and when what came was dropped here.
//
//   shards -> outbox (thread "bus-out") -> pump -> server -> pump ("bus-pump") -> a thread of libnats -> LocalBus ->
//   shards
//             keeper (thread "bus-keeper"): connects, subscribes, flushes; blocks for a second at most
//             timer (thread "bus-timer"): ends waiting; never blocks
//
// Thread: any. Memory: an entry a room with a subscriber; queues are bounded. Ends: stop() or the destructor, within
// some seconds whatever the servers do. Subscribers and the watcher are gone by then.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/worker.h"
#include "bus/bus.h"
#include "bus/nats_link.h"
#include "bus/nats_outbox.h"
#include "bus/nats_url.h"

namespace tertulia {

struct NatsOptions {
  NatsCredentials credentials;
  int64_t ready_wait_ms = 1'000;
  int64_t connect_wait_ms = 4'000;  // for one server, then the next is tried
  NatsOutbox::Limits outbox;
  Log* log = nullptr;
};

class NatsBus final : public Bus {
 public:
  struct Opened {
    std::unique_ptr<NatsBus> bus;  // nothing: `error` says what and what to do
    std::string error;
  };
  // Does not wait for a server: one that is away must not keep the node from starting.
  [[nodiscard]] static Opened open(const std::string& urls, const NatsOptions& options, const Clock& clock,
                                   Random& random);
  ~NatsBus() override;

  void subscribe(const std::string& room, BusSubscriber& subscriber, Function<void()> ready) override;
  void unsubscribe(const std::string& room, BusSubscriber& subscriber) override;
  void publish(std::shared_ptr<const BusItem> item, const BusSubscriber& from) override;
  void publish(std::shared_ptr<const BusItem> item) override;
  void watch(BusWatcher* watcher, Executor* executor) override;
  void beat(const std::string& node) override;
  std::string trouble() const override;
  void describe(MetricsSink& sink) const override;

  void stop();

  struct Counts {
    uint64_t published, received;      // messages of the network
    uint64_t dropped_out, dropped_in;  // items not sent; times that the library dropped what had come
    uint64_t not_understood;           // foreign, malformed, of another version
    uint64_t connections;              // made since the start
  };
  Counts counts() const;

 private:
  struct Inlet;    // what the library's threads use; outlives the bus while one of them is under way
  struct Mailbox;  // the way back from threads that may outlive the bus
  struct Room {
    std::vector<BusSubscriber*> subscribers;
    NatsLink::Line* line = nullptr;  // of link_
    bool stands = false;             // the server has it
    bool unsure = false;             // somebody was told ready before it was true
  };
  struct Waiter {
    std::string room;
    BusSubscriber* subscriber;
    Function<void()> ready;
    int64_t until_us;
  };
  struct Server {
    NatsServer at;
    std::thread attempt;
    bool busy = false;  // the attempt has not ended, whether or not it is still waited for
  };

  NatsBus(std::vector<NatsServer> servers, const NatsOptions& options, const Clock& clock, Random& random);
  void start();

  // The keeper's.
  void connect_next();
  void arrived(uint64_t id, size_t server, std::shared_ptr<NatsLink> link, bool refused, const std::string& why);
  void give_up(uint64_t id);
  void failed(const std::string& why, bool refused);
  void linked(std::shared_ptr<NatsLink> link);
  void lose(uint64_t id, const std::string& why);
  void lose_if(const std::shared_ptr<NatsLink>& link);
  void denied(uint64_t id, const std::string& what);
  void sync();
  bool subscribe_missing(const std::vector<std::string>& rooms);
  bool flushed();
  void settle();
  void tick();
  void say(const std::string& trouble, LogLevel level);
  void pause_before_connecting();

  // Under mutex_.
  void kick();
  void wake_timer(int64_t us);
  void fire(Waiter& waiter);

  void expire();  // the timer's
  bool stands(const std::string& room) const;

  // Constant after construction.
  const NatsOptions options_;
  const Clock& clock_;
  Random& random_;
  const std::string addresses_;
  const std::shared_ptr<Inlet> inlet_;
  const std::shared_ptr<Mailbox> mailbox_;

  // The keeper's.
  std::vector<Server> servers_;
  size_t next_server_ = 0, tried_ = 0;
  int64_t pause_us_ = 0, linked_us_ = 0;
  uint64_t last_id_ = 0, attempt_ = 0, link_id_ = 0;  // 0: none
  std::shared_ptr<NatsLink> link_;
  std::vector<std::pair<int64_t, std::shared_ptr<NatsLink>>> former_;  // not yet to be destroyed, with the time
  bool unflushed_ = false;
  std::vector<std::string> fresh_;  // rooms whose lines were made since the last flush
  uint64_t gaps_told_ = 0;
  int unanswered_ = 0;        // flushes in a row
  bool tell_return_ = false;  // the next time that all stands

  // Any thread.
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Room> rooms_;  // under mutex_; lines are changed by the keeper only
  std::vector<Waiter> waiters_;                  // under mutex_
  std::unordered_set<std::string> dirty_;        // under mutex_: rooms that gained a first or lost a last subscriber
  bool kicked_ = false, timing_ = false;         // under mutex_
  bool connected_ = false;                       // under mutex_
  int64_t away_since_us_;                        // under mutex_
  std::string trouble_;                          // under mutex_; empty: none
  SharedCounter connections_;
  bool stopped_ = false;  // of whoever stops

  std::unique_ptr<Worker> timer_, keeper_;
  std::unique_ptr<NatsOutbox> outbox_;
};

}  // namespace tertulia
