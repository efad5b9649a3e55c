#include "node/node.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/failpoint.h"
#include "protocol/base64url.h"

namespace tertulia {
namespace {

std::string random_node_id(Random& random) {
  uint8_t bits[9];
  random.fill(bits);
  std::string text;
  append_base64url(text, bits);
  return text;
}

}  // namespace

Node::Node(Clock& clock, Random& random, Log& log, Store& store, Bus& bus, Options options, std::string version,
           const std::vector<Loop>& loops)
    : context_{clock,          random, log, store, bus, std::move(options), random_node_id(random), std::move(version),
               clock.now_us(), {},     {},  {},    {}},
      loops_(loops) {
  for (const Loop& loop : loops) shards_.push_back(std::make_unique<Shard>(context_, *loop.executor, *loop.timers));
}

Node::~Node() {
  context_.store.watch(nullptr, nullptr);
  context_.bus.watch(nullptr, nullptr);
}

template <class F>
void Node::on_all(F call) {
  for (size_t i = 0; i < shards_.size(); ++i)
    loops_[i].executor->post([shard = shards_[i].get(), call] { call(*shard); });
}

void Node::start() {
  context_.store.watch(this, loops_[0].executor);
  context_.bus.watch(this, loops_[0].executor);
  on_all([](Shard& shard) { shard.start(); });
  loops_[0].executor->post([this] { watch_step(); });
}

// --- other nodes ---

void Node::watch_step() {
  if (watch_timer_ != 0) loops_[0].timers->cancel(watch_timer_);
  const int64_t now = context_.clock.now_us();
  const std::string lease = context_.store.node();
  const std::vector<std::string> peers = context_.store.peers();
  const BusWatch::Effects effects = watch_.step(lease, peers, now);
  if (effects.beat) context_.bus.beat(lease);
  if (effects.compare) {
    on_all([returned = std::exchange(store_returned_, false)](Shard& shard) {
      if (returned) shard.store_returned();
      shard.compare_heads();
    });
  }
  note_lease(lease, peers.size());
  watch_timer_ = loops_[0].timers->after(std::max<int64_t>(effects.next_us - now, 1'000), [this] {
    watch_timer_ = 0;
    watch_step();
  });
}

void Node::note_lease(const std::string& lease, size_t peers_count) {
  peers_.set(static_cast<int64_t>(peers_count));
  silent_peers_.set(static_cast<int64_t>(watch_.silent_count()));
  if (lease == lease_) return;
  if (!lease_.empty()) {
    leases_lost_.add();
    context_.log.error("node", "the lease was lost: others took this node for dead, and may have taken names",
                       {{"lease", lease_}, {"new_lease", lease}});
  }
  lease_ = lease;
}

void Node::store_returned() {
  if (FAILPOINT("unsafe_trust_the_returned_store")) return;
  store_returned_ = true;
  watch_.returned();
  watch_step();
}

void Node::bus_returned() {
  watch_.returned();
  watch_step();
}

void Node::bus_heard(const std::string& node) {
  watch_.heard(node, context_.clock.now_us());
}

void Node::departed(const std::string& room, const std::string& user_id, const std::string& user_name,
                    uint64_t members_count) {
  departed_.add();
  context_.bus.publish(std::make_shared<BusItem>(
      BusItem{room, Signal{Signal::Kind::left, user_id, user_name, 0, members_count, false}}));
}

// Existing clients, who never hear that anybody left, need not be told either.
void Node::arrived(const std::string& room, const std::string& user_id, const std::string& user_name,
                   uint64_t members_count) {
  context_.bus.publish(std::make_shared<BusItem>(
      BusItem{room, Signal{Signal::Kind::joined, user_id, user_name, 0, members_count, true}}));
}

void Node::name_lost(const std::string& room, const std::string& name_folded, const std::string& user_id) {
  names_lost_.add();
  on_all([room, name_folded, user_id](Shard& shard) { shard.name_lost(room, name_folded, user_id); });
}

void Node::drain(int64_t window_ms, Function<void()> done) {
  if (context_.draining.exchange(true)) return;
  struct Progress {
    std::atomic<size_t> left;
    Function<void()> done;
  };
  auto progress = std::make_shared<Progress>();
  progress->left = shards_.size();
  progress->done = std::move(done);
  for (size_t i = 0; i < shards_.size(); ++i) {
    loops_[i].executor->post([shard = shards_[i].get(), window_ms, progress] {
      shard->drain(window_ms, [progress] {
        if (progress->left.fetch_sub(1) == 1) progress->done();
      });
    });
  }
}

void Node::reload(const Options::Live& live) {
  on_all([live](Shard& shard) { shard.reload(live); });
}

int64_t Node::members_count() const {
  int64_t count = 0;
  for (const auto& shard : shards_) count += std::as_const(*shard).metrics().members.value();
  return count;
}

int64_t Node::sessions_count() const {
  int64_t count = 0;
  for (const auto& shard : shards_) count += std::as_const(*shard).metrics().sessions.value();
  return count;
}

void Node::describe(MetricsSink& sink) const {
  for (const auto& shard : shards_) tertulia::describe(std::as_const(*shard).metrics(), sink);
  const auto gauge = [&](const char* name, const char* help, int64_t value) {
    sink.gauge(name, help, static_cast<double>(value));
  };
  const auto counter = [&](const char* name, const char* help, const Counter& value) {
    sink.counter(name, help, static_cast<double>(value.value()));
  };
  gauge("tertulia_store_trouble", "1 while something keeps the store from working; /readyz says what",
        context_.store.trouble().empty() ? 0 : 1);
  gauge("tertulia_bus_trouble", "1 while something keeps the bus from working; /readyz says what",
        context_.bus.trouble().empty() ? 0 : 1);
  gauge("tertulia_may_speak", "0 while this node's lease is in doubt", context_.store.may_speak() ? 1 : 0);
  gauge("tertulia_peers", "Other nodes whose leases are alive", peers_.value());
  gauge("tertulia_peers_silent", "Of these, nodes that the bus has not told of for a second", silent_peers_.value());
  counter("tertulia_leases_lost_total", "Times that others took this node for dead", leases_lost_);
  counter("tertulia_names_lost_total", "Names taken by others meanwhile", names_lost_);
  counter("tertulia_departed_total", "Users of dead nodes whom this node has said to have left", departed_);
  // The only labels that name a room, and by its hash: a log that went back is rare, and somebody must look into it.
  for (const PastChanges::Change& each : context_.past_changes.newest())
    sink.gauge("tertulia_past_changed", "The newest rooms whose log went back: held, and found instead", 1,
               {{"room", each.room}, {"held", each.held}, {"now", each.now}});
}

}  // namespace tertulia
