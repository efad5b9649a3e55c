#include "base/failpoint.h"

#include <gtest/gtest.h>

namespace tertulia {
namespace {

#ifdef TERTULIA_FAILPOINTS

TEST(Failpoint, FailsAtItsPassAndOnlyThere) {
  failpoint_disarm_all();
  failpoint_arm("there:3=error");
  EXPECT_FALSE(FAILPOINT("there"));
  EXPECT_FALSE(FAILPOINT("elsewhere"));
  EXPECT_FALSE(FAILPOINT("there"));
  EXPECT_TRUE(FAILPOINT("there"));
  EXPECT_FALSE(FAILPOINT("there"));
  EXPECT_EQ(failpoint_passes("there"), 4u);
  EXPECT_EQ(failpoint_passes("elsewhere"), 1u);
}

TEST(Failpoint, APlusMeansEveryLaterPassToo) {
  failpoint_disarm_all();
  failpoint_arm("a:2+=error,b=error");
  EXPECT_FALSE(FAILPOINT("a"));
  EXPECT_TRUE(FAILPOINT("a"));
  EXPECT_TRUE(FAILPOINT("a"));
  EXPECT_TRUE(FAILPOINT("b"));
  failpoint_disarm_all();
  EXPECT_FALSE(FAILPOINT("a"));
}

TEST(Failpoint, KillsTheProcess) {
  EXPECT_EXIT(
      {
        failpoint_arm("end=kill");
        FAILPOINT("end");
      },
      testing::KilledBySignal(9), "");
}

TEST(Failpoint, ASpecificationThatCannotBeReadIsOurOwnMistake) {
  EXPECT_DEATH(failpoint_arm("name"), "name\\[:pass\\]=action");
  EXPECT_DEATH(failpoint_arm("name:x=kill"), "number from 1");
  EXPECT_DEATH(failpoint_arm("name=explode"), "action is");
}

#else

TEST(Failpoint, IsTheConstantFalseInARelease) {
  static_assert(!FAILPOINT("anything"));
}

#endif

}  // namespace
}  // namespace tertulia
