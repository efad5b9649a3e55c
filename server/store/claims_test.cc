#include "store/claims.h"

#include <gtest/gtest.h>

namespace tertulia {
namespace {

using Status = ClaimResult::Status;

// One node's claims, with a clock that stands still until told.
struct World {
  explicit World(bool names_kept = false, ClaimsOptions options = {})
      : claims(std::make_unique<Claims>(options, names_kept, clock.now_us())) {}

  ClaimResult comes(const std::string& user, const std::string& name, bool returning = false,
                    const std::string& room = "plaza") {
    return claims->claim({room, name, name, user, returning}, clock.now_us());
  }
  ReleaseResult goes(const std::string& user, bool clean, const std::string& room = "plaza") {
    return claims->release(room, user, clean, clock.now_us());
  }
  ReleaseResult reloads(const std::string& user) { return claims->release_reloading("plaza", user, clock.now_us()); }
  ReleaseResult expires(const std::string& user) { return claims->expire("plaza", user, clock.now_us()); }
  std::optional<std::string> name_of(const std::string& user) {
    return claims->member_name("plaza", user, clock.now_us());
  }
  uint64_t count() { return claims->members_count("plaza", clock.now_us()); }
  std::vector<std::string> listed() {
    std::vector<std::string> users;
    for (auto& entry : claims->members("plaza", "", 1000, clock.now_us()).members) users.push_back(entry.user_id);
    return users;
  }

