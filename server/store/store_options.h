// What a store is told at its opening, and what it counts.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/log.h"
#include "store/claims.h"

namespace tertulia {

class MetricsSink;

// Thread: any, for reading and counting. Ends: outlives the store that counts into it.
struct StoreMetrics {
  std::atomic<uint64_t> commits = 0;        // transactions that were made durable
  std::atomic<uint64_t> commit_us = 0;      // in COMMIT, the fsync included, all commits together
  std::atomic<uint64_t> rows = 0;           // messages added
  std::atomic<uint64_t> repeats = 0;        // messages that were there already
  std::atomic<uint64_t> conflicts = 0;      // a uuid used for another body
  std::atomic<uint64_t> refused = 0;        // messages that the store takes never
  std::atomic<uint64_t> not_now = 0;        // appends answered not_now
  std::atomic<uint64_t> reads = 0;          // reads answered with ok
  std::atomic<uint64_t> reads_not_now = 0;  // reads answered with not_now
  std::atomic<uint64_t> io_errors = 0;      // errors after which the store was closed and opened again
  std::atomic<uint64_t> reopens = 0;        // of which it has recovered
  std::atomic<uint64_t> checkpoints = 0;
  std::atomic<uint64_t> checkpoint_us = 0;
  std::atomic<uint64_t> wal_bytes = 0;  // now; grows while somebody reads for long (a backup)
};

// Adds them to a render.
void describe(const StoreMetrics& metrics, MetricsSink& sink);

struct StoreOptions {
  ClaimsOptions claims;
  Log* log = nullptr;               // none: silent. Outlives the store
  StoreMetrics* metrics = nullptr;  // none: not counted. Outlives the store

  // Of a store with several nodes.
  int64_t lease_ms = 6'000;        // a peer whose lease was not renewed for so long is declared dead
  int64_t lease_renew_ms = 2'000;  // so often it is renewed

  // SQLite's; each with what it costs.
  uint32_t transaction_rows_max = 4'096;     // a commit holds up whatever comes behind it
  uint32_t transaction_bytes_max = 8 << 20;  // of messages; the write-ahead log grows by about three times as much
  uint32_t heads_cached_max = 65'536;        // rooms whose head the writer remembers; about 200 bytes each
  uint32_t writer_cache_bytes = 32 << 20;    // pages in memory
  uint32_t reader_cache_bytes = 4 << 20;     // each of two readers
  uint32_t wal_checkpoint_bytes = 16 << 20;  // when the write-ahead log is longer, it is copied into the database
  uint32_t wal_restart_bytes = 64 << 20;     // when it is longer still, readers are made to wait for that
  uint32_t markers_pending_max = 100'000;    // read markers not yet written; further ones are dropped
  int64_t markers_flush_ms = 1'000;

#ifdef TERTULIA_FAILPOINTS
  // For tests that show that the tests find it: each breaks a promise.
  bool unsafe_synchronous_off = false;
  bool unsafe_answer_before_commit = false;
  bool unsafe_no_sync_at_opening = false;
  bool unsafe_no_write_back_at_opening = false;  // synced, but what a failed sync left as clean is not written again
  std::string unsafe_vfs;                        // name of the SQLite VFS to use
#endif
};

}  // namespace tertulia
