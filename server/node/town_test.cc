// Several nodes, one store, a bus between them: what is lost is mended, and a store that went back is noticed.
#include "node/town.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/spoken.h"

namespace tertulia {
namespace {

using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

// Ana on the first node, Bea on the second, and some talk that both have seen.
struct Talk : Town {
  explicit Talk(size_t messages, const Options& options = quick()) : Town(2, options) {
    ana = connect(Dialect::v2, 0);
    bea = connect(Dialect::v2, 1);
    send(*ana, join_v2("Ana", key_ana));
    send(*bea, join_v2("Bea", key_bea));
    for (size_t i = 1; i <= messages; ++i) says(std::to_string(i));
    held = bea->frames.empty() || messages == 0 ? "" : position_in(bea->frames.back());
    ana->take();
    bea->take();
  }
  static Options quick() {
    Options options;
    options.live.rate_limits = false;
    options.heartbeat_ms = 3'600'000;
    options.silent_ms = 3'600'000;
    return options;
  }
  void says(const std::string& text) { send(*ana, text_v2("u-" + text, text)); }
  std::shared_ptr<Wire> ana, bea;
  std::string held;  // the position of the last of them
};

std::vector<std::string> numbers(size_t from, size_t to) {
  std::vector<std::string> out;
  for (size_t i = from; i <= to; ++i) out.push_back("m:" + std::to_string(i));
  return out;
}
std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(Town, MembersOfTwoNodesSeeOneLog) {
  Talk t(0);
  t.says("one");
  t.send(*t.bea, text_v2("b", "two"));
  EXPECT_THAT(gists(t.ana->take()), ElementsAre("said", "m:one", "m:two"));
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("m:one", "said", "m:two"));
  EXPECT_THAT(t.places[1].store->heard_of,
              Contains(std::pair(std::string("plaza"), Position(t.log_at(0).head()))).Times(0))
      << "its own append was not heard of";
  EXPECT_THAT(t.places[1].store->heard_of, SizeIs(1)) << "what the bus told needs no further proof";
}

// --- what the bus loses ---

TEST(Town, NothingIsAskedOfTheStoreWhileEverybodyIsHeard) {
  Talk t(3);
  t.passes_ms(30'000);
  EXPECT_EQ(t.places[0].store->questions, 0u);
  EXPECT_EQ(t.places[1].store->questions, 0u);
}

TEST(Town, TheLastMessageOfANodeThatIsCutOffFromTheBusReachesTheOthersWithinTwoSeconds) {
  Talk t(3);
  t.places[0].bus->is_cut = true;
  t.says("last");
  t.ana->take();
  t.passes_ms(2'000);
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("m:last"));
  t.send(*t.bea, text_v2("b", "answer"));
  t.passes_ms(2'000);
  EXPECT_THAT(gists(t.ana->take()), ElementsAre("m:answer"));
  t.places[0].bus->is_cut = false;
  t.passes_ms(2'000);
  const size_t questions = t.places[1].store->questions;
  t.passes_ms(10'000);
  EXPECT_EQ(t.places[1].store->questions, questions) << "it is over";
}

// The room leaves the memory of its sender's node, which is never silent for long enough to be missed.
TEST(Town, TheLastMessageLostByTheBusReachesTheOthersAlsoWhenItsSenderHasLeft) {
  Talk t(3);
  t.places[0].bus->is_cut = true;
  t.says("last");
  t.closes(*t.ana, 1000);
  t.passes_ms(300);
  ASSERT_EQ(t.places[0].node->shard(0).find_room("plaza"), nullptr);
  t.places[0].bus->is_cut = false;
  t.passes_ms(2'000);
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("m:last"));
}

TEST(Town, AfterBusOrStoreReturnedWhatWasMissedIsFoundAtOnce) {
  Talk t(3);
  t.adds("plaza", "x1", "missed");
  t.passes_ms(5'000);
  EXPECT_THAT(t.bea->take(), IsEmpty());
  t.bus_returned(1);
  t.passes_ms(100);
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("m:missed"));
  EXPECT_THAT(t.ana->take(), IsEmpty());
  EXPECT_EQ(t.metrics(1).heads_behind.value(), 1u);
  t.adds("plaza", "x2", "missed again");
  t.store_returned(1);
  t.passes_ms(100);
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("m:missed again"));
}

TEST(Town, HeadsAreComparedInPartsOneQuestionAtATimeAndTheLiveliestRoomsFirst) {
  Options options = Talk::quick();
  Town t(2, options);
  std::vector<std::shared_ptr<Wire>> wires;
  for (size_t i = 0; i < 700; ++i) {
    if (i % 100 == 0) wires.push_back(t.connect(Dialect::v2, 0));
    t.send(*wires.back(), join_v2("Ana", key_ana, {}, "room " + std::to_string(i)));
  }
  t.passes_ms(1'000);
  t.send(*wires[1], text_v2("u", "hello", "room 111"));
  t.places[0].node->shard(0).compare_heads();
  t.places[0].node->shard(0).compare_heads();  // while the first question is open
  t.passes_ms(1'000);
  const auto& asked = t.places[0].store->asked;
  ASSERT_THAT(asked, SizeIs(4));
  EXPECT_EQ(asked[0].size(), 500u);
  EXPECT_EQ(asked[1].size(), 200u);
  EXPECT_EQ(asked[0].front(), "room 111");
  EXPECT_EQ(t.places[0].store->questions_open_max, 1u);
}

TEST(Town, WhileTheStoreIsAwayTheComparisonIsPutOffAndNotForgotten) {
  Talk t(3);
  t.adds("plaza", "x1", "missed");
  t.places[1].store->away = true;
  t.bus_returned(1);
  t.passes_ms(5'000);
  EXPECT_LT(t.places[1].store->questions, 20u);
  t.places[1].store->away = false;
  t.passes_ms(1'500);
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("m:missed"));
}

// --- a store that went back ---

TEST(Town, WhenTheStoreHasGoneBackThoseWhoHadSeenMoreBeginAnewAndNobodyElseNotices) {
  Talk t(3);
  const auto slow = t.connect(Dialect::v2, 1), classic = t.connect(Dialect::classic, 1);
  t.send(*slow, join_v2("Cid", key_cid));
  t.send(*classic, join_classic("Dan"));
  slow->take();
  classic->take();
  slow->kernel_takes = 0;  // he has seen three, and then stalls
  for (int i = 4; i <= 10; ++i) t.says(std::to_string(i));
  t.ana->take();
  t.bea->take();
  t.store_goes_back(5);
  t.says("new");
  t.passes_ms(2'000);
  EXPECT_THAT(gists(t.ana->take()), testing::ElementsAreArray(std::vector<std::string>{"reset", "said"} +
                                                              numbers(1, 5) + std::vector<std::string>{"m:new"}));
  const auto at_bea = t.bea->take();
  ASSERT_THAT(at_bea, Not(IsEmpty()));
  EXPECT_THAT(gists(at_bea), testing::ElementsAreArray(std::vector<std::string>{"reset"} + numbers(1, 5) +
                                                       std::vector<std::string>{"m:new"}));
  EXPECT_THAT(at_bea[0], HasSubstr("\"oldest\":1"));
  EXPECT_EQ(classic->close_code, 1012);
  t.reads(*slow);
  t.passes_ms(1'000);
  EXPECT_THAT(gists(slow->take()), ElementsAre("m:4", "m:5", "m:new"));
  for (const size_t node : {size_t{0}, size_t{1}}) {
    EXPECT_EQ(t.metrics(node).pasts_changed.value(), 1u);
    EXPECT_EQ(t.log_at(node).head(), t.log_at(0).head());
  }
  // And it goes on.
  t.says("more");
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("m:more"));
  EXPECT_EQ(t.metrics(1).pasts_changed.value(), 1u);
}

TEST(Town, AStoreThatWentBackWhileNobodySpokeIsNoticedWhenItReturns) {
  Talk t(10);
  t.store_goes_back(5);
  t.store_returned(0);
  t.store_returned(1);
  t.passes_ms(1'000);
  EXPECT_THAT(gists(t.ana->take()), testing::ElementsAreArray(std::vector<std::string>{"reset"} + numbers(1, 5)));
  EXPECT_THAT(gists(t.bea->take()), testing::ElementsAreArray(std::vector<std::string>{"reset"} + numbers(1, 5)));
}

// An ack from memory would be the last that anybody heard of the message.
TEST(Town, WhatIsSentAgainIntoALogThatWentBackIsSaidAgainAlsoWhenItsRoomHadLeftMemory) {
  Talk t(10);
  t.send(*t.ana, R"({"jsonrpc":"2.0","id":2,"method":"leaveRoom","params":{"roomName":"plaza"}})");
  ASSERT_EQ(t.places[0].node->shard(0).find_room("plaza"), nullptr);
  t.store_goes_back(5);
  t.store_returned(0);
  t.store_returned(1);
  t.passes_ms(1'000);
  t.send(*t.ana, join_v2("Ana", key_ana));
  t.ana->take();
  t.says("9");
  EXPECT_THAT(gists(t.ana->take()), ElementsAre("said", "m:9"));
  t.says("5");
  EXPECT_THAT(gists(t.ana->take()), ElementsAre("again")) << "that one is still there";
}

// Whose cursor is at the old head is behind nothing, and would never read.
TEST(Town, WhoIsAtTheOldHeadIsToldAlsoWhenTheNewLogIsAsLongOrLonger) {
  for (const size_t length : {size_t{5}, size_t{9}}) {
    SCOPED_TRACE(length);
    Talk t(5);
    t.store_goes_back(2);
    for (size_t i = 3; i <= length; ++i) t.adds("plaza", "x" + std::to_string(i), "other " + std::to_string(i));
    t.store_returned(1);
    t.passes_ms(1'000);
    const auto frames = gists(t.bea->take());
    ASSERT_THAT(frames, SizeIs(1 + length));
    EXPECT_EQ(frames[0], "reset");
    EXPECT_EQ(frames[3], "m:other 3");
    EXPECT_EQ(frames[length], "m:other " + std::to_string(length));
  }
}

TEST(Town, NobodyIsToldAndNothingDroppedBeforeItIsConfirmed) {
  Talk t(10);
  for (Town::Place& place : t.places) place.store->cannot_confirm = true;
  t.store_goes_back(5);
  t.says("new");
  t.store_returned(1);
  t.passes_ms(20'000);
  EXPECT_THAT(t.ana->take(), IsEmpty());
  EXPECT_THAT(t.bea->take(), IsEmpty());
  EXPECT_EQ(t.log_at(1).head().sequence, 10u);
  EXPECT_TRUE(t.log_at(1).tail().holds(10));
  for (Town::Place& place : t.places) place.store->cannot_confirm = false;
  t.passes_ms(2'000);
  EXPECT_THAT(gists(t.ana->take()), testing::ElementsAreArray(std::vector<std::string>{"reset", "said"} +
                                                              numbers(1, 5) + std::vector<std::string>{"m:new"}));
  EXPECT_THAT(gists(t.bea->take()), Contains("reset").Times(1));
}

TEST(Town, AReaderThatLagsIsAFalseAlarmAndTheStoreIsNotAskedAgainAndAgain) {
  Talk t(10);
  t.past_was(5);
  t.places[1].store->reads_the_past = true;
  for (int i = 0; i < 60; ++i) {
    t.store_returned(1);
    t.passes_ms(1'000);
  }
  EXPECT_THAT(t.bea->take(), IsEmpty());
  EXPECT_GE(t.metrics(1).false_alarms.value(), 1u);
  EXPECT_LE(t.places[1].store->confirms, 25u);
  EXPECT_EQ(t.metrics(1).pasts_changed.value(), 0u);
  t.places[1].store->reads_the_past = false;
  t.says("on");
  t.passes_ms(6'000);
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("m:on"));
}

TEST(Town, AnOldAnnouncementOnTheBusIsAFalseAlarm) {
  Talk t(10);
  for (const Position& told : {Position{7, chain_start("x")}, Position{99, chain_start("x")}}) {
    SCOPED_TRACE(told.sequence);
    t.places[0].bus->publish(std::make_shared<BusItem>(BusItem{"plaza", told}));
    const size_t reads = t.places[1].store->reads;
    t.passes_ms(30'000);
    EXPECT_LT(t.places[1].store->reads - reads, 30u) << "a head that is not there is not looked for for ever";
    EXPECT_THAT(t.bea->take(), IsEmpty());
    EXPECT_EQ(t.metrics(1).pasts_changed.value(), 0u);
    t.says("after-" + std::to_string(told.sequence));
    t.passes_ms(6'000);
    EXPECT_THAT(gists(t.bea->take()), ElementsAre("m:after-" + std::to_string(told.sequence)));
  }
  EXPECT_EQ(t.metrics(1).false_alarms.value(), 2u);
}

TEST(Town, AMessageOnTheBusThatContinuesAnotherPastIsNotShown) {
  Talk t(3);
  auto piece = std::make_shared<LogPiece>();
  piece->entries.push_back({4, chain_start("x"), chain_start("y"), "forged", "u", {}, "{\"method\":\"textMessage\"}"});
  t.places[0].bus->publish(std::make_shared<BusItem>(BusItem{"plaza", std::move(piece)}));
  t.passes_ms(1'000);
  EXPECT_THAT(t.bea->take(), IsEmpty());
  EXPECT_EQ(t.metrics(1).bus_dropped.value(), 1u);
  t.says("4");
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("m:4"));
}

TEST(Town, AFrameThatWasCutIsSentWholeBeforeTheReset) {
  Talk t(5);
  t.bea->kernel_takes = 30;
  t.says("6");
  t.store_goes_back(2);
  t.store_returned(1);
  t.passes_ms(1'000);
  t.reads(*t.bea);
  t.passes_ms(1'000);
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("m:6", "reset", "m:1", "m:2"));
}

// He is behind the tail of what the log is now, so only the store can tell that he has seen another past.
TEST(Town, AMemberOfAnotherPastIsNeverServedFromTheTail) {
  Options options = Talk::quick();
  options.live.max_messages_history = 10;
  Talk t(2, options);
  const auto cid = t.connect(Dialect::v2, 1);
  t.send(*cid, join_v2("Cid", key_cid));
  cid->take();
  cid->kernel_takes = 0;
  t.says("3");
  t.says("4");
  t.bea->take();
  t.bea->kernel_takes = 0;
  t.says("5");
  t.store_goes_back(2);
  // And one who stalls further back, in what both pasts have: the page that he needs holds the place of the other.
  for (int i = 3; i <= 40; ++i) t.adds("plaza", "x" + std::to_string(i), "other " + std::to_string(i));
  t.store_returned(1);
  t.passes_ms(1'000);
  EXPECT_EQ(t.metrics(1).pasts_changed.value(), 1u);
  t.reads(*cid);
  EXPECT_THAT(gists(cid->take()), SizeIs(38)) << "from 3 on";
  t.reads(*t.bea);
  t.passes_ms(6'000);
  const auto frames = gists(t.bea->take());
  ASSERT_THAT(frames, SizeIs(11));
  EXPECT_EQ(frames[0], "reset");
  EXPECT_EQ(frames[1], "m:other 31");
}

TEST(Town, WhoJoinsWhileTheLogChangesIsJudgedByWhatItIsThen) {
  Talk t(10);
  const auto cid = t.connect(Dialect::v2, 1);
  t.places[1].store->speaks = false;  // the claim has to wait
  t.send(*cid, join_v2("Cid", key_cid, R"(,"lastMessageId":")" + t.held + "\""));
  t.store_goes_back(5);
  t.store_returned(1);
  t.passes_ms(1'000);
  t.places[1].store->speaks = true;
  t.passes_ms(1'000);
  EXPECT_THAT(gists(cid->take()), testing::ElementsAreArray(std::vector<std::string>{"ok", "reset"} + numbers(1, 5) +
                                                            std::vector<std::string>{"live"}));
}

// --- what a client claims ---

TEST(Town, WhatAClientClaimsIsConfirmedBeforeItIsTold) {
  Talk t(5);
  const auto cid = t.connect(Dialect::v2, 1);
  t.places[1].store->cannot_confirm = true;
  t.send(*cid, join_v2("Cid", key_cid, R"(,"lastMessageId":"3-AAAAAAAAAAAAAAAA")"));
  t.passes_ms(6'000);
  EXPECT_THAT(gists(cid->take()), ElementsAre("!-32013")) << "busy, and not reset";
  t.places[1].store->cannot_confirm = false;
  const size_t confirms = t.places[1].store->confirms;
  t.send(*cid, join_v2("Cid", key_cid, R"(,"lastMessageId":"3-AAAAAAAAAAAAAAAA")"));
  EXPECT_THAT(gists(cid->take()), testing::ElementsAreArray(std::vector<std::string>{"ok", "reset"} + numbers(1, 5) +
                                                            std::vector<std::string>{"live"}));
  EXPECT_EQ(t.places[1].store->confirms, confirms + 1);
  EXPECT_EQ(t.metrics(1).positions_refused.value(), 1u);
  EXPECT_EQ(t.metrics(1).suspicions.value(), 0u) << "a client proves nothing about the store";
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("userJoined"));
}

TEST(Town, WhoKnowsMoreThanAReaderThatLagsIsNotReset) {
  Talk t(10);
  t.past_was(5);
  t.is_lost(*t.bea);
  t.passes_ms(20'000);
  t.places[1].store->reads_the_past = true;
  const auto back = t.connect(Dialect::v2, 1);
  t.send(*back, join_v2("Bea", key_bea, R"(,"lastMessageId":")" + t.held + "\""));
  t.passes_ms(1'000);
  EXPECT_THAT(back->take(), IsEmpty());
  t.places[1].store->reads_the_past = false;
  t.passes_ms(2'000);
  EXPECT_THAT(gists(back->take()), ElementsAre("ok", "live"));
}

// --- leases and names ---

TEST(Town, WhoDepartedWithHisNodeIsSaidToHaveLeftOnEveryNode) {
  Talk t(1);
  t.places[0].store->watcher->departed("plaza", "~cid", "Cid", 2);
  t.run();
  EXPECT_THAT(gists(t.ana->take()), ElementsAre("userLeft"));
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("userLeft"));
}

TEST(Town, WhoWasSaidToHaveLeftAndIsThereAfterAllIsSaidToHaveComeOnEveryNode) {
  Talk t(1);
  t.places[0].store->watcher->arrived("plaza", "~cid", "Cid", 3);
  t.run();
  EXPECT_THAT(gists(t.ana->take()), ElementsAre("userJoined"));
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("userJoined"));
}

TEST(Town, ANameThatWasLostClosesItsSessionsAndNobodyElses) {
  Talk t(1);
  const auto cid = t.connect(Dialect::classic, 0), elsewhere = t.connect(Dialect::v2, 0);
  t.send(*cid, join_classic("Cid"));
  t.send(*elsewhere, join_v2("Ana", key_ana, {}, "patio"));
  t.ana->take();
  const std::string ana_id = user_id_of_key(key_ana);
  StoreWatcher& watcher = *t.places[0].store->watcher;
  watcher.name_lost("plaza", "ana", "~somebody else");
  watcher.name_lost("plaza", "another name", ana_id);
  t.run();
  EXPECT_EQ(t.ana->close_code, 0);
  watcher.name_lost("plaza", "ana", ana_id);
  watcher.name_lost("plaza", "cid", "u-Cid");
  t.run();
  EXPECT_EQ(t.ana->close_code, 1013);
  EXPECT_EQ(cid->close_code, 1013);
  EXPECT_EQ(elsewhere->close_code, 0) << "the name is another's in the plaza only";
  EXPECT_EQ(t.bea->close_code, 0);
}

TEST(Town, WhatWasSaidUnderALostNameAndNotTakenIsNotSaidLater) {
  Talk t(1);
  const auto classic = t.connect(Dialect::classic, 0);
  t.send(*classic, join_classic("Cid"));
  t.ana->take();
  t.bea->take();
  t.places[0].store->fenced = true;
  t.send(*classic, text_classic("Cid", "c1", "mine"));
  t.says("gone");
  t.says("too");
  t.is_lost(*classic);  // his claim outlives what he has on the way
  t.passes_ms(1'000);
  t.places[0].store->watcher->name_lost("plaza", "ana", user_id_of_key(key_ana));
  t.run();
  EXPECT_EQ(t.ana->close_code, 1013);
  t.places[0].store->fenced = false;
  t.passes_ms(2'000);
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("m:mine"));
  EXPECT_EQ(t.log_at(1).head().sequence, 2u);
  const auto back = t.connect(Dialect::v2, 0);
  t.send(*back, join_v2("Ana", key_ana));
  t.send(*back, text_v2("u-gone", "gone"));
  t.passes_ms(100);
  EXPECT_THAT(gists(t.bea->take()), Contains("m:gone"));
}

TEST(Town, WhileItsLeaseIsInDoubtANodeSpeaksForNobodyAndAdmitsNobody) {
  Talk t(1);
  const std::string typing = R"({"jsonrpc":"2.0","id":1,"method":"typing","params":{"roomName":"plaza"}})";
  const std::string read = R"({"jsonrpc":"2.0","id":1,"method":"read","params":{"roomName":"plaza","sequence":1}})";
  t.places[0].store->speaks = false;
  t.send(*t.ana, typing);
  t.send(*t.ana, read);
  EXPECT_THAT(gists(t.ana->take()), ElementsAre("ok", "ok"));
  EXPECT_THAT(t.bea->take(), IsEmpty());
  const auto cid = t.connect(Dialect::v2, 0);
  t.send(*cid, join_v2("Cid", key_cid));
  t.passes_ms(6'000);
  EXPECT_THAT(gists(cid->take()), ElementsAre("!-32013"));
  t.send(*t.bea, text_v2("b", "heard"));
  EXPECT_THAT(gists(t.ana->take()), ElementsAre("m:heard")) << "what is committed is delivered all the same";
  t.places[0].store->speaks = true;
  t.bea->take();
  t.send(*t.ana, typing);
  EXPECT_THAT(gists(t.bea->take()), ElementsAre("typing"));
}

// Of several nodes it is the claims that know who was here: a node that is young is no reason not to say who came.
TEST(Town, WhoReturnsToANodeThatHasJustStartedIsSaidToHaveJoined) {
  Talk t(1);
  t.adds("patio", "x", "before");
  const auto bea = t.connect(Dialect::v2, 1);
  t.send(*bea, join_v2("Bea", key_bea, {}, "patio"));
  const std::string held = position_in(bea->take()[1]);
  const auto ana = t.connect(Dialect::v2, 0);
  t.send(*ana, join_v2("Ana", key_ana, R"(,"lastMessageId":")" + held + "\"", "patio"));
  EXPECT_THAT(gists(bea->take()), ElementsAre("userJoined"));
}

TEST(Town, ANewLeaseIsCountedAsALostOne) {
  Talk t(1);
  MetricsRegistry registry;
  const auto registration = registry.add([&](MetricsSink& sink) { t.places[0].node->describe(sink); });
  t.passes_ms(1'000);
  EXPECT_THAT(registry.render(), HasSubstr("\ntertulia_leases_lost_total 0"));
  t.places[0].store->node_name = "born again";
  t.passes_ms(1'000);
  const std::string metrics = registry.render();
  EXPECT_THAT(metrics, HasSubstr("\ntertulia_leases_lost_total 1"));
  EXPECT_THAT(metrics, HasSubstr("\ntertulia_peers 1"));
}

TEST(Town, ALogThatWentBackIsNamedByItsHashAndBothPositionsInTheMetrics) {
  Talk t(4);
  MetricsRegistry registry;
  const auto registration = registry.add([&](MetricsSink& sink) { t.places[1].node->describe(sink); });
  EXPECT_THAT(registry.render(), Not(HasSubstr("tertulia_past_changed{")));
  t.store_goes_back(2);
  t.store_returned(1);
  t.passes_ms(1'000);
  EXPECT_THAT(registry.render(),
              testing::AllOf(HasSubstr("room=\"" + chain_text(chain_start("plaza"))), HasSubstr("held=\"" + t.held),
                             HasSubstr("now=\"2-"), HasSubstr("\ntertulia_pasts_changed_total 1")));
}

}  // namespace
}  // namespace tertulia
