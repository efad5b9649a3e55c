#include "base/metrics.h"

#include <dirent.h>
#include <malloc.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <sstream>

#include "base/check.h"

namespace tertulia {
namespace {

// Adds up what the sources say, by name and labels.
class Collection final : public MetricsSink {
 public:
  void counter(std::string_view name, std::string_view help, double value, Labels labels) override {
    metric(name, help, prometheus::MetricType::Counter, labels).counter.value += value;
  }

  void gauge(std::string_view name, std::string_view help, double value, Labels labels) override {
    metric(name, help, prometheus::MetricType::Gauge, labels).gauge.value += value;
  }

  void histogram(std::string_view name, std::string_view help, const DurationHistogram& value, Labels labels) override {
    auto& sum = metric(name, help, prometheus::MetricType::Histogram, labels).histogram;
    sum.bucket.resize(DurationHistogram::buckets);
    uint64_t cumulative = 0;
    for (size_t i = 0; i < DurationHistogram::buckets; ++i) {
      cumulative += value.count(i);
      sum.bucket[i].cumulative_count += cumulative;
      sum.bucket[i].upper_bound = i + 1 == DurationHistogram::buckets
                                      ? std::numeric_limits<double>::infinity()
                                      : static_cast<double>(DurationHistogram::bound_us(i)) / 1e6;
    }
    sum.sample_count += cumulative;
    sum.sample_sum += static_cast<double>(value.sum_us()) / 1e6;
  }

  std::vector<prometheus::MetricFamily> families() && {
    std::vector<prometheus::MetricFamily> list;
    for (auto& [name, family] : families_) list.push_back(std::move(family));
    return list;
  }

 private:
  prometheus::ClientMetric& metric(std::string_view name, std::string_view help, prometheus::MetricType type,
                                   Labels labels) {
    auto found = families_.find(name);
    if (found == families_.end()) {
      found = families_.emplace(std::string(name), prometheus::MetricFamily{}).first;
      found->second.name = name;
      found->second.help = help;
      found->second.type = type;
    }
    prometheus::MetricFamily& family = found->second;
    CHECK(family.type == type, "a metric's name has one type");
    std::vector<prometheus::ClientMetric::Label> wanted;
    for (const auto& [key, value] : labels) wanted.push_back({std::string(key), std::string(value)});
    for (prometheus::ClientMetric& each : family.metric) {
      if (each.label == wanted) return each;
    }
    family.metric.emplace_back().label = std::move(wanted);
    return family.metric.back();
  }

