// Claims: which user holds which name in which room, for a store of one node. Nothing of it is written down: the lock
// on the data directory is this node's lease, and after a restart names find their users by the rule below.
//
// A member is a user in a room. He has any number of sessions there, and the names under which they came; the first of
// them is the one he is known by. A second name of the same user is held too (at most names_per_member_max): both go
// with his last session, because a release says who left and not under which name.
//
// When his last session goes uncleanly he stays a member for name_grace, counted and listed, and his names wait for
// him: whoever else asks for one is told `waiting`. When he comes back nobody hears of it. When the grace has passed
// the names are free, and expire() says `left` exactly once. After a clean release everything is over at once. After
// release_reloading() the names are free at once, but he counts as present until the grace has passed, so a page that
// is loaded again neither leaves nor joins.
//
// After a run that did not end empty, somebody without a past could take a name whose user is about to come back. So
// for the first name_grace after the start only those who prove a past are admitted at once, and those whose name is
// held by themselves already; everybody else is told `waiting`, until the rest of that time is over.
//
// Whoever has left is known by name for former_member more, without holding anything.
//
// Deadlines are looked at when something is asked, never by timers. Pure: time is an argument.
// Thread: Claims one; SharedClaims any. Memory: a few hundred bytes a member; members_per_room_max, rooms_max and
// former_members_max bound it. Ends: with its store.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "store/store.h"

namespace tertulia {

struct ClaimsOptions {
  int64_t name_grace_ms = 10'000;
  int64_t former_member_ms = 60'000;
  uint32_t members_per_room_max = 100'000;
  uint32_t rooms_max = 1'000'000;
  uint32_t names_per_member_max = 8;
  uint32_t former_members_max = 100'000;  // over all rooms; the oldest is forgotten first
};

class Claims {
 public:
  // `names_kept`: the last run did not end empty, so names are kept for those who return.
  Claims(const ClaimsOptions& options, bool names_kept, int64_t now_us);
  ~Claims();

  ClaimResult claim(const ClaimRequest& request, int64_t now_us);
  // Without effect, and all false, for somebody who has no session in the room.
  ReleaseResult release(std::string_view room, std::string_view user_id, bool clean, int64_t now_us);
  ReleaseResult release_reloading(std::string_view room, std::string_view user_id, int64_t now_us);
  ReleaseResult expire(std::string_view room, std::string_view user_id, int64_t now_us);

  std::optional<std::string> member_name(std::string_view room, std::string_view user_id, int64_t now_us);
  // Read markers are left 0. REQUIRES: limit > 0.
  MemberList members(std::string_view room, std::string_view after, size_t limit, int64_t now_us);
  uint64_t members_count(std::string_view room, int64_t now_us);

  // Rooms that take memory.
  size_t rooms_count() const { return rooms_.size(); }
  // Nobody is present and no name waits for anybody.
  bool empty(int64_t now_us);

 private:
  struct Member;
  struct Room;
  struct Due {
    int64_t at_us = 0;
    uint64_t member_serial = 0;
    std::string room, user_id;
  };
  enum class Leaving : uint8_t { clean, unclean, reloading };

  ReleaseResult leave(std::string_view room, std::string_view user_id, Leaving how, int64_t now_us);
  // Ends every grace and forgets every former member whose time has come.
  void pass_time(int64_t now_us);
  void end_grace(const Due& due);
  // He is gone, is remembered as a former member, and has not been said to have left.
  void member_gone(const std::string& room_name, Room& room, Member& member, int64_t now_us);
  void keep_first_name_only(Room& room, Member& member);
  Room* find_room(std::string_view room);
  void forget_if_idle(std::string_view room);

  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  // Constant after construction.
  const ClaimsOptions options_;
  const int64_t held_until_us_;  // names are kept for those who return until then
  // Changing.
  std::unordered_map<std::string, std::unique_ptr<Room>, Hash, std::equal_to<>> rooms_;
  std::deque<Due> graces_;   // by time: every grace is equally long
  std::deque<Due> formers_;  // by time
  uint64_t serial_ = 0;
  uint64_t present_count_ = 0;
  uint64_t rooms_present_count_ = 0;  // somebody is present there
};

// Claims behind a lock, with the time from a clock.
class SharedClaims {
 public:
  SharedClaims(const ClaimsOptions& options, bool names_kept, const Clock& clock)
      : clock_(clock), claims_(options, names_kept, clock.now_us()) {}

  template <class Call>
  auto with(Call call) {
    std::lock_guard lock(mutex_);
    return call(claims_, clock_.now_us());
  }

 private:
  const Clock& clock_;
  std::mutex mutex_;
  Claims claims_;  // under mutex_
};

}  // namespace tertulia
