#include "base/metrics.h"
#include "store/store_options.h"

namespace tertulia {

void describe(const StoreMetrics& m, MetricsSink& sink) {
  const auto counter = [&](const char* name, const char* help, const std::atomic<uint64_t>& value) {
    sink.counter(name, help, static_cast<double>(value.load(std::memory_order_relaxed)));
  };
  const auto seconds = [&](const char* name, const char* help, const std::atomic<uint64_t>& us) {
    sink.counter(name, help, static_cast<double>(us.load(std::memory_order_relaxed)) / 1e6);
  };
  counter("tertulia_commits_total", "Transactions made durable by the store", m.commits);
  seconds("tertulia_store_commit_seconds_total", "Time spent in commits, syncs included", m.commit_us);
  counter("tertulia_store_rows_total", "Messages added to logs", m.rows);
  counter("tertulia_store_repeats_total", "Messages that were in the store already", m.repeats);
  counter("tertulia_store_conflicts_total", "Messages whose uuid is another message's", m.conflicts);
  counter("tertulia_store_refused_total", "Messages refused for what they are", m.refused);
  counter("tertulia_store_not_now_total", "Appends the store could not take: full, read-only, away", m.not_now);
  counter("tertulia_store_reads_total", "Reads answered", m.reads);
  counter("tertulia_store_reads_not_now_total", "Reads the store could not answer", m.reads_not_now);
  counter("tertulia_store_io_errors_total", "Errors after which the store was closed and opened again", m.io_errors);
  counter("tertulia_store_reopens_total", "Errors of which the store has recovered", m.reopens);
  counter("tertulia_store_checkpoints_total", "Checkpoints", m.checkpoints);
  seconds("tertulia_store_checkpoint_seconds_total", "Time spent in checkpoints", m.checkpoint_us);
  sink.gauge("tertulia_store_wal_bytes", "Length of the write-ahead log",
             static_cast<double>(m.wal_bytes.load(std::memory_order_relaxed)));
}

}  // namespace tertulia