  std::map<std::string, prometheus::MetricFamily, std::less<>> families_;
};

constexpr std::array<const char*, static_cast<size_t>(BadInput::count)> bad_input_names = {
    "http", "origin", "frame", "json", "request", "method", "params", "too_large", "not_member", "flood"};

// Code and reason for each of Closed.
constexpr std::array<std::pair<const char*, const char*>, static_cast<size_t>(Closed::count)> closed_names = {{
    {"peer", "by_peer"},
    {"none", "lost"},
    {"1002", "protocol_error"},
    {"1003", "unsupported_data"},
    {"1007", "invalid_utf8"},
    {"1008", "policy"},
    {"1009", "too_big"},
    {"1012", "restart"},
    {"1013", "try_again"},
    {"4008", "silent"},
    {"4008", "stalled"},
    {"4500", "refused"},
    {"1000", "normal"},
    {"none", "pressure"},
    {"1013", "name_lost"},
}};

size_t count_open_files() {
  DIR* list = opendir("/proc/self/fd");
  if (list == nullptr) return 0;
  size_t entries = 0;
  while (readdir(list) != nullptr) ++entries;
  closedir(list);
  return entries < 3 ? 0 : entries - 3;  // ".", ".." and the list itself
}

size_t resident_bytes() {
  FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  unsigned long total = 0;
  unsigned long resident = 0;
  const int read = std::fscanf(file, "%lu %lu", &total, &resident);
  std::fclose(file);
  return read == 2 ? resident * static_cast<size_t>(sysconf(_SC_PAGESIZE)) : 0;
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

void DurationHistogram::add_us(int64_t us) {
  size_t bucket = 0;
  while (bucket + 1 < buckets && us > bound_us(bucket)) ++bucket;
  counts_[bucket].add();
  sum_us_.add(static_cast<uint64_t>(std::max<int64_t>(us, 0)));
}

void describe(const ShardMetrics& m, MetricsSink& sink) {
  const auto counter = [&](const char* name, const char* help, const Counter& value) {
    sink.counter(name, help, static_cast<double>(value.value()));
  };
  const auto gauge = [&](const char* name, const char* help, const Gauge& value) {
    sink.gauge(name, help, static_cast<double>(value.value()));
  };
  gauge("tertulia_sessions", "WebSocket connections open", m.sessions);
  gauge("tertulia_members", "Members: pairs of a session and a room it has joined", m.members);
  gauge("tertulia_rooms", "Rooms with a member, counted once a shard", m.rooms);
  counter("tertulia_connections_accepted_total", "Connections accepted", m.accepted);
  counter("tertulia_connections_refused_total", "Connections refused by a limit, or because the node is leaving",
          m.refused);
  for (size_t i = 0; i < closed_names.size(); ++i) {
    sink.counter("tertulia_closes_total", "Sessions ended, by close code and reason",
                 static_cast<double>(m.closes[static_cast<Closed>(i)].value()),
                 {{"code", closed_names[i].first}, {"reason", closed_names[i].second}});
  }
  for (size_t i = 0; i < bad_input_names.size(); ++i) {
    sink.counter("tertulia_bad_input_total", "Input refused, by kind",
                 static_cast<double>(m.bad_input[static_cast<BadInput>(i)].value()), {{"kind", bad_input_names[i]}});
  }
  counter("tertulia_messages_total", "Messages of this node's sessions committed, repeats not counted", m.messages);
  counter("tertulia_repeats_total", "Messages that were committed before and answered with their first position",
          m.repeats);
  counter("tertulia_conflicts_total", "Messages refused because their uuid is another body's", m.conflicts);
  counter("tertulia_store_refusals_total", "Messages refused by the store for what they are", m.store_refusals);
  counter("tertulia_deliveries_total", "Message frames handed to the kernel, the sender's own copy included",
          m.deliveries);
  counter("tertulia_bytes_out_total", "Bytes handed to the kernel", m.bytes_out);
  counter("tertulia_bytes_in_total", "Bytes received", m.bytes_in);
  counter("tertulia_flushes_total", "Send calls; deliveries by flushes is how many messages went out at once",
          m.flushes);
  counter("tertulia_requests_total", "JSON-RPC requests understood", m.requests);
  counter("tertulia_signals_total", "Signals sent (joined, left, typing, read)", m.signals);
  counter("tertulia_signals_dropped_total", "Signals dropped beyond their rate", m.signals_dropped);
  counter("tertulia_reads_paused_total", "Times a session was left unread: allowance, store or its own answers",
          m.reads_paused);
  gauge("tertulia_sessions_paused", "Sessions left unread now", m.sessions_paused);
  sink.histogram("tertulia_ack_seconds", "From a message's arrival to its commit", m.ack_us);
  gauge("tertulia_waiting_messages", "Messages accepted and not yet committed", m.waiting_messages);
  gauge("tertulia_waiting_bytes", "Bytes of messages accepted and not yet committed", m.waiting_bytes);
  gauge("tertulia_tail_bytes", "Encoded frames held in memory", m.tail_bytes);
  counter("tertulia_catch_up_reads_total", "Pages read from the store for members behind the tail", m.catch_up_reads);
  counter("tertulia_gap_reads_total", "Pages read from the store because the bus left something out", m.gap_reads);
  counter("tertulia_resets_total", "Members told that what they hold is not the past of this log", m.resets);
  counter("tertulia_positions_refused_total", "Positions of clients that did not fit", m.positions_refused);
  counter("tertulia_skips_total", "Catch-ups cut short by the client's limit", m.skips);
  counter("tertulia_not_now_total", "Joins and reads refused because the store was away", m.not_now);
  counter("tertulia_heads_compared_total", "Heads asked of the store because something may have been missed",
          m.heads_compared);
  counter("tertulia_heads_behind_total", "Rooms of which something was missing when heads were compared",
          m.heads_behind);
  counter("tertulia_suspicions_total", "Times that the store or the bus told of another log than the one held",
          m.suspicions);
  counter("tertulia_false_alarms_total", "Suspicions that were settled: the store has what is held", m.false_alarms);
  counter("tertulia_pasts_changed_total", "Rooms whose log went back to another past", m.pasts_changed);
}

void describe_process(MetricsSink& sink, int64_t started_unix_ms, std::string_view version) {
  const struct mallinfo2 heap = mallinfo2();
  sink.gauge("tertulia_allocated_bytes", "Memory handed out by the allocator",
             static_cast<double>(heap.uordblks + heap.hblkhd));  // large blocks are mapped, and not in the first
  sink.gauge("tertulia_heap_bytes", "Memory the allocator has from the kernel, mapped blocks included",
             static_cast<double>(heap.arena + heap.hblkhd));
  sink.gauge("process_resident_memory_bytes", "Resident memory", static_cast<double>(resident_bytes()));
  sink.gauge("process_open_fds", "Open files", static_cast<double>(count_open_files()));
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    sink.gauge("process_max_fds", "Limit of open files", static_cast<double>(files.rlim_cur));
  }
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    sink.counter("process_cpu_seconds_total", "Processor time, user and system",
                 seconds(usage.ru_utime) + seconds(usage.ru_stime));
  }
  sink.gauge("process_start_time_seconds", "Start, in seconds since 1970", static_cast<double>(started_unix_ms) / 1e3);
  sink.gauge("tertulia_build_info", "Always 1; the label tells the version", 1, {{"version", version}});
}

MetricsRegistry::Registration& MetricsRegistry::Registration::operator=(Registration&& other) noexcept {
  if (this != &other) {
    end();
    registry_ = std::exchange(other.registry_, nullptr);
    id_ = other.id_;
  }
  return *this;
}

void MetricsRegistry::Registration::end() {
  if (registry_ == nullptr) return;
  const std::lock_guard lock(registry_->mutex_);
  registry_->sources_.erase(id_);
  registry_ = nullptr;
}

MetricsRegistry::Registration MetricsRegistry::add(Source source) {
  const std::lock_guard lock(mutex_);
  const uint64_t id = next_id_++;
  sources_.emplace(id, std::move(source));
  return Registration(this, id);
}

std::string MetricsRegistry::render() {
  Collection collection;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, source] : sources_) source(collection);
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, std::move(collection).families());
  return text.str();
}

}  // namespace tertulia
