// A stretch of a room's log as ready-made WebSocket frames, in contiguous chunks.
//
// The newest stretch of a room is its tail: it grows at the end and gives up its oldest chunks beyond bytes_max. A page
// read from the store for members who fell off the tail is the same thing, and does not grow. Members hold sequences,
// never pointers, so nothing here is pinned by a slow one.
// Pure. Thread: the shard's. Memory: bytes(). Views last until the next append() or start().
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "protocol/position.h"

namespace tertulia {

class Tail {
 public:
  // Frames that lie next to each other in memory.
  struct Piece {
    const char* data = nullptr;
    size_t bytes = 0;
    Position last;  // of the last frame in it
  };

  explicit Tail(size_t bytes_max) : bytes_max_(bytes_max) {}

  // Empties it; the next frame is the one behind `base`.
  void start(const Position& base);

  // The place before the oldest frame held; frames (base, head] are here.
  const Position& base() const { return base_; }
  const Position& head() const { return head_; }
  bool holds(Sequence sequence) const { return sequence > base_.sequence && sequence <= head_.sequence; }
  // Of any sequence in [base, head].
  std::optional<Chain> chain_at(Sequence sequence) const;
  // User memory, index included.
  size_t bytes() const { return bytes_; }

  // REQUIRES: position.sequence follows head's; frame is not empty. Whether the chain continues is the caller's care.
  void append(const Position& position, std::string_view frame);

  // The frames behind `after`, as far as they lie in one chunk, up to `last_max` and to about bytes_max (at least one).
  // REQUIRES: holds(after + 1), last_max > after.
  Piece piece_behind(Sequence after, size_t bytes_max, Sequence last_max = sequence_max) const;
  // One frame. REQUIRES: holds(sequence).
  std::string_view frame(Sequence sequence) const;
  // How many whole frames the first `bytes` of the frames behind `after` are, and what is over: the cursor after a
  // write that the kernel cut. REQUIRES: as piece_behind, bytes at most those of one piece.
  struct Cut {
    Position last;      // last frame that went out whole; meaningless if that is `after` itself
    size_t rest_bytes;  // bytes sent of the frame behind it
  };
  Cut cut(Sequence after, size_t bytes) const;

 private:
  struct Entry {
    uint32_t end;  // offset in the chunk behind this frame
    Chain chain;
  };
  struct Chunk {
    Sequence first = 0;
    std::unique_ptr<char[]> data;
    size_t size = 0, capacity = 0;
    std::vector<Entry> entries;
    size_t bytes() const { return capacity + entries.capacity() * sizeof(Entry) + sizeof(Chunk); }
    Sequence last() const { return first + entries.size() - 1; }
    size_t begin_of(size_t index) const { return index == 0 ? 0 : entries[index - 1].end; }
  };
  const Chunk& chunk_of(Sequence sequence) const;
  void drop_oldest();

  size_t bytes_max_;
  Position base_, head_;
  std::deque<Chunk> chunks_;
  size_t bytes_ = 0;
};

}  // namespace tertulia
