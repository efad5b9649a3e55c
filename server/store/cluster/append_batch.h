// Calls of append() that share a commit: joined room by room, and answered from what became of their messages.
//
// All calls of one room become one piece of its log, in order of arrival, in which no uuid stands twice: a uuid that
// comes again is answered from its first occurrence. Pure but for the answers, which go to the callers' executors.
// Thread: one. Memory: the messages of its calls. Ends: with its owner; callbacks not called are destroyed unrun.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/executor.h"
#include "store/store.h"
#include "store/store_options.h"

namespace tertulia::cluster {

struct AppendCall {
  std::string room;
  Position known;
  std::vector<Message> messages;
  Executor* executor = nullptr;
  Callback<AppendResult> done;
};

// A message on its way, and what became of it.
struct Asked {
  const Message* message = nullptr;
  bool in_doubt = false;  // the outcome of an attempt is unknown: a row that is its own may be there
  Appended outcome;       // once the room is decided
  Message other;          // conflict: whose uuid it is
  Position other_position;
};

// One room's part.
struct RoomWork {
  std::string room;
  Position known;            // the newest of its calls
  std::vector<Asked> asked;  // no uuid twice
  // done: `asked` have their outcomes.
  AppendResult::Status status = AppendResult::Status::done;
  std::string reason;  // not done: why
  bool begun = false;  // something of it stands, or may stand: "nothing was appended" can no longer be said
};

class AppendBatch {
 public:
  // Takes what may share a commit from the front of `waiting`. At least one call, if there is one.
  AppendBatch(std::deque<AppendCall>& waiting, size_t rows_max, size_t bytes_max);

  std::deque<RoomWork>& rooms() { return rooms_; }
  // Every call is answered, each once. REQUIRES: every room is decided.
  void answer_all(StoreMetrics& metrics);

 private:
  struct Member {
    AppendCall call;
    size_t room = 0;
    std::vector<size_t> places;  // in `asked`, for each message
    std::vector<bool> first;     // it stands there itself; else another with its uuid
  };
  void join(AppendCall call);
  static void count(const AppendResult& result, StoreMetrics& metrics);
  static Appended outcome_of(const Message& message, const Asked& asked, bool first);

  std::deque<Member> members_;
  std::deque<RoomWork> rooms_;
  std::unordered_map<std::string, size_t> room_numbers_;
  std::vector<std::unordered_map<std::string_view, size_t>> uuids_;  // of each room: the place in `asked`
};

}  // namespace tertulia::cluster
