// A town for tests: several nodes over one store and a bus between them, in one thread, with a clock that stands still.
// The store may go back, and answer from an old past as a lagging reader or a deposed primary does; the bus loses and
// cuts off; leases are what the test says.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "node/world.h"

namespace tertulia {

class Town;

// The logs and claims that all nodes share.
struct TownStore {
  TownStore(const StoreOptions& o, const Clock& c) : options(o), clock(c), claims(o, c) {
    logs = std::make_unique<MemoryStore>(options, clock);
  }
  const StoreOptions options;
  const Clock& clock;
  MemoryStore claims;                                // names
  std::unique_ptr<MemoryStore> logs;                 // what the store is
  std::unique_ptr<MemoryStore> before;               // what it was before it went back
  std::map<std::string, std::vector<Message>> said;  // everything that was ever added, by room, in order
};

// One node's door to it.
class TownDoor final : public Store {
 public:
  TownDoor(TownStore& shared, std::string name) : node_name(std::move(name)), shared_(shared) {}

  // --- what a test sets ---
  std::string node_name;
  std::vector<std::string> living;  // its peers
  bool speaks = true, away = false, fenced = false;
  bool reads_the_past = false;  // reads and heads come from before the store went back; confirm() does not
  bool cannot_confirm = false;
  // --- what a test sees ---
  size_t confirms = 0, questions = 0, questions_open = 0, questions_open_max = 0, reads = 0;
  std::vector<std::vector<std::string>> asked;  // each question's rooms
  std::vector<std::pair<std::string, Position>> heard_of;
  StoreWatcher* watcher = nullptr;
  Executor* watcher_executor = nullptr;

  void append(std::string room, Position known, std::vector<Message> messages, Executor& executor,
              Callback<AppendResult> done) override {
    if (away || fenced) {
      AppendResult result;
      result.status = fenced ? AppendResult::Status::fenced : AppendResult::Status::not_now;
      executor.post([done = std::move(done), result] { done(result); });
      return;
    }
    std::vector<Message> copy = messages;
    shared_.logs->append(room, known, std::move(messages), executor,
                         [this, room, copy = std::move(copy), done = std::move(done)](AppendResult result) {
                           for (size_t i = 0; i < result.each.size(); ++i)
                             if (result.each[i].kind == Appended::Kind::added) shared_.said[room].push_back(copy[i]);
                           done(std::move(result));
                         });
  }
  void read(std::string room, Position after, size_t limit, size_t bytes_max, Executor& executor,
            Callback<Rows> done) override {
    ++reads;
    if (answers_away(executor, done)) return;
    logs().read(std::move(room), after, limit, bytes_max, executor, std::move(done));
  }
  void read_last(std::string room, size_t limit, size_t bytes_max, Executor& executor, Callback<Rows> done) override {
    if (answers_away(executor, done)) return;
    logs().read_last(std::move(room), limit, bytes_max, executor, std::move(done));
  }
  void read_range(std::string room, Sequence sequence, bool backwards, size_t limit, size_t bytes_max,
                  Executor& executor, Callback<Rows> done) override {
    if (answers_away(executor, done)) return;
    logs().read_range(std::move(room), sequence, backwards, limit, bytes_max, executor, std::move(done));
  }
  void find(std::string room, std::string uuid, Executor& executor, Callback<Rows> done) override {
    if (answers_away(executor, done)) return;
    logs().find(std::move(room), std::move(uuid), executor, std::move(done));
  }
  void heads(std::vector<std::string> rooms, Executor& executor,
             Callback<std::optional<std::vector<Position>>> done) override {
    ++questions;
    asked.push_back(rooms);
    if (away) {
      executor.post([done = std::move(done)] { done(std::nullopt); });
      return;
    }
    questions_open_max = std::max(questions_open_max, ++questions_open);
    logs().heads(std::move(rooms), executor,
                 [this, done = std::move(done)](std::optional<std::vector<Position>> heads) {
                   --questions_open;
                   done(std::move(heads));
                 });
  }
  void confirm(std::string room, Position position, Executor& executor, Callback<Rows> done) override {
    ++confirms;
    if (away || cannot_confirm) {
      executor.post([done = std::move(done)] { done(Rows{}); });
      return;
    }
    shared_.logs->read(std::move(room), position, 1, 1, executor, std::move(done));
  }
  void heard(const std::string& room, const Position& position) override { heard_of.emplace_back(room, position); }

