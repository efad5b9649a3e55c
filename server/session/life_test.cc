#include "session/life.h"

#include <gtest/gtest.h>

namespace tertulia {
namespace {

constexpr int64_t second = 1'000'000;

// A member of a room on a connection that was opened, heard and pinged at 0.
LifeSigns member() {
  LifeSigns signs;
  signs.in_room = true;
  return signs;
}

TEST(Life, ASilentMemberIsPingedAndThenClosed) {
  LifeSigns signs = member();
  EXPECT_EQ(next_life_step({}, signs, 14 * second), LifeStep::nothing);
  EXPECT_EQ(next_life_step({}, signs, 15 * second), LifeStep::ping);
  signs.pinged_us = 15 * second;
  EXPECT_EQ(next_life_step({}, signs, 24 * second), LifeStep::nothing);
  EXPECT_EQ(next_life_step({}, signs, 25 * second), LifeStep::close_idle);
}

TEST(Life, WhoHasJustCaughtUpIsAskedBeforeHeIsClosed) {
  // He read nothing for 40 s, so his pings were left out, and then took everything that waited.
  LifeSigns signs = member();
  signs.pinged_us = 30 * second;
  signs.output_waits = true;
  signs.taken_us = 1 * second;
  EXPECT_EQ(next_life_step({}, signs, 40 * second), LifeStep::nothing);
  signs.output_waits = false;
  signs.taken_us = signs.waited_us = 40 * second;
  EXPECT_EQ(next_life_step({}, signs, 41 * second), LifeStep::nothing);
  EXPECT_EQ(next_life_step({}, signs, 45 * second), LifeStep::ping);
  signs.pinged_us = 45 * second;
  EXPECT_EQ(next_life_step({}, signs, 65 * second), LifeStep::close_idle) << "he was asked and said nothing";
}

TEST(Life, AStalledMemberIsClosedWhenHeNeitherTakesNorSends) {
  LifeSigns signs = member();
  signs.output_waits = true;
  signs.pinged_us = 59 * second;
  EXPECT_EQ(next_life_step({}, signs, 59 * second), LifeStep::nothing);
  EXPECT_EQ(next_life_step({}, signs, 60 * second), LifeStep::close_idle);
  signs.heard_us = 50 * second;
  EXPECT_EQ(next_life_step({}, signs, 60 * second), LifeStep::nothing);
}

TEST(Life, WhoIsNotReadFromIsNotSilent) {
  LifeSigns signs = member();
  signs.reading = false;
  signs.pinged_us = 95 * second;
  EXPECT_EQ(next_life_step({}, signs, 100 * second), LifeStep::nothing);
}

TEST(Life, ASilentMembersHeartbeatGoesOutWithHisPing) {
  LifeSigns signs = member();
  signs.wants_heartbeat = true;
  signs.heard_us = 14 * second;
  EXPECT_EQ(next_life_step({}, signs, 15 * second), LifeStep::ping_with_heartbeat);
  signs.pushed_us = 9 * second;
  EXPECT_EQ(next_life_step({}, signs, 15 * second), LifeStep::ping_with_heartbeat) << "due at 29, the next ping at 30";
  signs.pushed_us = 11 * second;
  EXPECT_EQ(next_life_step({}, signs, 15 * second), LifeStep::ping) << "due at 31: the next ping takes it along";
  signs.pushed_us = 0;
  signs.wants_heartbeat = false;
  EXPECT_EQ(next_life_step({}, signs, 15 * second), LifeStep::ping);
  signs.wants_heartbeat = true;
  signs.pinged_us = 10 * second;
  signs.pushed_us = 1 * second;
  EXPECT_EQ(next_life_step({}, signs, 21 * second), LifeStep::heartbeat) << "what was left out then is still due";
}

TEST(Life, AConnectionWithoutARoomHasLimitsOfItsOwn) {
  LifeSigns signs;
  signs.frame_begun_us = 1 * second;
  signs.heard_us = 10 * second;
  EXPECT_EQ(next_life_step({}, signs, 10 * second), LifeStep::nothing);
  EXPECT_EQ(next_life_step({}, signs, 11 * second), LifeStep::close_idle) << "a frame begun and never finished";
  signs.frame_begun_us = 0;
  signs.heard_us = signs.pinged_us = 599 * second;
  EXPECT_EQ(next_life_step({}, signs, 599 * second), LifeStep::nothing);
  EXPECT_EQ(next_life_step({}, signs, 600 * second), LifeStep::close_idle);
}

}  // namespace
}  // namespace tertulia
