#include "net/connection_counts.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace tertulia {
namespace {

using Verdict = ConnectionCounts::Verdict;

TEST(ConnectionCounts, ThereIsRoomForSoManyInAllAndAgainWhenOneGoes) {
  ConnectionCounts counts(2, 0);
  ConnectionCounts::Slot a, b, c;
  EXPECT_EQ(counts.take("1.1.1.1", a), Verdict::admitted);
  EXPECT_EQ(counts.take("1.1.1.1", b), Verdict::admitted);
  EXPECT_EQ(counts.take("2.2.2.2", c), Verdict::too_many_in_all);
  EXPECT_EQ(counts.in_all(), 2u);
  a.release();
  a.release();
  EXPECT_EQ(counts.take("2.2.2.2", c), Verdict::admitted);
}

TEST(ConnectionCounts, AnAddressIsLimitedAndOthersAreNot) {
  ConnectionCounts counts(100, 1);
  ConnectionCounts::Slot a, b, c;
  EXPECT_EQ(counts.take("1.1.1.1", a), Verdict::admitted);
  EXPECT_EQ(counts.take("1.1.1.1", b), Verdict::too_many_of_address);
  EXPECT_EQ(counts.in_all(), 1u) << "a refused one takes no place";
  EXPECT_EQ(counts.take("2.2.2.2", c), Verdict::admitted);
  counts.set_per_address_max(0);
  EXPECT_EQ(counts.take("1.1.1.1", b), Verdict::admitted);
}

TEST(ConnectionCounts, AConnectionMovesToTheClientThatAProxyNames) {
  ConnectionCounts counts(100, 1);
  ConnectionCounts::Slot a, b;
  EXPECT_EQ(counts.take("", a), Verdict::admitted);
  EXPECT_EQ(counts.take("", b), Verdict::admitted);
  EXPECT_EQ(counts.move_to("1.1.1.1", a), Verdict::admitted);
  EXPECT_EQ(counts.move_to("1.1.1.1", a), Verdict::admitted) << "it is there already";
  EXPECT_EQ(counts.move_to("1.1.1.1", b), Verdict::too_many_of_address);
  EXPECT_EQ(b.address(), "");
  EXPECT_EQ(counts.move_to("2.2.2.2", a), Verdict::admitted);
  EXPECT_EQ(a.address(), "2.2.2.2");
  EXPECT_EQ(counts.move_to("1.1.1.1", b), Verdict::admitted);
}

TEST(ConnectionCounts, AMovedSlotIsOnePlace) {
  ConnectionCounts counts(100, 10);
  std::atomic<uint32_t> shard = 0;
  ConnectionCounts::Slot a;
  EXPECT_EQ(counts.take("1.1.1.1", a), Verdict::admitted);
  ConnectionCounts::assign(a, shard);
  ConnectionCounts::Slot b = std::move(a);
  a.release();
  EXPECT_EQ(counts.in_all(), 1u);
  EXPECT_EQ(shard, 1u);
  b = ConnectionCounts::Slot();
  EXPECT_EQ(counts.in_all(), 0u);
  EXPECT_EQ(shard, 0u);
}

TEST(ConnectionCounts, ThreadsThatComeAndGoLeaveItEmpty) {
  ConnectionCounts counts(50, 10);
  std::atomic<uint32_t> shard = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        ConnectionCounts::Slot slot;
        if (counts.take(i % 2 ? "1.1.1.1" : "2.2.2.2", slot) != Verdict::admitted) continue;
        ConnectionCounts::assign(slot, shard);
        (void)(counts.move_to("3.3.3.3", slot));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counts.in_all(), 0u);
  EXPECT_EQ(shard, 0u);
}

}  // namespace
}  // namespace tertulia
