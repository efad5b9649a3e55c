#include "driver/judge.h"

#include <gtest/gtest.h>

namespace tertulia::bench {
namespace {

// Two members of one room, who joined when its head was 4.
class JudgeTest : public testing::Test {
 protected:
  JudgeTest() {
    for (uint32_t member = 0; member < 2; ++member) judge_.joined(member, 0, 4);
  }
  void sees(uint32_t member, std::initializer_list<uint64_t> sequences) {
    for (const uint64_t sequence : sequences) judge_.received(member, 0, 0, sequence, 100 + sequence);
  }

  Judge judge_{2, 1, 1};
};

TEST_F(JudgeTest, OrderWithoutAGapIsNoFault) {
  sees(0, {5, 6, 7});
  sees(1, {5, 6, 7});
  judge_.ended(0, 0, 0, 7);
  judge_.ended(1, 0, 0, 7);
  EXPECT_EQ(judge_.faults().all(), 0u);
}

TEST_F(JudgeTest, WhatNeverComesIsLostInTheMiddleAndAtTheEnd) {
  sees(0, {5, 8});
  judge_.ended(0, 0, 0, 9);
  EXPECT_EQ(judge_.faults().lost, 3u);
  EXPECT_EQ(judge_.faults().all(), 3u);
}

TEST_F(JudgeTest, WhatComesLateIsReorderedAndNotLost) {
  sees(0, {5, 7, 6, 8});
  judge_.ended(0, 0, 0, 8);
  EXPECT_EQ(judge_.faults().reordered, 1u);
  EXPECT_EQ(judge_.faults().all(), 1u);
}

TEST_F(JudgeTest, WhatComesTwiceIsARepeatAlsoBeforeTheJoin) {
  sees(0, {5, 6, 5, 4});
  EXPECT_EQ(judge_.faults().repeated, 2u);
  EXPECT_EQ(judge_.faults().all(), 2u);
}

TEST_F(JudgeTest, AnotherMessageAtTheSameSequenceIsNoticed) {
  sees(0, {5, 6});
  judge_.received(1, 0, 0, 5, 106);
  EXPECT_EQ(judge_.faults().differing, 1u);
  EXPECT_EQ(judge_.faults().all(), 1u);
}

TEST(JudgeOfManyRooms, RoomsOfOneMemberAreCountedApart) {
  Judge judge(1, 3, 2);
  judge.joined(0, 0, 10);
  judge.joined(0, 1, 20);
  judge.received(0, 0, 1, 11, 1);
  judge.received(0, 1, 2, 21, 2);
  judge.ended(0, 0, 1, 11);
  judge.ended(0, 1, 2, 22);
  EXPECT_EQ(judge.faults().lost, 1u);
  EXPECT_EQ(judge.faults().all(), 1u);
}

}  // namespace
}  // namespace tertulia::bench
