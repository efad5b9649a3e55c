// What the server counts, and how it is read.
//
// Hot paths count into plain numbers of their own shard (a load and a store, no locked instruction); whoever has such
// numbers registers a source, a closure that names them when somebody asks. Samples with the same name and labels from
// several sources (one a shard) are added up. So a scrape costs what it costs, and counting costs next to nothing.
//
// A label is one of a few constants: never a user, a room or an address.
// Thread: each class says. Memory: fixed per shard. Ends: a source is gone when its Registration is; after that its
// closure is not called.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/function.h"

namespace tertulia {

// Only grows. Thread: add() from one at a time, value() from any.
class Counter {
 public:
  void add(uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_ = 0;
};

// Goes up and down. Thread: add() and set() from one at a time, value() from any.
class Gauge {
 public:
  void add(int64_t n) { set(value() + n); }
  void set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_ = 0;
};

// A counter for many writers. Thread: any, for both.
class SharedCounter {
 public:
  void add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_ = 0;
};

// How long something took: counts in buckets of powers of two, from 64 µs to 67 s.
// Thread: add() from one at a time, reading from any (sum and counts may be of slightly different moments).
class DurationHistogram {
 public:
  static constexpr size_t buckets = 22;  // the last one: longer than all others
  static constexpr int64_t bound_us(size_t bucket) { return int64_t{64} << bucket; }

  void add_us(int64_t us);
  uint64_t count(size_t bucket) const { return counts_[bucket].value(); }
  uint64_t sum_us() const { return sum_us_.value(); }

 private:
  std::array<Counter, buckets> counts_;
  Counter sum_us_;
};

// A counter for each of a few constants, given as an enum whose last value is `count`.
template <class Kind>
class CountersBy {
 public:
  Counter& operator[](Kind kind) { return counters_[static_cast<size_t>(kind)]; }
  const Counter& operator[](Kind kind) const { return counters_[static_cast<size_t>(kind)]; }

 private:
  std::array<Counter, static_cast<size_t>(Kind::count)> counters_;
};

// What strangers send that is refused.
enum class BadInput : uint8_t {
  http,        // no upgrade request, or a bad one
  origin,      // foreign origin
  frame,       // against the WebSocket protocol: 1002, 1003, 1007, 1009
  json,        // no JSON, or not as we take it
  request,     // no JSON-RPC request
  method,      // unknown method
  params,      // wrong params
  too_large,   // message beyond the limit
  not_member,  // a room not joined, another user's id
  flood,       // pings, empty frames
  count,
};

// Why a connection ended, seen from the server.
enum class Closed : uint8_t {
  by_peer,           // a close frame of the peer's came first
  lost,              // without a close
  protocol_error,    // 1002
  unsupported_data,  // 1003
  invalid_utf8,      // 1007
  policy,            // 1008
  too_big,           // 1009
  restart,           // 1012: drained
  try_again,         // 1013
  silent,            // 4008: nothing was heard
  stalled,           // 4008: nothing was taken
  refused,           // 4500
  normal,            // 1000
  pressure,          // dropped to make room: no room joined, oldest first
  name_lost,         // 1013: this node's lease was lost, and the name is another user's by now
  count,
};

// One shard's numbers. Thread: written by the shard's own, read by any.
struct alignas(64) ShardMetrics {
  // Connections and members.
  Gauge sessions;    // WebSocket connections
  Gauge members;     // (session, room) pairs
  Gauge rooms;       // with a member here
  Counter accepted;  // connections accepted
  Counter refused;   // connections refused: limits or drain
  CountersBy<Closed> closes;
  CountersBy<BadInput> bad_input;

  // The flow of messages.
  Counter messages;        // of own senders, new and committed
  Counter repeats;         // resent, answered with the first position
  Counter conflicts;       // uuid of another body
  Counter store_refusals;  // messages the store takes never
  Counter deliveries;      // message frames handed to the kernel whole, the sender's own included
  Counter bytes_out;       // handed to the kernel
  Counter bytes_in;
  Counter flushes;           // send calls; deliveries ÷ flushes tells how well batching works
  Counter requests;          // JSON-RPC requests understood
  Counter signals;           // joined, left, typing, read: sent
  Counter signals_dropped;   // beyond their rate
  Counter reads_paused;      // times a session was left unread: allowance, store or own answers
  Gauge sessions_paused;     // left unread now
  DurationHistogram ack_us;  // from a message's arrival to its commit

  // Waiting.
  Gauge waiting_messages;  // accepted, not yet committed
  Gauge waiting_bytes;

  // Logs and cursors.
  Gauge tail_bytes;           // encoded frames held
  Counter catch_up_reads;     // pages read from the store for members behind the tail
  Counter gap_reads;          // pages read because the bus left something out
  Counter bus_dropped;        // items of the bus that were old, repeated or did not fit
  Counter resets;             // members told that what they hold is not this log's past
  Counter positions_refused;  // positions of clients that did not fit
  Counter skips;              // catch-ups cut short by a limit
  Counter not_now;            // joins and reads refused because the store was away

  // Several nodes, and a store that may go back.
  Counter heads_compared;  // heads asked of the store because something may have been missed
  Counter heads_behind;    // of these, rooms of which something was missing here
  Counter suspicions;      // the store, the bus or a page told of another log than the one held
  Counter false_alarms;    // of these, settled: the store has what is held
  Counter pasts_changed;   // of these, confirmed: a room's log is another than the one its members had seen
};

// What a source says when it is asked. Thread: the one that renders.
class MetricsSink {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;
  virtual ~MetricsSink() = default;
  // `name` and `help` as Prometheus shows them; a counter's name ends in _total. Equal names have equal help and type.
  virtual void counter(std::string_view name, std::string_view help, double value, Labels labels = {}) = 0;
  virtual void gauge(std::string_view name, std::string_view help, double value, Labels labels = {}) = 0;
  // Shown in seconds.
  virtual void histogram(std::string_view name, std::string_view help, const DurationHistogram& value,
                         Labels labels = {}) = 0;
};

void describe(const ShardMetrics& metrics, MetricsSink& sink);
// The process: memory by the allocator and the kernel, processor time, open files, when it was started, its version.
// `started_unix_ms` is when the process began.
void describe_process(MetricsSink& sink, int64_t started_unix_ms, std::string_view version);

// Thread: any. Ends: after all its registrations.
class MetricsRegistry {
 public:
  using Source = Function<void(MetricsSink&)>;

  // Ends a registration. Waits for a render under way, so what the closure refers to may go right after.
  class [[nodiscard]] Registration {
   public:
    Registration() = default;
    Registration(Registration&& other) noexcept : registry_(std::exchange(other.registry_, nullptr)), id_(other.id_) {}
    Registration& operator=(Registration&& other) noexcept;
    ~Registration() { end(); }
    void end();

   private:
    friend class MetricsRegistry;
    Registration(MetricsRegistry* registry, uint64_t id) : registry_(registry), id_(id) {}
    MetricsRegistry* registry_ = nullptr;
    uint64_t id_ = 0;
  };

  // `source` is called at each render, on that thread, one source at a time; it must not call the registry.
  Registration add(Source source);
  // Everything, in Prometheus' text format.
  std::string render();

 private:
  std::mutex mutex_;
  uint64_t next_id_ = 1;                // under mutex_
  std::map<uint64_t, Source> sources_;  // under mutex_
};

}  // namespace tertulia
