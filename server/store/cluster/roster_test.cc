#include "store/cluster/roster.h"

#include <gtest/gtest.h>

#include "store/cluster/lease.h"
#include "store/cluster/roster_world.h"

namespace tertulia::cluster {
namespace {

using testing_roster::Node;
using testing_roster::World;
using How = World::How;
using Status = ClaimResult::Status;
using Told = std::vector<std::string>;

TEST(Roster, ANameBelongsToOneUserHoweverManySessionsHeHasOnHoweverManyNodes) {
  World w(2);
  const ClaimResult first = w.comes(0, "ana", "a");
  EXPECT_EQ(first.status, Status::granted);
  EXPECT_TRUE(first.first);
  EXPECT_EQ(first.members_count, 1u);
  for (size_t node : {0u, 1u, 1u}) {
    const ClaimResult again = w.comes(node, "ana", "a");
    EXPECT_EQ(again.status, Status::granted);
    EXPECT_FALSE(again.first);
    EXPECT_EQ(again.members_count, 1u);
  }
  EXPECT_EQ(w.comes(0, "bea", "a").status, Status::taken);
  EXPECT_EQ(w.comes(1, "bea", "a").status, Status::taken);
  EXPECT_EQ(w.comes(1, "bea", "b").members_count, 2u);
}

TEST(Roster, OnlyTheLastSessionOfAllNodesLeaves) {
  World w(2);
  w.comes(0, "ana", "a");
  w.comes(0, "ana", "a");
  w.comes(1, "ana", "a");
  EXPECT_FALSE(w.goes(0, "ana", How::clean).last);
  const ReleaseResult here = w.goes(0, "ana", How::clean);
  EXPECT_FALSE(here.left) << "he has one on the other node";
  EXPECT_FALSE(here.last);
  EXPECT_EQ(w.comes(0, "bea", "a").status, Status::taken);
  const ReleaseResult last = w.goes(1, "ana", How::clean);
  EXPECT_TRUE(last.last);
  EXPECT_TRUE(last.left);
  EXPECT_EQ(last.members_count, 0u);
  EXPECT_EQ(w.comes(0, "bea", "a").status, Status::granted);
  EXPECT_FALSE(w.goes(0, "ana", How::clean).last) << "nobody leaves twice";
}

TEST(Roster, OnlyTheFirstSessionAndTheLastLeaveOfANodeWrite) {
  World w(1);
  w.comes(0, "ana", "a");
  const size_t puts = w[0].database.calls(ModelCall::put);
  w.comes(0, "ana", "a");
  w.goes(0, "ana", How::unclean);
  EXPECT_EQ(w[0].database.calls(ModelCall::put), puts);
}

TEST(Roster, AnUncleanLeaveKeepsTheNameUntilItsKeeperCallsTheEnd) {
  World w(2);
  w.comes(0, "ana", "a");
  const ReleaseResult gone = w.goes(0, "ana", How::unclean);
  EXPECT_TRUE(gone.last);
  EXPECT_FALSE(gone.left);
  EXPECT_EQ(gone.members_count, 1u) << "within the grace he has not left";
  w.pass_ms(4'000);
  const ClaimResult here = w.comes(0, "bea", "a");
  EXPECT_EQ(here.status, Status::waiting);
  EXPECT_EQ(here.retry_after_ms, 6'000);
  const ClaimResult there = w.comes(1, "bea", "a");
  EXPECT_EQ(there.status, Status::waiting);
  EXPECT_GT(there.retry_after_ms, 0);
  EXPECT_FALSE(w.expires(0, "ana").left) << "before its time nothing ends";
  w.pass_ms(6'000);
  EXPECT_TRUE(w.expires(0, "ana").left);
  EXPECT_FALSE(w.expires(0, "ana").left);
  EXPECT_EQ(w.count(1), 0u);
  EXPECT_EQ(w.comes(1, "bea", "a").status, Status::granted);
}

TEST(Roster, WhoComesBackWithinTheGraceOnAnotherNodeHasNeitherLeftNorJoined) {
  World w(2);
  w.comes(0, "ana", "a");
  w.goes(0, "ana", How::unclean);
  w.pass_ms(5'000);
  const ClaimResult back = w.comes(1, "ana", "a");
  EXPECT_EQ(back.status, Status::granted);
  EXPECT_FALSE(back.first);
  w.pass_ms(30'000);
  EXPECT_FALSE(w.expires(0, "ana").left) << "who is no longer keeper ends nothing";
  EXPECT_EQ(w.count(0), 1u);
  EXPECT_TRUE(w.told("departed").empty());
}

TEST(Roster, AnOldGraceDoesNotEndANewOneOfTheSameOrOfAnotherKeeper) {
  for (size_t second : {0u, 1u}) {
    World w(2);
    w.comes(0, "ana", "a");
    w.goes(0, "ana", How::unclean);
    w.pass_ms(9'000);
    w.comes(second, "ana", "a");
    w.goes(second, "ana", How::unclean);
    w.pass_ms(2'000);
    EXPECT_FALSE(w.expires(0, "ana").left);
    EXPECT_EQ(w.comes(0, "bea", "a").status, Status::waiting);
    w.pass_ms(8'000);
    EXPECT_TRUE(w.expires(second, "ana").left);
  }
}

TEST(Roster, AGraceThatNobodyCallsTheEndOfEndsAllTheSame) {
  World w(1);
  w.comes(0, "ana", "a");
  w.goes(0, "ana", How::unclean);
  w.pass_ms(20'000);
  EXPECT_EQ(w.told("departed"), Told{"departed plaza ana a 0"});
  EXPECT_FALSE(w.expires(0, "ana").left);
}

TEST(Roster, AReloadedPageHoldsNoNameAndWhoTakesItMakesHimLeave) {
  World w(2);
  w.comes(0, "ana", "a");
  const ReleaseResult gone = w.goes(0, "ana", How::reloading);
  EXPECT_TRUE(gone.last);
  EXPECT_FALSE(gone.left);
  EXPECT_FALSE(w.comes(1, "ana", "a").first);
  w.goes(1, "ana", How::reloading);
  const ClaimResult bea = w.comes(0, "bea", "a");
  EXPECT_EQ(bea.status, Status::granted);
  EXPECT_TRUE(bea.first);
  EXPECT_EQ(bea.members_count, 1u);
  EXPECT_EQ(w.told("departed"), Told{"departed plaza ana a 1"});
  w.pass_ms(10'000);
  EXPECT_FALSE(w.expires(1, "ana").left) << "that has been said";
}

TEST(Roster, ASecondNameOfTheSameUserIsHeldAndNobodyHearsOfIt) {
  World w(2);
  w.comes(0, "ana", "a");
  EXPECT_FALSE(w.comes(0, "ana", "b").first);
  EXPECT_FALSE(w.comes(1, "ana", "c").first);
  EXPECT_EQ(w.comes(1, "bea", "b").status, Status::taken);
  EXPECT_FALSE(w.goes(0, "ana", How::clean).last);
  EXPECT_FALSE(w.goes(0, "ana", How::clean).left) << "he is there by another name";
  EXPECT_EQ(w.comes(1, "bea", "b").status, Status::granted);
  EXPECT_TRUE(w.goes(1, "ana", How::clean).left);
}

TEST(Roster, MembersAndNamesAreBounded) {
  World w(0);
  w.options.claims.members_per_room_max = 2;
  w.options.claims.names_per_member_max = 2;
  w.start_node();
  w.start_node();
  w.pump();
  EXPECT_EQ(w.comes(0, "ana", "a").status, Status::granted);
  EXPECT_EQ(w.comes(1, "bea", "b").status, Status::granted);
  EXPECT_EQ(w.comes(0, "cid", "c").status, Status::too_many);
  EXPECT_EQ(w.comes(1, "ana", "a").status, Status::granted) << "a member's second session is no member more";
  EXPECT_EQ(w.comes(1, "ana", "a2").status, Status::granted);
  EXPECT_EQ(w.comes(1, "ana", "a3").status, Status::too_many);
  EXPECT_EQ(w.servers->record("plaza", "c"), std::nullopt);
}

TEST(Roster, MembersArePagedByNameAndKnownForAWhileAfterwards) {
  World w(2);
  for (int i = 0; i < 25; ++i) {
    w.comes(static_cast<size_t>(i) % 2, "user" + std::to_string(i), std::string(1, static_cast<char>('a' + i)));
  }
  std::string after, names;
  int pages = 0;
  do {
    const MemberList page = w.members(1, after, 10);
    EXPECT_TRUE(page.ok);
    EXPECT_EQ(page.total, 25u);
    for (const auto& entry : page.members) names += entry.user_name;
    after = page.next;
    ++pages;
  } while (!after.empty());
  EXPECT_EQ(names, "abcdefghijklmnopqrstuvwxy");
  EXPECT_EQ(pages, 3);

  EXPECT_EQ(w.name_of(1, "user0"), "a");
  w.goes(0, "user0", How::clean);
  w.pass_ms(50'000);
  EXPECT_EQ(w.name_of(0, "user0"), "a");
  EXPECT_EQ(w.name_of(1, "user0"), "a");
  w.pass_ms(11'000);
  EXPECT_EQ(w.name_of(0, "user0"), std::nullopt);
  EXPECT_EQ(w.name_of(1, "user0"), std::nullopt);
  EXPECT_EQ(w.servers->record("plaza", "a")->user, "") << "the store does not keep him for ever";
}

TEST(Roster, HundredUsersRaceForOneNameThroughThreeNodesAndOneWins) {
  World w(3);
  std::vector<World::Answer<ClaimResult>> answers;
  for (size_t i = 0; i < 100; ++i) answers.push_back(w.asks(i % 3, "user" + std::to_string(i), "a"));
  w.pump();
  int granted = 0, first = 0;
  for (const auto& answer : answers) {
    ASSERT_TRUE(answer->has_value());
    granted += (*answer)->status == Status::granted ? 1 : 0;
    first += (*answer)->first ? 1 : 0;
    EXPECT_TRUE((*answer)->status == Status::granted || (*answer)->status == Status::taken);
  }
  EXPECT_EQ(granted, 1);
  EXPECT_EQ(first, 1);
}

TEST(Roster, WhatWaitsTogetherIsOneLoadAndOnePut) {
  World w(1);
  w.pass_ms(300);
  const size_t loads = w[0].database.calls(ModelCall::load), puts = w[0].database.calls(ModelCall::put);
  std::vector<World::Answer<ClaimResult>> answers;
  for (size_t i = 0; i < 100; ++i) {
    answers.push_back(w.asks(0, "user" + std::to_string(i), "name" + std::to_string(i)));
  }
  w.pump();
  for (const auto& answer : answers) EXPECT_EQ((*answer)->status, Status::granted);
  EXPECT_LE(w[0].database.calls(ModelCall::load), loads + 2);
  EXPECT_LE(w[0].database.calls(ModelCall::put), puts + 2);
}

// --- lost replies ---

TEST(Roster, AClaimOrALeaveWhoseReplyWasLostIsSettledAndToldOnce) {
  for (ModelFault fault : {ModelFault::lost_before, ModelFault::lost_after, ModelFault::warning, ModelFault::not_now}) {
    SCOPED_TRACE(name_of(fault));
    World w(2);
    w[0].database.next(ModelCall::put, fault);
    auto came = w.asks(0, "ana", "a");
    w.pass_ms(1'000);
    ASSERT_TRUE(came->has_value());
    EXPECT_EQ((*came)->status, Status::granted);
    EXPECT_TRUE((*came)->first);
    w[0].database.next(ModelCall::put, fault);
    auto gone = w.leaves(0, "ana", How::clean);
    w.pass_ms(1'000);
    ASSERT_TRUE(gone->has_value());
    EXPECT_TRUE((*gone)->left);
    EXPECT_EQ(w.count(1), 0u);
    w.comes(0, "ana", "a");
    w.goes(0, "ana", How::unclean);
    w.pass_ms(10'000);
    w[0].database.next(ModelCall::put, fault);
    auto ended = w.calls_expire(0, "ana");
    w.pass_ms(1'000);
    ASSERT_TRUE(ended->has_value());
    EXPECT_TRUE((*ended)->left);
  }
}

TEST(Roster, AReplyThatIsLostIsSettledEvenIfOthersHaveBuiltOnTheWrite) {
  World w(2);
  // Between the loss and the second look his other tab comes on the other node.
  w[0].database.next(ModelCall::put, ModelFault::lost_after);
  auto here = w.asks(0, "ana", "a");
  while (w[0].worker->run_one()) {
  }
  EXPECT_FALSE(w.comes(1, "ana", "a").first);
  w.pass_ms(1'000);
  ASSERT_TRUE(here->has_value());
  EXPECT_TRUE((*here)->first) << "his write was the first, the record's trail says so";
}

TEST(Roster, AClaimThatTheDatabaseTakesOnlyLaterIsOneClaim) {
  World w(2);
  w[0].database.next(ModelCall::put, ModelFault::late);
  auto came = w.asks(0, "ana", "a");
  w.pass_ms(1'000);
  while (w.servers->land_one()) {
  }
  w.pass_ms(1'000);
  ASSERT_TRUE(came->has_value());
  EXPECT_TRUE((*came)->first);
  EXPECT_EQ(w.comes(1, "bea", "a").status, Status::taken);
  EXPECT_TRUE(w.goes(0, "ana", How::clean).left);
}

// --- leases ---

TEST(Roster, KnowsItsPeersAndHoldsItsLease) {
  World w(3);
  w.pass_ms(20'000);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(w.roster(i).lease_holds());
    EXPECT_EQ(w.roster(i).peers().size(), 2u);
    EXPECT_EQ(w.roster(i).trouble(), "");
  }
}

TEST(Roster, AKilledNodesNamesAreForTheirUsersAtOnceAndForOthersAfterLeaseAndGrace) {
  World w(3);
  w.comes(0, "ana", "a");
  w.comes(0, "bea", "b");
  w.comes(0, "cid", "c");
  w.comes(1, "cid", "c");
  w.kill(0);
  EXPECT_FALSE(w.comes(1, "ana", "a").first);
  w.pass_ms(7'500);
  EXPECT_EQ(w.comes(2, "eve", "b").status, Status::waiting);
  w.pass_ms(8'000);
  EXPECT_TRUE(w.told("departed").empty());
  w.pass_ms(3'500);
  EXPECT_EQ(w.told("departed"), Told{"departed plaza bea b 2"}) << "once, by one node, and of nobody else";
  EXPECT_EQ(w.comes(2, "eve", "b").status, Status::granted);
  EXPECT_EQ(w.count(1), 3u);
  w.pass_ms(120'000);
  EXPECT_EQ(w.told("departed").size(), 1u);
}

TEST(Roster, WhoHasJoinedOnAnotherNodeMeanwhileIsNotSaidToHaveLeft) {
  World w(2);
  w.comes(0, "ana", "a");
  w.kill(0);
  w.pass_ms(8'000);
  EXPECT_FALSE(w.comes(1, "ana", "a").first) << "within lease and grace he comes back";
  w.pass_ms(60'000);
  EXPECT_TRUE(w.told("departed").empty());
}

TEST(Roster, IfTheKeeperDiesAnotherCountsTheGrace) {
  World w(3);
  w.comes(0, "ana", "a");
  w.comes(0, "bea", "b");
  w.goes(0, "ana", How::unclean);
  w.goes(0, "bea", How::reloading);
  w.pass_ms(3'000);
  w.kill(0);
  w.pass_ms(20'000);
  Told told = w.told("departed");
  std::sort(told.begin(), told.end());
  ASSERT_EQ(told.size(), 2u);
  EXPECT_TRUE(told[0].starts_with("departed plaza ana a"));
  EXPECT_TRUE(told[1].starts_with("departed plaza bea b"));
}

TEST(Roster, IfTheHeirDiesTooTheNextInheritsFromBoth) {
  World w(3);
  w.comes(0, "ana", "a");
  w.kill(0);
  w.pass_ms(8'000);
  w.kill(1);
  w.kill(2);
  w.pass_ms(100'000);
  w.start_node();
  w.pass_ms(1'000);
  EXPECT_EQ(w.comes(3, "eve", "a").status, Status::waiting);
  w.pass_ms(20'000);
  EXPECT_EQ(w.told("departed").size(), 1u);
  EXPECT_EQ(w.comes(3, "eve", "a").status, Status::granted);
}

TEST(Roster, WhatAllNodesLeftIsFoundByWhoeverComesNext) {
  World w(2);
  w.comes(0, "ana", "a");
  w.comes(1, "bea", "b");
  w.kill(0);
  w.kill(1);
  w.pass_ms(3'600'000, 1'000'000);
  w.start_node();
  w.pass_ms(500);
  EXPECT_EQ(w.count(2), 2u);
  w.pass_ms(18'000);
  EXPECT_EQ(w.told("departed").size(), 2u);
  EXPECT_EQ(w.count(2), 0u);
  w.pass_ms(120'000);
  for (const Record& record : w.servers->records()) {
    if (estate_node(record.name).empty()) continue;
    EXPECT_EQ(record.live, estate_node(record.name) == w.roster(2).node()) << "estates are settled in the end";
  }
}

TEST(Roster, ACleanEndLetsPeersNotWaitForTheLease) {
  World w(2);
  w.comes(0, "ana", "a");
  w.roster(0).stop();
  w.kill(0);
  w.pass_ms(3'000);
  EXPECT_TRUE(w.roster(1).peers().empty());
  EXPECT_EQ(w.comes(1, "eve", "a").status, Status::waiting) << "as after an unclean leave";
  EXPECT_EQ(w.comes(1, "ana", "a").status, Status::granted);
  EXPECT_TRUE(w.told("departed").empty());
}

TEST(Roster, ANodeThatEndsWithoutMembersLeavesNothingToSettle) {
  World w(1);
  w.comes(0, "ana", "a");
  w.goes(0, "ana", How::clean);
  w.roster(0).stop();
  for (const Record& record : w.servers->records()) EXPECT_FALSE(record.live) << record.name;
}

TEST(Roster, AfterARestartNamesWaitForTheirUsersFromTheFirstMoment) {
  World w(1);
  w.comes(0, "ana", "a");
  w.roster(0).stop();
  w.kill(0);
  w.start_node();
  EXPECT_EQ(w.comes(1, "eve", "a").status, Status::waiting);
  EXPECT_EQ(w.comes(1, "ana", "a").status, Status::granted);
  w.pass_ms(10'000);
  EXPECT_EQ(w.comes(1, "eve", "e").status, Status::granted);
}

TEST(Roster, APausedNodeKeepsItsNamesIfNobodyTookThemAndSaysNothingBefore) {
  World w(2);
  w.comes(0, "ana", "a");
  w[0].paused = true;
  const std::string before = w.roster(0).node();
  w.pass_ms(9'000);  // declared dead; the grace is running
  w[0].paused = false;
  EXPECT_FALSE(w.roster(0).lease_holds()) << "judged by the clock, before anything of it has run";
  w.pump();
  EXPECT_TRUE(w.roster(0).lease_holds());
  EXPECT_NE(w.roster(0).node(), before);
  w.pass_ms(30'000);
  EXPECT_TRUE(w.told("departed").empty());
  EXPECT_TRUE(w.told("name_lost").empty());
  EXPECT_EQ(w.comes(1, "eve", "a").status, Status::taken);
  EXPECT_TRUE(w.goes(0, "ana", How::clean).left);
}

TEST(Roster, ANodeThatWakesTooLateIsToldWhichNamesItHasLostBeforeItMaySpeak) {
  World w(2);
  w.comes(0, "ana", "a");
  w.comes(0, "ana", "a");
  w.comes(0, "bea", "b");
  w[0].paused = true;
  w.pass_ms(25'000);
  EXPECT_EQ(w.told("departed").size(), 2u);
  EXPECT_EQ(w.comes(1, "eve", "a").status, Status::granted);
  w[0].paused = false;
  while (w[0].worker->run_one()) EXPECT_FALSE(w.roster(0).lease_holds());
  w.pass_ms(1'000);
  EXPECT_TRUE(w.roster(0).lease_holds());
  EXPECT_EQ(w.told("name_lost"), Told{"name_lost plaza a ana"});
  EXPECT_EQ(w.told("arrived"), Told{"arrived plaza bea b"}) << "others were told that she had left";
  EXPECT_FALSE(w.goes(0, "ana", How::unclean).last) << "her sessions are closed and have no name to give up";
  EXPECT_FALSE(w.goes(0, "ana", How::unclean).last);
  EXPECT_EQ(w.count(0), 2u);
}

TEST(Roster, ALeaveThatWasNotDoneWhenTheLeaseWasLostIsDoneUnderTheNewName) {
  World w(2);
  w.comes(0, "ana", "a");
  w[0].paused = true;
  w.pass_ms(9'000);
  auto gone = w.leaves(0, "ana", How::clean);
  w[0].paused = false;
  w.pass_ms(1'000);
  ASSERT_TRUE(gone->has_value());
  w.pass_ms(30'000);
  EXPECT_EQ((*gone)->left ? 1u : 0u, 1u - w.told("departed").size()) << "said once";
  EXPECT_EQ(w.count(1), 0u);
}

TEST(Roster, ALateWriteOfTheDeadIsFoundAndTakenOverToo) {
  // A database that does not judge leases takes it.
  World w(2, {.reads_need_mark = false, .judges_leases = false});
  w[0].database.next(ModelCall::put, ModelFault::late);
  w.asks(0, "ana", "a");
  while (w[0].worker->run_one()) {
  }
  w.kill(0);
  w.pass_ms(20'000);
  while (w.servers->land_one()) {
  }
  EXPECT_EQ(w.comes(1, "eve", "a").status, Status::waiting) << "its node is known to be dead";
  w.pass_ms(45'000);
  EXPECT_EQ(w.count(1), 0u);
  EXPECT_EQ(w.comes(1, "eve", "a").status, Status::granted);
}

TEST(Roster, ALateWriteOfTheDeadIsFoundThoughNobodyAsksForTheName) {
  World w(2, {.reads_need_mark = false, .judges_leases = false});
  w[0].database.next(ModelCall::put, ModelFault::late);
  w.asks(0, "ana", "a");
  while (w[0].worker->run_one()) {
  }
  w.kill(0);
  w.pass_ms(30'000);
  while (w.servers->land_one()) {
  }
  EXPECT_EQ(w.count(1), 1u);
  w.pass_ms(45'000);
  EXPECT_EQ(w.count(1), 0u);
}

TEST(Roster, AClaimIsNotGrantedWhileTheLeaseDoesNotHoldThoughItStands) {
  World w(1);
  bool slow = true, failing = false;
  w[0].database.on_step([&](const ModelStep& step) {
    if (slow && step.call == ModelCall::put && step.after && step.room == "plaza") {
      slow = false;
      failing = true;
      w.clock.advance_us(7'000'000);
    }
    return failing && !step.after ? ModelFault::not_now : ModelFault::none;
  });
  auto ana = w.asks(0, "ana", "a");
  w.pass_ms(2'000);
  EXPECT_TRUE(w.servers->record("plaza", "a").has_value());
  EXPECT_FALSE(w.roster(0).lease_holds());
  EXPECT_FALSE(ana->has_value() && (*ana)->status == Status::granted);
  failing = false;
  w.pass_ms(2'000);
  ASSERT_TRUE(ana->has_value());
  EXPECT_EQ((*ana)->status, Status::granted);
  EXPECT_TRUE((*ana)->first);
}

TEST(Roster, AClaimThatLandedAfterItsNodeWasDeclaredDeadIsNotGrantedBesideAnother) {
  World w(2, {.reads_need_mark = false, .judges_leases = false});
  // The put's reply takes so long that the lease runs out, and the peer has declared this node dead meanwhile.
  bool slow = false;
  w[0].database.on_step([&](const ModelStep& step) {
    if (slow && step.call == ModelCall::put && step.after && step.room == "plaza") {
      slow = false;
      w[0].paused = true;
      w.pass_ms(30'000);
      w[0].paused = false;
    }
    return ModelFault::none;
  });
  slow = true;
  auto ana = w.asks(0, "ana", "a");
  // The other node finds the late name as a dead node's, and gives it away after the grace.
  w.pump();
  EXPECT_FALSE(slow);
  const ClaimResult eve = w.comes(1, "eve", "a");
  w.pass_ms(2'000);
  const bool ana_in = ana->has_value() && (*ana)->status == Status::granted;
  EXPECT_FALSE(ana_in && eve.status == Status::granted);
}

TEST(Roster, WhileTheDatabaseIsAwayClaimsAreNotNowLeavesWaitAndNobodyIsDeclaredDead) {
  World w(3);
  w.comes(0, "ana", "a");
  w.comes(1, "bea", "b");
  for (auto& node : w.nodes) node->database.be_away(true);
  w.pass_ms(20'000);
  EXPECT_FALSE(w.roster(0).lease_holds());
  EXPECT_NE(w.roster(0).trouble(), "");
  EXPECT_EQ(w.comes(0, "cid", "c").status, Status::not_now);
  EXPECT_EQ(w.comes(0, "ana", "a").status, Status::not_now);
  auto gone = w.leaves(1, "bea", How::clean);
  w.pass_ms(5'000);
  EXPECT_FALSE(gone->has_value());
  const std::string node = w.roster(0).node();
  for (auto& each : w.nodes) each->database.be_away(false);
  w.pass_ms(5'000);
  EXPECT_EQ(w.roster(0).node(), node) << "it was away for all, so nobody was declared dead";
  EXPECT_TRUE(w.roster(0).lease_holds());
  ASSERT_TRUE(gone->has_value());
  EXPECT_TRUE((*gone)->left);
  EXPECT_EQ(w.comes(0, "eve", "a").status, Status::taken);
  w.pass_ms(30'000);
  EXPECT_TRUE(w.told("departed").empty());
  EXPECT_TRUE(w.told("arrived").empty());
}

TEST(Roster, ANodeThatWasPausedDoesNotDeclareItsPeersDeadWhenItWakes) {
  World w(2);
  w.comes(1, "bea", "b");
  // Both were paused, as a virtual machine is; the other wakes a little later.
  w[0].paused = w[1].paused = true;
  w.pass_ms(60'000);
  const std::string node = w.roster(1).node();
  w[0].paused = false;
  w.pass_ms(3'000);
  w[1].paused = false;
  w.pass_ms(3'000);
  EXPECT_EQ(w.roster(1).node(), node);
  EXPECT_TRUE(w.roster(1).lease_holds());
}

TEST(Roster, WhoWasDeclaredDeadOnADeposedPrimaryKeepsHisNamesOnTheNewOne) {
  World w(2);
  w.comes(1, "bea", "b");
  const std::string node = w.roster(1).node();
  w[1].paused = true;
  w.pass_ms(5'000);
  w.servers->failover(true);
  for (int i = 0; i < 50 && !w.roster(0).peers().empty(); ++i) w.pass_ms(100);
  ASSERT_EQ(w.roster(0).peers().size(), 0u) << "it was declared dead, but on the old primary";
  w.servers->cut();
  w[1].paused = false;
  w.pass_ms(60'000);
  EXPECT_EQ(w.roster(1).node(), node);
  EXPECT_TRUE(w.roster(1).lease_holds());
  EXPECT_EQ(w.comes(0, "eve", "b").status, Status::taken);
}

TEST(Roster, AWallClockThatJumpsDecidesNothing) {
  World w(2);
  w.comes(0, "ana", "a");
  const std::string node = w.roster(0).node();
  for (int64_t wall : {0LL, 4'000'000'000'000LL, 1'500'000'000'000LL}) {
    w.clock.set_wall_ms(wall);
    EXPECT_TRUE(w.roster(0).lease_holds());
    w.pass_ms(5'000);
  }
  EXPECT_EQ(w.roster(0).node(), node);
  EXPECT_EQ(w.roster(1).peers(), std::vector<std::string>{node});
  EXPECT_TRUE(w.told("departed").empty());
}

TEST(Roster, TheLeaseAndItsRecordsAreRenewedWhileManyAsk) {
  World w(2);
  // A call that takes 40 ms, as on a slow database: 600 asks take far longer than the lease.
  w[0].database.on_step([&](const ModelStep& step) {
    if (!step.after) w.clock.advance_us(40'000);
    return ModelFault::none;
  });
  std::vector<World::Answer<ClaimResult>> answers;
  for (int i = 0; i < 600; ++i) answers.push_back(w.asks(0, "u" + std::to_string(i), "n" + std::to_string(i)));
  const std::string node = w.roster(0).node();
  for (int i = 0; i < 2000 && !answers.back()->has_value(); ++i) w.pass_ms(50);
  EXPECT_EQ(w.roster(0).node(), node);
  for (const auto& answer : answers) {
    ASSERT_TRUE(answer->has_value());
    EXPECT_EQ((*answer)->status, Status::granted);
  }
}

// Lists and counts of a large room are slow, and anybody may ask for them.
TEST(Roster, TheLeaseIsRenewedWhileManyListTheMembers) {
  World w(2);
  size_t answers = 0, without_lease = 0;
  for (int i = 0; i < 200; ++i) {
    w.roster(0).members("plaza", "", 100, w[0].executor, [&](const MemberList& list) {
      EXPECT_TRUE(list.ok);
      ++answers;
    });
  }
  const std::string node = w.roster(0).node();
  // Its worker alone runs, so the lease is looked at between any two calls.
  w[0].database.on_step([&](const ModelStep& step) {
    if (step.after) return ModelFault::none;
    w.clock.advance_us(60'000);
    if (!w.roster(0).lease_holds()) ++without_lease;
    return ModelFault::none;
  });
  w.pump();
  EXPECT_EQ(answers, 200u);
  EXPECT_EQ(without_lease, 0u);
  EXPECT_EQ(w.roster(0).node(), node);
}

TEST(Roster, ADatabaseThatIsAwayIsNotWaitedForAgainForEverybodyWhoReads) {
  World w;
  w[0].database.on_step([&](const ModelStep& step) {
    if (!step.after) w.clock.advance_us(3'000'000);
    return ModelFault::not_now;
  });
  const int64_t began_us = w.clock.now_us();
  size_t answers = 0;
  for (int i = 0; i < 64; ++i) {
    w.roster(0).members("plaza", "", 100, w[0].executor, [&](const MemberList& list) {
      EXPECT_FALSE(list.ok);
      ++answers;
    });
  }
  w[0].run_one();
  while (w[0].executor.run_one()) {
  }
  EXPECT_EQ(answers, 64u);
  EXPECT_LE(w.clock.now_us() - began_us, 30'000'000);
}

}  // namespace
}  // namespace tertulia::cluster
