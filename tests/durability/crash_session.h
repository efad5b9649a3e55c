// One life of a server over a disk that can lose its power: clients send, resend what was never acked, read, and note
// everything that they were told in a journal that no crash touches.
//
// Runs in a process of its own, which mostly ends by SIGKILL: at a failpoint, or when it has done its work.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "protocol/message.h"

namespace tertulia {

// How a session is made wrong, to show that the test finds it.
enum class Mutation : uint8_t { none, synchronous_off, answer_before_commit, no_sync_at_opening, no_write_back };

// What clients know. Message k is the same in every session.
struct Journal {
  struct Told {
    std::string room;
    Position position;
    std::string uuid;  // of an ack; empty: the row was shown
  };
  std::vector<int> sent;      // in the order first sent
  std::map<int, bool> acked;  // k
  std::vector<Told> told;

  static Journal read(const std::string& path);
};

inline constexpr int kRooms = 3;
std::string room_of(int k);
Message message_of(int k);

struct Session {
  std::string data_dir, disk, journal;
  uint64_t seed = 0;
  Mutation mutation = Mutation::none;
  bool resend_only = false;  // nothing new is said
  bool ends_well = false;    // by stop() and not by SIGKILL
};

// Does not return: exits 0 after stop(), 3 if the store did not open, 4 if it answered what it must not; the reason is
// on stderr.
[[noreturn]] void run_session(const Session& session);

}  // namespace tertulia