  void mark_read(std::string room, std::string user_id, Sequence sequence) override {
    shared_.logs->mark_read(std::move(room), std::move(user_id), sequence);
  }
  void read_marker(std::string room, std::string user_id, Executor& executor,
                   Callback<std::optional<Sequence>> done) override {
    shared_.logs->read_marker(std::move(room), std::move(user_id), executor, std::move(done));
  }
  void claim(ClaimRequest request, Executor& executor, Callback<ClaimResult> done) override {
    if (away || !speaks) {
      executor.post([done = std::move(done)] { done(ClaimResult{}); });
      return;
    }
    shared_.claims.claim(std::move(request), executor, std::move(done));
  }
  void release(std::string room, std::string user_id, bool clean, Executor& executor,
               Callback<ReleaseResult> done) override {
    shared_.claims.release(std::move(room), std::move(user_id), clean, executor, std::move(done));
  }
  void release_reloading(std::string room, std::string user_id, Executor& executor,
                         Callback<ReleaseResult> done) override {
    shared_.claims.release_reloading(std::move(room), std::move(user_id), executor, std::move(done));
  }
  void expire(std::string room, std::string user_id, Executor& executor, Callback<ReleaseResult> done) override {
    shared_.claims.expire(std::move(room), std::move(user_id), executor, std::move(done));
  }
  void member_name(std::string room, std::string user_id, Executor& executor,
                   Callback<std::optional<std::string>> done) override {
    shared_.claims.member_name(std::move(room), std::move(user_id), executor, std::move(done));
  }
  void members(std::string room, std::string after, size_t limit, Executor& executor,
               Callback<MemberList> done) override {
    shared_.claims.members(std::move(room), std::move(after), limit, executor, std::move(done));
  }
  void members_count(std::string room, Executor& executor, Callback<uint64_t> done) override {
    shared_.claims.members_count(std::move(room), executor, std::move(done));
  }
  void watch(StoreWatcher* who, Executor* executor) override {
    watcher = who;
    watcher_executor = executor;
  }
  std::string node() const override { return node_name; }
  std::vector<std::string> peers() const override { return living; }
  bool may_speak() const override { return speaks; }
  void stop(bool) override {}

 private:
  MemoryStore& logs() { return reads_the_past && shared_.before ? *shared_.before : *shared_.logs; }
  bool answers_away(Executor& executor, Callback<Rows>& done) {
    if (!away) return false;
    executor.post([done = std::move(done)] { done(Rows{}); });
    return true;
  }
  TownStore& shared_;
};

// One node's end of the bus: a local one, and lines to the others'.
class TownBus final : public Bus {
 public:
  bool is_cut = false;  // nothing comes in or goes out
  std::vector<TownBus*> others;
  BusWatcher* watcher = nullptr;
  Executor* watcher_executor = nullptr;
  LocalBus local;

  void subscribe(const std::string& room, BusSubscriber& subscriber, Function<void()> ready) override {
    local.subscribe(room, subscriber, std::move(ready));
  }
  void unsubscribe(const std::string& room, BusSubscriber& subscriber) override { local.unsubscribe(room, subscriber); }
  void publish(std::shared_ptr<const BusItem> item, const BusSubscriber& from) override {
    local.publish(item, from);
    send(item);
  }
  void publish(std::shared_ptr<const BusItem> item) override {
    local.publish(item);
    send(item);
  }
  void watch(BusWatcher* who, Executor* executor) override {
    watcher = who;
    watcher_executor = executor;
  }
  void beat(const std::string& node) override {
    if (is_cut) return;
    for (TownBus* other : others)
      if (!other->is_cut && other->watcher != nullptr)
        other->watcher_executor->post([other, node] {
          if (other->watcher != nullptr) other->watcher->bus_heard(node);
        });
  }

