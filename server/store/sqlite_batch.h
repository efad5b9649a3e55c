// One transaction: numbers the messages of several appends, writes them, and says what became of each.
//
// An error about a message takes the whole transaction back. It is tried again with a savepoint around every message,
// so that the bad one fails alone and is refused; one that takes the transaction itself back (RAISE(ROLLBACK)) is left
// out and the rest tried again. Nothing is committed before all the others stand. Thread: one. Memory: the head cache,
// and what SQLite holds. Ends: with the writer's connection.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/function.h"
#include "protocol/outcome.h"
#include "store/head_cache.h"
#include "store/sqlite.h"
#include "store/store_options.h"

namespace tertulia::sqlite {

// (room, user) → sequence.
using Markers = std::map<std::pair<std::string, std::string>, Sequence>;

// What one call of append() wants.
struct BatchItem {
  std::string room;
  Position known;    // the log must contain it
  bool fits = true;  // false: it does not, and nothing was appended
  std::vector<Message> messages;
  std::vector<Appended> each;     // the answers
  std::vector<Appended> planned;  // the answers of an attempt whose outcome is unknown; empty if there was none
};

enum class BatchOutcome : uint8_t {
  committed,  // durable; `each` is filled
  not_now,    // nothing was written
  unknown,    // close, open again, prove what is there, and call again with the same items
};

class Batch {
 public:
  Batch(const StoreOptions& options, const Clock& clock, StoreMetrics& metrics)
      : options_(options),
        clock_(clock),
        metrics_(metrics),
        heads_(std::max<size_t>(options.heads_cached_max, size_t{2} * options.transaction_rows_max)) {}

  // Empty, or a sentence. REQUIRES: an open writer connection, which outlives the next close().
  [[nodiscard]] std::string open(Connection& connection);
  void close();

  // Writes the items, and the markers with them. `reason` says why not.
  BatchOutcome write(const std::vector<BatchItem*>& items, const Markers& markers, std::string& reason);

  // The entry of the last row known to be durable.
  int64_t durable_entry() const { return durable_entry_; }

#ifdef TERTULIA_FAILPOINTS
  // For unsafe_answer_before_commit: `each` of the items is filled, nothing is committed.
  Function<void()> before_commit;
#endif

 private:
  enum class Pass : uint8_t { done, again, not_now, unknown };

  Pass pass(const std::vector<BatchItem*>& items, const Markers& markers, bool careful, std::string& reason);
  // SQLITE_OK: `one` is filled. Else an error, and what it had written is still in the transaction.
  int append_one(HeadCache::Entry& room, const Message& message, const Appended* planned, Appended& one);
  int append_carefully(HeadCache::Entry& room, const Message& message, const Appended* planned, Appended& one);
  int insert(const HeadCache::Entry& room, const Row& row, const Message& message);
  int find_room(const std::string& name, HeadCache::Entry*& room);
  int write_markers(const Markers& markers);
  Pass fail(int code, std::string& reason);
  static void keep_plan(BatchItem& item);
  void refuse(const Message* message, std::string why);

  [[maybe_unused]] const StoreOptions& options_;  // of builds with failpoints
  const Clock& clock_;
  StoreMetrics& metrics_;
  HeadCache heads_;
  Connection* connection_ = nullptr;
  Statement begin_, commit_, rollback_, savepoint_, release_, back_;
  Statement room_, add_room_, head_, insert_, existing_, marker_;
  std::map<const Message*, std::string> refused_;  // in this write(), with the reason
  int64_t last_entry_ = 0;
  int64_t durable_entry_ = 0;
  bool wrote_ = false;
};

}  // namespace tertulia::sqlite
