// The arbiter: decides what a session's connection carries next.
//
// In this order: the rest of a half-written frame, private frames (answers, pong, close), room logs from their cursors
// with `live` in its place, signals. Log frames are never copied here: a frame that the kernel cut is remembered as
// (cursor, bytes sent) and made again from the log, so a stalled session holds nothing of it.
// Pure. Thread: the shard's. Memory: private frames not yet taken, at most twice (the caller stops building answers by
// private_bytes()), and the rest of at most one signal.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "room/member.h"

namespace tertulia {

class Output {
 public:
  // What to write in one go, and what each piece of it is.
  struct Plan {
    enum class Kind : uint8_t { rest, privates, log, live, signals };
    struct Segment {
      Kind kind;
      Member* member;
      Position after, last;  // log: the frames (after, last]
      size_t skipped;        // log: bytes of the first frame that had gone out before
    };
    static constexpr size_t pieces_max = 24;
    std::array<iovec, pieces_max> pieces;
    std::array<Segment, pieces_max> segments;
    size_t count = 0;
    size_t bytes = 0;
    bool more = false;        // it ends here only for its size: plan again behind it
    Member* needs = nullptr;  // a member whose next frame is not in memory: read a page behind his cursor
    std::string live;         // holds the bytes of `live` frames

    std::span<const iovec> span() const { return {pieces.data(), count}; }
  };

  // Frames for this session alone are appended here, whole.
  std::string& privates() { return privates_; }
  size_t private_bytes() const { return privates_.size() - privates_sent_ + rest_.size(); }
  // A frame of this member's log has gone out in part.
  bool is_cut(const Member& member) const { return cut_ == &member; }
  bool mid_frame() const { return cut_ != nullptr || !rest_.empty(); }

  // `signals` go out behind everything else, if everything else is in the plan; else they are dropped.
  void plan(std::span<Member* const> members, std::string_view signals, size_t bytes_max, Plan& out);
  // The kernel has taken the first `bytes` of the plan. REQUIRES: nothing has changed since plan().
  // Returns the number of log frames that went out whole.
  uint64_t sent(const Plan& plan, size_t bytes);

  // The member goes, or his cursor moves: what of his frame is still to be sent is copied. False if it is not in
  // memory: then the connection cannot go on.
  [[nodiscard]] bool detach(Member& member);

 private:
  void add(Plan& out, Plan::Kind kind, std::string_view bytes, Member* member = nullptr, Position after = {},
           Position last = {}, size_t skipped = 0) const;
  void plan_member(Member& member, Position at, size_t bytes_max, Plan& out);

  std::string rest_;       // of a signal or `live` that was cut
  Member* cut_ = nullptr;  // whose frame was cut; not while rest_ is not empty
  std::string privates_;
  size_t privates_sent_ = 0;
};

}  // namespace tertulia