 private:
  void send(const std::shared_ptr<const BusItem>& item) {
    if (is_cut) return;
    for (TownBus* other : others)
      if (!other->is_cut) other->local.publish(item);
  }
};

class Town : public Hands {
 public:
  struct Place {
    std::unique_ptr<TownDoor> store;
    std::unique_ptr<TownBus> bus;
    std::unique_ptr<Node> node;
    HandLoop* loop = nullptr;
  };

  explicit Town(size_t nodes = 2, const Options& options = {}) : shared(store_options(options), clock) {
    for (size_t i = 0; i < nodes; ++i) {
      Place& place = places.emplace_back();
      loops.push_back(std::make_unique<HandLoop>(clock));
      place.loop = loops.back().get();
      place.store = std::make_unique<TownDoor>(shared, "node-" + std::to_string(i));
      place.bus = std::make_unique<TownBus>();
    }
    for (size_t i = 0; i < nodes; ++i) {
      for (size_t k = 0; k < nodes; ++k) {
        if (k == i) continue;
        places[i].store->living.push_back(places[k].store->node_name);
        places[i].bus->others.push_back(places[k].bus.get());
      }
      const std::vector<Node::Loop> doors{{places[i].loop, places[i].loop}};
      places[i].node =
          std::make_unique<Node>(clock, random, log, *places[i].store, *places[i].bus, options, "test", doors);
      places[i].node->start();
    }
    passes_ms(2'000);
  }

  std::shared_ptr<Wire> connect(Dialect dialect, size_t at = 0) {
    return open(*places[at].node, 0, *places[at].loop, dialect, "192.0.2.1");
  }
  // A backup is restored: only the first `kept` messages of each room ever were; what came behind may be said instead.
  void store_goes_back(size_t kept) {
    shared.before = std::move(shared.logs);
    shared.logs = std::make_unique<MemoryStore>(shared.options, clock);
    for (auto& [room, messages] : shared.said) {
      messages.resize(std::min(messages.size(), kept));
      if (messages.empty()) continue;
      shared.logs->append(room, {0, chain_start(room)}, messages, *loops[0], [](AppendResult) {});
    }
  }
  // What a reader that lags would still show: only the first `kept` messages of each room.
  void past_was(size_t kept) {
    shared.before = std::make_unique<MemoryStore>(shared.options, clock);
    for (auto& [room, messages] : shared.said) {
      const std::vector<Message> old(messages.begin(),
                                     messages.begin() + static_cast<ptrdiff_t>(std::min(kept, messages.size())));
      shared.before->append(room, {0, chain_start(room)}, old, *loops[0], [](AppendResult) {});
    }
  }
  // Somebody else, who is no node of this town, adds to the log; nobody is told.
  Position adds(const std::string& room, const std::string& uuid, const std::string& text) {
    Message message{.uuid = uuid, .user_id = "x", .user_name = "X", .text = text, .id_json = "1"};
    Position at;
    shared.said[room].push_back(message);
    shared.logs->append(room, {0, chain_start(room)}, {message}, *loops[0],
                        [&](AppendResult result) { at = result.each[0].position; });
    run();
    return at;
  }
  void store_returned(size_t at) {
    places[at].store->watcher_executor->post([watcher = places[at].store->watcher] { watcher->store_returned(); });
    run();
  }
  void bus_returned(size_t at) {
    places[at].bus->watcher_executor->post([watcher = places[at].bus->watcher] { watcher->bus_returned(); });
    run();
  }
  const ShardMetrics& metrics(size_t at) { return std::as_const(places[at].node->shard(0)).metrics(); }
  const RoomLog& log_at(size_t at, const std::string& room = "plaza") {
    return places[at].node->shard(0).find_room(room)->log();
  }

  TownStore shared;
  std::vector<Place> places;

 private:
  static StoreOptions store_options(const Options& options) {
    StoreOptions out;
    out.claims.name_grace_ms = options.name_grace_ms;
    return out;
  }
};

}  // namespace tertulia
