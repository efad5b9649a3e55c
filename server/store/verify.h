// `tertulia verify`: reads every log of a store from its beginning and computes every chain again, as after a restore.
//
// It reads only, in short reads, while servers run or while none does. A room that grows meanwhile is verified as far
// as it went when its end was reached. Thread: any one. Memory: a page of rows, a page of rooms' names.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/outcome.h"
#include "store/store_options.h"

namespace tertulia {

// What is verified. Each call blocks, and returns an empty string or why it cannot be read.
class LogSource {
 public:
  virtual ~LogSource() = default;
  // Names in the order of their bytes, behind `after`; none: that was all.
  [[nodiscard]] virtual std::string rooms(const std::string& after, size_t limit, std::vector<std::string>& names) = 0;
  // Rows with a sequence above `after`, ascending, as they are stored; and where the log's head is.
  [[nodiscard]] virtual std::string rows(const std::string& room, Sequence after, Rows& rows) = 0;
  // The highest sequence of any row of the room, also of one that nothing leads to; 0: none.
  [[nodiscard]] virtual std::string newest(const std::string& room, Sequence& sequence) = 0;
};

struct OpenedLogSource {
  std::unique_ptr<LogSource> source;  // nothing: `error` says what, where and what to do
  std::string error;
};
// As open_store(), for reading only.
[[nodiscard]] OpenedLogSource open_log_source(std::string_view kind, const std::string& data_dir,
                                              const StoreOptions& options);

namespace cluster {
class Database;
}
class Workers;
// Reads through a link of this database.
std::unique_ptr<LogSource> make_log_source(std::unique_ptr<cluster::Database> database, Workers& workers);

// A place where a log is not what it should be.
struct Misfit {
  enum class Kind : uint8_t {
    missing,   // no row has this sequence, and one behind it is there
    previous,  // the row does not continue the chain of the one before
    chain,     // the row's chain is not the one computed from its message
    end,       // the log ends at this sequence, and its head is elsewhere
    unled,     // a row has this sequence, and the log ends before it
  };
  Kind kind = Kind::missing;
  std::string room;
  Sequence sequence = 0;
  std::string expected, found;
};
// One line for the operator: room, sequence, what was expected and found.
std::string misfit_text(const Misfit& misfit);

struct Verified {
  uint64_t rooms = 0, messages = 0, misfits = 0;
  std::string error;  // why it stopped early; empty: everything was read
};

// `found` hears of the first misfits_told_max of a room, `progress` now and then.
inline constexpr uint64_t misfits_told_max = 20;
[[nodiscard]] Verified verify(LogSource& source, const std::function<void(const Misfit&)>& found,
                              const std::function<void(const Verified&)>& progress);

}  // namespace tertulia
