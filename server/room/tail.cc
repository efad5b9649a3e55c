#include "room/tail.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace tertulia {
namespace {

// Small rooms start small; busy rooms get chunks long enough for one write to carry many messages.
constexpr size_t chunk_bytes_min = 1 << 10;
constexpr size_t chunk_bytes_max = 64 << 10;

}  // namespace

void Tail::start(const Position& base) {
  chunks_.clear();
  bytes_ = 0;
  base_ = head_ = base;
}

std::optional<Chain> Tail::chain_at(Sequence sequence) const {
  if (sequence == base_.sequence) return base_.chain;
  if (!holds(sequence)) return std::nullopt;
  const Chunk& chunk = chunk_of(sequence);
  return chunk.entries[sequence - chunk.first].chain;
}

void Tail::append(const Position& position, std::string_view frame) {
  CHECK(position.sequence == head_.sequence + 1 && !frame.empty(), "a tail has no gaps");
  if (chunks_.empty() || chunks_.back().size + frame.size() > chunks_.back().capacity) {
    const size_t doubled = chunks_.empty() ? chunk_bytes_min : chunks_.back().capacity * 2;
    Chunk chunk;
    chunk.first = position.sequence;
    chunk.capacity =
        std::max(frame.size(), std::min({doubled, chunk_bytes_max, std::max(bytes_max_ / 4, chunk_bytes_min)}));
    chunk.data = std::make_unique_for_overwrite<char[]>(chunk.capacity);
    bytes_ += chunk.bytes();
    chunks_.push_back(std::move(chunk));
  }
  Chunk& chunk = chunks_.back();
  bytes_ -= chunk.bytes();
  std::memcpy(chunk.data.get() + chunk.size, frame.data(), frame.size());
  chunk.size += frame.size();
  chunk.entries.push_back({static_cast<uint32_t>(chunk.size), position.chain});
  bytes_ += chunk.bytes();
  head_ = position;
  while (bytes_ > bytes_max_ && chunks_.size() > 1) drop_oldest();
}

void Tail::drop_oldest() {
  const Chunk& oldest = chunks_.front();
  base_ = {oldest.last(), oldest.entries.back().chain};
  bytes_ -= oldest.bytes();
  chunks_.pop_front();
}

const Tail::Chunk& Tail::chunk_of(Sequence sequence) const {
  // Nearly all readers are at the end.
  if (sequence >= chunks_.back().first) return chunks_.back();
  const auto behind = std::upper_bound(chunks_.begin(), chunks_.end(), sequence,
                                       [](Sequence s, const Chunk& chunk) { return s < chunk.first; });
  return *(behind - 1);
}

Tail::Piece Tail::piece_behind(Sequence after, size_t bytes_max, Sequence last_max) const {
  CHECK(holds(after + 1) && last_max > after, "a piece begins in the tail");
  const Chunk& chunk = chunk_of(after + 1);
  const size_t index = after + 1 - chunk.first;
  const size_t begin = chunk.begin_of(index);
  size_t last = std::min(chunk.entries.size() - 1, static_cast<size_t>(last_max - chunk.first));
  if (chunk.entries[last].end - begin > bytes_max) {
    const auto over = std::upper_bound(chunk.entries.begin() + static_cast<ptrdiff_t>(index),
                                       chunk.entries.begin() + static_cast<ptrdiff_t>(last), begin + bytes_max,
                                       [](size_t bytes, const Entry& entry) { return bytes < entry.end; });
    const auto fits = static_cast<size_t>(over - chunk.entries.begin());
    last = fits > index ? fits - 1 : index;
  }
  return {chunk.data.get() + begin, chunk.entries[last].end - begin, {chunk.first + last, chunk.entries[last].chain}};
}

std::string_view Tail::frame(Sequence sequence) const {
  CHECK(holds(sequence), "the frame is in the tail");
  const Chunk& chunk = chunk_of(sequence);
  const size_t index = sequence - chunk.first;
  const size_t begin = chunk.begin_of(index);
  return {chunk.data.get() + begin, chunk.entries[index].end - begin};
}

Tail::Cut Tail::cut(Sequence after, size_t bytes) const {
  const Chunk& chunk = chunk_of(after + 1);
  const size_t index = after + 1 - chunk.first;
  const size_t end = chunk.begin_of(index) + bytes;
  const auto behind = std::upper_bound(chunk.entries.begin() + static_cast<ptrdiff_t>(index), chunk.entries.end(), end,
                                       [](size_t e, const Entry& entry) { return e < entry.end; });
  const auto whole = static_cast<size_t>(behind - chunk.entries.begin());
  const Chain chain = whole == 0 ? Chain{} : chunk.entries[whole - 1].chain;
  return {{chunk.first + whole - 1, chain}, end - chunk.begin_of(whole)};
}

}  // namespace tertulia
