// A member is a cursor: how far a session has been sent a room's log.
// Pure. Thread: the shard's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "room/tail.h"

namespace tertulia {

// What of a room's log is in memory: its tail, and pages that were read for members behind it.
class LogView {
 public:
  virtual ~LogView() = default;
  virtual Sequence head_sequence() const = 0;
  // As Tail's, with nothing where the frame behind `after` is not in memory. Views last until the log's next change.
  virtual std::optional<Tail::Piece> piece_behind(const Position& after, size_t bytes_max, Sequence last_max) const = 0;
  // REQUIRES: piece_behind(after) has just answered.
  virtual Tail::Cut cut(const Position& after, size_t bytes) const = 0;
  virtual const std::string& room_name() const = 0;
};

struct Member {
  LogView* log = nullptr;
  Position cursor;          // last frame sent whole
  size_t cut_bytes = 0;     // bytes sent of the frame behind the cursor
  Sequence began = 0;       // this session's delivery began behind here
  Sequence live_after = 0;  // with live_due: the place of the notification `live`
  bool live_due = false;

  bool behind() const { return live_due || cursor.sequence < log->head_sequence(); }
};

}  // namespace tertulia
