// A small world for tests: shards over a memory store, in one thread, with a clock that stands still and connections
// whose kernel takes what it is told. Everything that happens, happens in run().
#pragma once

#include <unistd.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "bus/local_bus.h"
#include "node/node.h"
#include "protocol/websocket.h"
#include "store/memory_store.h"

namespace tertulia {

// Runs what is posted and what is due, in order, when told.
class HandLoop final : public Executor, public Timers {
 public:
  explicit HandLoop(const Clock& clock) : clock_(clock) {}
  void post(Function<void()> task) override { tasks_.push_back(std::move(task)); }
  Id after(int64_t delay_us, Function<void()> task) override {
    timers_.emplace(std::pair(clock_.now_us() + delay_us, ++last_), std::move(task));
    return last_;
  }
  void cancel(Id id) override {
    std::erase_if(timers_, [&](const auto& each) { return each.first.second == id; });
  }
  bool run_one() {
    if (!tasks_.empty()) {
      const Function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
      return true;
    }
    if (timers_.empty() || timers_.begin()->first.first > clock_.now_us()) return false;
    const Function<void()> task = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    task();
    return true;
  }

 private:
  const Clock& clock_;
  std::deque<Function<void()>> tasks_;
  std::map<std::pair<int64_t, Id>, Function<void()>> timers_;
  Id last_ = 0;
};

// The client's end of a connection. The transport is the session's; this outlives it.
struct Wire {
  // --- what a test does ---
  std::vector<std::string> take() { return std::exchange(frames, {}); }  // texts received since the last take
  // --- what a test sets ---
  size_t kernel_takes = SIZE_MAX;  // bytes it takes from now on
  // --- what a test sees ---
  std::vector<std::string> frames;
  int close_code = 0;  // of the server's close frame
  bool ended = false;  // the server has ended the connection
  bool reading = true;
  size_t pings = 0;

  void receive(std::string_view bytes);

  TransportUser* user = nullptr;
  bool wants_writable = false, fin = false;
  std::string half;
  TransportHealth health;
};

class WireTransport final : public Transport {
 public:
  WireTransport(std::shared_ptr<Wire> wire, HandLoop& loop) : wire_(std::move(wire)), loop_(loop) {}
  ~WireTransport() override { wire_->user = nullptr; }
  void set_user(TransportUser* user) override { wire_->user = user; }
  int64_t send(std::span<const iovec> pieces) override {
    int64_t taken = 0;
    for (const iovec& piece : pieces) {
      const size_t bytes = std::min(piece.iov_len, wire_->kernel_takes);
      wire_->receive({static_cast<const char*>(piece.iov_base), bytes});
      wire_->kernel_takes -= wire_->kernel_takes == SIZE_MAX ? 0 : bytes;
      taken += static_cast<int64_t>(bytes);
      if (bytes < piece.iov_len) break;
    }
    return taken;
  }
  void want_writable() override { wire_->wants_writable = true; }
  void set_reading(bool on) override { wire_->reading = on; }
  void close() override { end(); }
  void abort() override { end(); }
  TransportHealth health() const override { return wire_->health; }

 private:
  void end() {
    if (std::exchange(wire_->ended, true)) return;
    loop_.post([wire = wire_] {
      if (wire->user != nullptr) wire->user->on_closed();
    });
  }
  std::shared_ptr<Wire> wire_;
  HandLoop& loop_;
};

inline void Wire::receive(std::string_view bytes) {
  half += bytes;
  while (half.size() >= 2) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(half[i]); };
    size_t length = byte(1), head = 2;
    if (length == 126) {
      if (half.size() < 4) return;
      length = static_cast<size_t>(byte(2)) << 8 | byte(3);
      head = 4;
    } else if (length == 127) {
      if (half.size() < 10) return;
      length = 0;
      for (size_t i = 2; i < 10; ++i) length = length << 8 | byte(i);
      head = 10;
    }
    if (half.size() < head + length) return;
    const std::string payload = half.substr(head, length);
    switch (static_cast<Opcode>(byte(0) & 15)) {
      case Opcode::text: frames.push_back(payload); break;
      case Opcode::ping: ++pings; break;
      case Opcode::close:
        close_code =
            payload.size() >= 2 ? static_cast<uint8_t>(payload[0]) << 8 | static_cast<uint8_t>(payload[1]) : 1005;
        break;
      default: break;
    }
    half.erase(0, head + length);
  }
}

