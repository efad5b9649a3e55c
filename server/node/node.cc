#include "node/node.h"

#include <atomic>
#include <utility>

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
               clock.now_us(), {},     {},  {}},
      loops_(loops) {
  for (const Loop& loop : loops) shards_.push_back(std::make_unique<Shard>(context_, *loop.executor, *loop.timers));
}

void Node::start() {
  for (size_t i = 0; i < shards_.size(); ++i) loops_[i].executor->post([shard = shards_[i].get()] { shard->start(); });
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
  for (size_t i = 0; i < shards_.size(); ++i)
    loops_[i].executor->post([shard = shards_[i].get(), live] { shard->reload(live); });
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
}

}  // namespace tertulia
