#include "session/output.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "protocol/frames.h"

namespace tertulia {
namespace {

struct Room : LogView {
  explicit Room(std::string called) : name(std::move(called)) { tail.start({0, {}}); }
  Sequence head_sequence() const override { return tail.head().sequence; }
  std::optional<Tail::Piece> piece_behind(const Position& after, size_t bytes_max, Sequence last_max) const override {
    if (!tail.holds(after.sequence + 1)) return std::nullopt;
    return tail.piece_behind(after.sequence, bytes_max, last_max);
  }
  Tail::Cut cut(const Position& after, size_t bytes) const override { return tail.cut(after.sequence, bytes); }
  const std::string& room_name() const override { return name; }
  void say(const std::string& frame) { tail.append({tail.head().sequence + 1, {}}, frame); }

  std::string name;
  Tail tail{1 << 20};
};

// A connection whose kernel takes as many bytes as it is told.
struct World {
  void write(Output& output, std::vector<Member*> members, size_t taken, std::string_view signals = {}) {
    Output::Plan plan;
    output.plan(members, signals, 64 << 10, plan);
    std::string bytes;
    for (const iovec& piece : plan.span()) bytes.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    bytes.resize(std::min(bytes.size(), taken));
    wire += bytes;
    delivered += output.sent(plan, bytes.size());
    needs = plan.needs;
  }
  std::string wire;
  uint64_t delivered = 0;
  Member* needs = nullptr;
};

std::string live_of(const std::string& room, Sequence sequence) {
  std::string frame;
  append_live(frame, room, sequence);
  return frame;
}

TEST(Output, PrivateFramesGoBeforeLogsAndSignalsBehindThem) {
  Room room("plaza");
  room.say("[1]");
  room.say("[2]");
  Member member{.log = &room};
  Output output;
  output.privates() += "(answer)";
  World w;
  w.write(output, {&member}, 1000, "<typing>");
  EXPECT_EQ(w.wire, "(answer)[1][2]<typing>");
  EXPECT_EQ(w.delivered, 2u);
  EXPECT_FALSE(member.behind());
}

TEST(Output, LiveStandsInItsPlaceInTheLog) {
  Room room("plaza");
  for (int i = 1; i <= 4; ++i) room.say("[" + std::to_string(i) + "]");
  Member member{.log = &room, .live_after = 2, .live_due = true};
  Output output;
  World w;
  w.write(output, {&member}, 1000);
  EXPECT_EQ(w.wire, "[1][2]" + live_of("plaza", 2) + "[3][4]");
}

TEST(Output, SignalsAreDroppedWhileTheLogIsBehind) {
  Room room("plaza");
  room.say("[1]");
  Member member{.log = &room};
  Output output;
  World w;
  w.write(output, {&member}, 2, "<typing>");
  w.write(output, {&member}, 1000);
  EXPECT_EQ(w.wire, "[1]");
}

TEST(Output, ACutFrameIsFinishedBeforeAPrivateFrame) {
  Room room("plaza");
  room.say("[one]");
  room.say("[two]");
  Member member{.log = &room};
  Output output;
  World w;
  w.write(output, {&member}, 7);
  output.privates() += "(pong)";
  w.write(output, {&member}, 1000);
  EXPECT_EQ(w.wire, "[one][two](pong)");
}

TEST(Output, AFrameThatIsNotInMemoryIsAskedForAndNothingOvertakesIt) {
  Room room("plaza");
  room.say("[one]");
  Member member{.log = &room};
  Output output;
  World w;
  w.write(output, {&member}, 2);
  room.tail.start({5, {}});
  output.privates() += "(pong)";
  w.write(output, {&member}, 1000);
  EXPECT_EQ(w.needs, &member);
  EXPECT_EQ(w.wire, "[o");
  EXPECT_FALSE(output.detach(member));
}

TEST(Output, ADetachedMembersCutFrameIsStillFinished) {
  Room room("plaza");
  room.say("[one]");
  Member member{.log = &room};
  Output output;
  World w;
  w.write(output, {&member}, 2);
  ASSERT_TRUE(output.detach(member));
  w.write(output, {}, 1000);
  EXPECT_EQ(w.wire, "[one]");
}

TEST(Output, HoweverTheKernelCutsTheWireIsTheSame) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    Room plaza("plaza"), patio("patio");
    Member in_plaza{.log = &plaza, .live_after = 3, .live_due = true}, in_patio{.log = &patio};
    Output output;
    World w;
    std::string plaza_log, patio_log, privates;
    size_t turns = 0;
    while (turns < 60 || in_plaza.behind() || in_patio.behind() || output.private_bytes() > 0) {
      if (++turns <= 60) {
        const std::string n = std::to_string(turns);
        switch (random() % 4) {
          case 0: plaza.say("[P" + n + "]"), plaza_log += "[P" + n + "]"; break;
          case 1: patio.say("{p" + n + "}"), patio_log += "{p" + n + "}"; break;
          case 2: output.privates() += "(" + n + ")", privates += "(" + n + ")"; break;
          default: break;
        }
      }
      w.write(output, {&in_plaza, &in_patio}, random() % 12, random() % 3 == 0 ? "<s>" : "");
      ASSERT_LT(turns, 10'000u);
    }
    // Taken apart again, every stream is whole and in order, and no frame stands inside another.
    std::string got_plaza, got_patio, got_privates;
    std::string rest = w.wire;
    if (const size_t at = rest.find(live_of("plaza", 3)); at != std::string::npos)
      rest.erase(at, live_of("plaza", 3).size());
    while (!rest.empty()) {
      static const std::string opens = "[{(<", closes = "]})>";
      const size_t kind = opens.find(rest[0]);
      ASSERT_NE(kind, std::string::npos) << w.wire;
      const size_t end = rest.find(closes[kind]);
      ASSERT_NE(end, std::string::npos);
      const std::string frame = rest.substr(0, end + 1);
      ASSERT_EQ(frame.find_first_of(opens, 1), std::string::npos) << w.wire;
      (kind == 0 ? got_plaza : kind == 1 ? got_patio : got_privates) += kind == 3 ? "" : frame;
      rest.erase(0, end + 1);
    }
    EXPECT_EQ(got_plaza, plaza_log);
    EXPECT_EQ(got_patio, patio_log);
    EXPECT_EQ(got_privates, privates);
  }
}

TEST(Output, ABufferThatIsNeverEmptyDoesNotGrow) {
  Output output;
  World w;
  std::string expected;
  for (int i = 0; i < 10'000; ++i) {
    const std::string frame = "(answer " + std::to_string(i) + ")";
    expected += frame;
    output.privates() += frame;
    w.write(output, {}, i == 0 ? frame.size() - 3 : frame.size());  // always three bytes too few
    ASSERT_GT(output.private_bytes(), 0u);
    ASSERT_LT(output.privates().capacity(), 1000u) << i;
  }
  w.write(output, {}, 100);
  EXPECT_EQ(w.wire, expected);
}

}  // namespace
}  // namespace tertulia
