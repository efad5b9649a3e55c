#include "room/tail.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace tertulia {
namespace {

Position at(Sequence sequence) {
  Position position{sequence, {}};
  position.chain.bytes[0] = static_cast<uint8_t>(sequence);
  position.chain.bytes[1] = static_cast<uint8_t>(sequence >> 8);
  return position;
}

std::string frame_of(Sequence sequence, size_t bytes) {
  std::string frame = std::to_string(sequence) + ":";
  frame.resize(std::max(bytes, frame.size()), static_cast<char>('a' + sequence % 26));
  return frame;
}

// Everything behind `after`, put together from pieces.
std::string all_behind(const Tail& tail, Sequence after, size_t bytes_max) {
  std::string all;
  while (after < tail.head().sequence) {
    const Tail::Piece piece = tail.piece_behind(after, bytes_max);
    all.append(piece.data, piece.bytes);
    EXPECT_EQ(piece.last, at(piece.last.sequence));
    after = piece.last.sequence;
  }
  return all;
}

TEST(Tail, BeginsEmptyBehindItsBase) {
  Tail tail(1 << 20);
  tail.start(at(41));
  EXPECT_EQ(tail.head(), at(41));
  EXPECT_FALSE(tail.holds(41));
  EXPECT_EQ(tail.chain_at(41), at(41).chain);
  tail.append(at(42), "x");
  EXPECT_TRUE(tail.holds(42));
  EXPECT_EQ(tail.frame(42), "x");
}

TEST(Tail, GivesUpItsOldestChunksAndKeepsTheChainBeforeTheRest) {
  Tail tail(16 << 10);
  tail.start(at(0));
  for (Sequence s = 1; s <= 1000; ++s) tail.append(at(s), frame_of(s, 200));
  EXPECT_LE(tail.bytes(), 16u << 10);
  EXPECT_GT(tail.base().sequence, 900u);
  EXPECT_EQ(tail.base(), at(tail.base().sequence));
  EXPECT_EQ(tail.frame(tail.base().sequence + 1), frame_of(tail.base().sequence + 1, 200));
}

TEST(Tail, AFrameLargerThanTheTailIsHeldAlone) {
  Tail tail(4 << 10);
  tail.start(at(0));
  tail.append(at(1), "small");
  tail.append(at(2), frame_of(2, 100'000));
  EXPECT_EQ(tail.base().sequence, 1u);
  EXPECT_EQ(tail.frame(2).size(), 100'000u);
}

TEST(Tail, PiecesOfAnySizeAreTheLogAndEveryCutIsFound) {
  std::mt19937 random(7);
  Tail tail(1 << 20);
  tail.start(at(0));
  std::string log;
  std::vector<size_t> ends{0};
  for (Sequence s = 1; s <= 300; ++s) {
    const std::string frame = frame_of(s, 1 + random() % 900);
    tail.append(at(s), frame);
    log += frame;
    ends.push_back(log.size());
  }
  for (size_t bytes_max : {1u, 100u, 1000u, 70'000u, 1'000'000u}) EXPECT_EQ(all_behind(tail, 0, bytes_max), log);
  EXPECT_EQ(tail.piece_behind(10, 1 << 20, 12).last, at(12));
  for (Sequence after : {Sequence{0}, Sequence{7}, Sequence{150}}) {
    const Tail::Piece piece = tail.piece_behind(after, 5000);
    for (size_t bytes = 0; bytes <= piece.bytes; ++bytes) {
      const Tail::Cut cut = tail.cut(after, bytes);
      ASSERT_EQ(ends[cut.last.sequence] + cut.rest_bytes, ends[after] + bytes);
      ASSERT_LT(cut.rest_bytes, cut.last.sequence == 300 ? 1 : ends[cut.last.sequence + 1] - ends[cut.last.sequence]);
    }
  }
}

}  // namespace
}  // namespace tertulia