  ManualClock clock;
  std::unique_ptr<Claims> claims;
};

TEST(Claims, ANameBelongsToOneUserHoweverManySessionsHeHas) {
  World w;
  auto first = w.comes("ana", "a");
  EXPECT_EQ(first.status, Status::granted);
  EXPECT_TRUE(first.first);
  auto second = w.comes("ana", "a");
  EXPECT_EQ(second.status, Status::granted);
  EXPECT_FALSE(second.first);
  EXPECT_EQ(second.members_count, 1u);
  EXPECT_EQ(w.comes("bea", "a").status, Status::taken);
  auto bea = w.comes("bea", "b");
  EXPECT_TRUE(bea.first);
  EXPECT_EQ(bea.members_count, 2u);
}

TEST(Claims, OnlyTheLastOfSeveralSessionsLeaves) {
  World w;
  w.comes("ana", "a");
  w.comes("ana", "a");
  auto one = w.goes("ana", true);
  EXPECT_FALSE(one.last);
  EXPECT_FALSE(one.left);
  EXPECT_EQ(w.comes("bea", "a").status, Status::taken);
  auto two = w.goes("ana", true);
  EXPECT_TRUE(two.last);
  EXPECT_TRUE(two.left);
  EXPECT_EQ(two.members_count, 0u);
  EXPECT_EQ(w.comes("bea", "a").status, Status::granted);
}

TEST(Claims, AnUncleanLeaveKeepsTheNameForItsGraceAndNotLonger) {
  World w;
  w.comes("ana", "a");
  auto gone = w.goes("ana", false);
  EXPECT_TRUE(gone.last);
  EXPECT_FALSE(gone.left);
  EXPECT_EQ(gone.members_count, 1u) << "within the grace he has not left";
  w.clock.advance_ms(9'999);
  auto early = w.comes("bea", "a");
  EXPECT_EQ(early.status, Status::waiting);
  EXPECT_FALSE(early.after_start);
  EXPECT_EQ(early.retry_after_ms, 1);
  w.clock.advance_ms(1);
  auto later = w.comes("bea", "a");
  EXPECT_EQ(later.status, Status::granted);
  EXPECT_EQ(later.members_count, 1u);
}

TEST(Claims, WhoComesBackWithinTheGraceHasNeitherLeftNorJoined) {
  World w;
  w.comes("ana", "a");
  w.goes("ana", false);
  w.clock.advance_ms(5'000);
  auto back = w.comes("ana", "a");
  EXPECT_EQ(back.status, Status::granted);
  EXPECT_FALSE(back.first);
  w.clock.advance_ms(20'000);
  EXPECT_FALSE(w.expires("ana").left);
  EXPECT_EQ(w.count(), 1u);
}

TEST(Claims, ExpireSaysLeftToExactlyOneCaller) {
  World w;
  w.comes("ana", "a");
  w.goes("ana", false);
  EXPECT_FALSE(w.expires("ana").left) << "before its time nothing ends";
  w.clock.advance_ms(10'000);
  EXPECT_TRUE(w.expires("ana").left);
  EXPECT_FALSE(w.expires("ana").left);
  EXPECT_EQ(w.count(), 0u);
}

TEST(Claims, WhoComesBackAfterTheGraceButBeforeAnybodyWasToldHasNotJoinedAgain) {
  World w;
  w.comes("ana", "a");
  w.goes("ana", false);
  w.clock.advance_ms(10'500);
  EXPECT_FALSE(w.comes("ana", "a").first);
  EXPECT_FALSE(w.expires("ana").left);
  EXPECT_EQ(w.count(), 1u);
}

TEST(Claims, WhoLostHisNameAfterTheGraceIsStillSaidToHaveLeft) {
  World w;
  w.comes("ana", "a");
  w.goes("ana", false);
  w.clock.advance_ms(10'500);
  EXPECT_TRUE(w.comes("bea", "a").first);
  EXPECT_TRUE(w.expires("ana").left);
  EXPECT_EQ(w.listed(), std::vector<std::string>{"bea"});
}

TEST(Claims, AnOldGraceDoesNotEndANewOne) {
  World w;
  w.comes("ana", "a");
  w.goes("ana", false);
  w.clock.advance_ms(9'000);
  w.comes("ana", "a");
  w.goes("ana", false);
  w.clock.advance_ms(2'000);
  EXPECT_EQ(w.comes("bea", "a").status, Status::waiting);
  EXPECT_FALSE(w.expires("ana").left);
  w.clock.advance_ms(8'000);
  EXPECT_TRUE(w.expires("ana").left);
}

TEST(Claims, AReleaseOfSomebodyWhoIsNotThereChangesNothing) {
  World w;
  EXPECT_FALSE(w.goes("ana", true).last);
  w.comes("ana", "a");
  w.goes("ana", true);
  auto again = w.goes("ana", true);
  EXPECT_FALSE(again.last);
  EXPECT_FALSE(again.left);
  EXPECT_FALSE(w.expires("ana").left);
}

TEST(Claims, ASecondNameOfTheSameUserIsHeldAndGoesWithHisLastSession) {
  World w;
  w.comes("ana", "a");
  auto second = w.comes("ana", "b");
  EXPECT_EQ(second.status, Status::granted);
  EXPECT_FALSE(second.first);
  EXPECT_EQ(w.name_of("ana"), "a");
  EXPECT_EQ(w.listed().size(), 1u);
  w.goes("ana", true);
  EXPECT_EQ(w.comes("bea", "b").status, Status::taken);
  w.goes("ana", true);
  EXPECT_EQ(w.comes("bea", "b").status, Status::granted);
  EXPECT_EQ(w.comes("cid", "a").status, Status::granted);
}

TEST(Claims, WhoComesBackByAnotherNameIsKnownByItAndTheOldOneEndsInItsTime) {
  World w;
  w.comes("ana", "a");
  w.goes("ana", false);
  w.clock.advance_ms(4'000);
  EXPECT_FALSE(w.comes("ana", "z").first);
  EXPECT_EQ(w.name_of("ana"), "z");
  auto other = w.comes("bea", "a");
  EXPECT_EQ(other.status, Status::waiting);
  EXPECT_EQ(other.retry_after_ms, 6'000);
  w.clock.advance_ms(6'000);
  EXPECT_EQ(w.comes("bea", "a").status, Status::granted);
  EXPECT_EQ(w.comes("cid", "z").status, Status::taken);
}

TEST(Claims, AnOldNameThatHisOtherTabComesBackWithStaysHis) {
  World w;
  w.comes("ana", "a");
  w.goes("ana", false);
  w.comes("ana", "z");
  w.comes("ana", "a");
  w.clock.advance_ms(30'000);
  EXPECT_EQ(w.comes("bea", "a").status, Status::taken);
}

TEST(Claims, NamesOfOneMemberAreBounded) {
  World w;
  for (int i = 0; i < 8; ++i) EXPECT_EQ(w.comes("ana", "n" + std::to_string(i)).status, Status::granted);
  EXPECT_EQ(w.comes("ana", "n8").status, Status::too_many);
  EXPECT_EQ(w.comes("ana", "n3").status, Status::granted);
}

TEST(Claims, AReloadedPageNeitherLeavesNorJoinsButHoldsNoNameMeanwhile) {
  World w;
  w.comes("ana", "a");
  auto gone = w.reloads("ana");
  EXPECT_TRUE(gone.last);
  EXPECT_FALSE(gone.left);
  w.clock.advance_ms(3'000);
  EXPECT_FALSE(w.comes("ana", "a").first);
  w.reloads("ana");
  auto bea = w.comes("bea", "a");
  EXPECT_EQ(bea.status, Status::granted);
  EXPECT_EQ(bea.members_count, 1u);
  EXPECT_TRUE(w.expires("ana").left) << "his name is gone, so he is";
  w.clock.advance_ms(60'000);
  EXPECT_FALSE(w.expires("ana").left);
}

TEST(Claims, AReloadedPageThatDoesNotComeBackHasLeftAfterTheGrace) {
  World w;
  w.comes("ana", "a");
  w.reloads("ana");
  w.clock.advance_ms(9'000);
  EXPECT_FALSE(w.expires("ana").left);
  w.clock.advance_ms(1'000);
  EXPECT_TRUE(w.expires("ana").left);
}

TEST(Claims, AFormerMemberIsKnownByNameForAMinute) {
  World w;
  w.comes("ana", "a");
  w.goes("ana", true);
  w.clock.advance_ms(59'999);
  EXPECT_EQ(w.name_of("ana"), "a");
  w.clock.advance_ms(1);
  EXPECT_EQ(w.name_of("ana"), std::nullopt);
  EXPECT_EQ(w.claims->rooms_count(), 0u) << "an idle room takes no memory";
}

TEST(Claims, AFormerMemberWhoIsBackIsNotForgotten) {
  World w;
  w.comes("ana", "a");
  w.goes("ana", true);
  w.clock.advance_ms(30'000);
  EXPECT_TRUE(w.comes("ana", "a").first);
  w.clock.advance_ms(100'000);
  EXPECT_EQ(w.name_of("ana"), "a");
  EXPECT_EQ(w.comes("bea", "a").status, Status::taken);
}

TEST(Claims, AfterARestartWhoReturnsIsAdmittedAtOnceAndANewcomerWaits) {
  World w(true);
  w.clock.advance_ms(1'000);
  auto newcomer = w.comes("eve", "a");
  EXPECT_EQ(newcomer.status, Status::waiting);
  EXPECT_TRUE(newcomer.after_start);
  EXPECT_EQ(newcomer.retry_after_ms, 9'000);
  EXPECT_EQ(w.comes("ana", "a", true).status, Status::granted);
  EXPECT_EQ(w.comes("ana", "a").status, Status::granted) << "his second tab needs no past";
  EXPECT_EQ(w.comes("ana", "b").status, Status::waiting) << "another name does";
  EXPECT_EQ(w.comes("eve", "a", true).status, Status::taken);
  w.clock.advance_ms(9'000);
  EXPECT_EQ(w.comes("eve", "e").status, Status::granted);
}

TEST(Claims, AfterARunThatEndedEmptyNobodyWaits) {
  World w(false);
  EXPECT_EQ(w.comes("eve", "a").status, Status::granted);
}

TEST(Claims, ReturningDoesNotTakeANameThatWaitsForSomebodyElse) {
  World w;
  w.comes("ana", "a");
  w.goes("ana", false);
  EXPECT_EQ(w.comes("eve", "a", true).status, Status::waiting);
}

TEST(Claims, MembersAndRoomsAreBounded) {
  ClaimsOptions options;
  options.members_per_room_max = 2;
  options.rooms_max = 2;
  World w(false, options);
  EXPECT_EQ(w.comes("ana", "a").status, Status::granted);
  EXPECT_EQ(w.comes("bea", "b").status, Status::granted);
  EXPECT_EQ(w.comes("cid", "c").status, Status::too_many);
  EXPECT_EQ(w.comes("ana", "a").status, Status::granted) << "a member's second session is no member more";
  EXPECT_EQ(w.comes("cid", "c", false, "patio").status, Status::granted);
  EXPECT_EQ(w.comes("cid", "c", false, "garden").status, Status::too_many);
  w.goes("cid", true, "patio");
  EXPECT_EQ(w.comes("cid", "c", false, "garden").status, Status::granted) << "a room that nobody is in does not count";
  EXPECT_EQ(w.comes("cid", "c", false, "patio").status, Status::too_many);
}

TEST(Claims, FormerMembersAreBoundedOverAllRooms) {
  ClaimsOptions options;
  options.former_members_max = 10;
  World w(false, options);
  for (int i = 0; i < 100; ++i) {
    std::string room = "room" + std::to_string(i);
    w.comes("ana", "a", false, room);
    w.goes("ana", true, room);
  }
  EXPECT_LE(w.claims->rooms_count(), 11u);
}

TEST(Claims, MembersArePagedByFoldedName) {
  World w;
  for (int i = 0; i < 25; ++i) w.comes("user" + std::to_string(i), std::string(1, static_cast<char>('a' + i)));
  std::string after, names;
  int pages = 0;
  do {
    auto page = w.claims->members("plaza", after, 10, w.clock.now_us());
    EXPECT_TRUE(page.ok);
    EXPECT_EQ(page.total, 25u);
    for (auto& entry : page.members) names += entry.user_name;
    after = page.next;
    ++pages;
  } while (!after.empty());
  EXPECT_EQ(names, "abcdefghijklmnopqrstuvwxy");
  EXPECT_EQ(pages, 3);
}

TEST(Claims, APageThatEndsWithTheLastMemberHasNoNext) {
  World w;
  w.comes("ana", "a");
  w.comes("bea", "b");
  EXPECT_EQ(w.claims->members("plaza", "", 2, w.clock.now_us()).next, "");
}

TEST(Claims, EmptyMeansThatNoNameWaitsForAnybody) {
  World w;
  EXPECT_TRUE(w.claims->empty(w.clock.now_us()));
  w.comes("ana", "a");
  EXPECT_FALSE(w.claims->empty(w.clock.now_us()));
  w.goes("ana", false);
  EXPECT_FALSE(w.claims->empty(w.clock.now_us()));
  w.clock.advance_ms(10'000);
  EXPECT_TRUE(w.claims->empty(w.clock.now_us()));
}

}  // namespace
}  // namespace tertulia