// What any of these worlds has: time, chance, loops, and hands that do what clients do.
class Hands {
 public:
  // A text frame of the client's; more than one may be sent before run().
  void send_only(Wire& wire, std::string_view text, Opcode opcode = Opcode::text) {
    std::string frame;
    append_frame(frame, opcode, text);
    const size_t head = frame.size() - text.size();
    frame[1] = static_cast<char>(static_cast<uint8_t>(frame[1]) | 0x80);
    frame.insert(head, 4, '\0');  // a mask of zeros changes nothing
    if (wire.user != nullptr) wire.user->on_bytes(frame.data(), frame.size());
  }
  void send(Wire& wire, std::string_view text) {
    send_only(wire, text);
    run();
  }
  void closes(Wire& wire, uint16_t code) {
    const char bytes[2] = {static_cast<char>(code >> 8), static_cast<char>(code & 255)};
    send_only(wire, {bytes, 2}, Opcode::close);
    run();
  }
  void is_lost(Wire& wire) {
    wire.ended = true;
    if (wire.user != nullptr) wire.user->on_closed();
    run();
  }
  // The kernel takes this much more.
  void reads(Wire& wire, size_t bytes = SIZE_MAX) {
    wire.kernel_takes = bytes;
    if (std::exchange(wire.wants_writable, false) && wire.user != nullptr) wire.user->on_writable();
    run();
  }
  void run() {
    for (bool busy = true; busy;) {
      busy = false;
      for (const auto& loop : loops) busy |= loop->run_one();
    }
  }
  void passes_ms(int64_t ms) {
    for (; ms > 0; ms -= 100) {
      clock.advance_ms(std::min<int64_t>(ms, 100));
      run();
    }
  }

  ManualClock clock;
  SeededRandom random{1};
  Log log{clock, STDERR_FILENO, LogFormat::plain, LogLevel::error};
  std::vector<std::unique_ptr<HandLoop>> loops;

 protected:
  std::shared_ptr<Wire> open(Node& node, size_t shard, HandLoop& loop, Dialect dialect, const std::string& address) {
    auto wire = std::make_shared<Wire>();
    node.shard(shard).open(std::make_unique<WireTransport>(wire, loop), {dialect, address});
    run();
    return wire;
  }
};

class World : public Hands {
 public:
  explicit World(Options options = {}, size_t shards = 2, bool just_started = false) {
    StoreOptions store_options;
    store_options.claims.name_grace_ms = options.name_grace_ms;
    store = std::make_unique<MemoryStore>(store_options, clock);
    std::vector<Node::Loop> doors;
    for (size_t i = 0; i < shards; ++i) loops.push_back(std::make_unique<HandLoop>(clock));
    for (const auto& loop : loops) doors.push_back({loop.get(), loop.get()});
    node = std::make_unique<Node>(clock, random, log, *store, bus, std::move(options), "test", doors);
    node->start();
    // A node that has just started keeps names for those who return; most tests are about later.
    if (!just_started) clock.advance_ms(60'000);
    run();
  }

  std::shared_ptr<Wire> connect(Dialect dialect, size_t shard = 0, const std::string& address = "192.0.2.1") {
    return open(*node, shard, *loops[shard], dialect, address);
  }

  LocalBus bus;
  std::unique_ptr<MemoryStore> store;
  std::unique_ptr<Node> node;
};

}  // namespace tertulia
