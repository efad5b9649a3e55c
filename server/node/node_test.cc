// Sessions, rooms and shards in a small world: one thread, a clock that stands still, a store that forgets.
#include "node/node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/spoken.h"
#include "node/world.h"

namespace tertulia {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

TEST(Node, TwoPeopleOnTwoShardsSeeTheSameLog) {
  World w;
  const auto ana = w.connect(Dialect::v2, 0), bea = w.connect(Dialect::v2, 1);
  w.send(*ana, join_v2("Ana", key_ana));
  w.send(*bea, join_v2("Bea", key_bea));
  EXPECT_THAT(gists(ana->take()), ElementsAre("ok", "live", "userJoined"));
  EXPECT_THAT(gists(bea->take()), ElementsAre("ok", "live"));
  w.send(*ana, text_v2("a1", "one"));
  w.send(*bea, text_v2("b1", "two"));
  w.send(*ana, text_v2("a2", "three"));
  const auto at_ana = ana->take(), at_bea = bea->take();
  EXPECT_THAT(gists(at_bea), ElementsAre("m:one", "said", "m:two", "m:three"));
  EXPECT_THAT(gists(at_ana), ElementsAre("said", "m:one", "m:two", "said", "m:three"));
  EXPECT_EQ(at_ana[1], at_bea[0]);
}

TEST(Node, TextsPipelinedOnOneConnectionAreAnsweredInOrder) {
  World w;
  const auto ana = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana));
  ana->take();
  for (int i = 0; i < 20; ++i) w.send_only(*ana, text_v2("u" + std::to_string(i), std::to_string(i)));
  w.run();
  std::string answers, pushes;
  for (const std::string& frame : ana->take()) {
    if (gist(frame) == "said") answers += frame.substr(frame.find("\"id\":\"u") + 7, 2) + " ";
    if (gist(frame).starts_with("m:")) pushes += gist(frame).substr(2) + " ";
  }
  EXPECT_EQ(pushes, "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 ");
  EXPECT_THAT(answers, StartsWith("0\" 1\" 2\""));
}

TEST(Node, ARepeatIsOneMessageAndAnsweredWithTheFirstPosition) {
  World w;
  const auto ana = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana));
  w.send(*ana, text_v2("a", "one"));
  ana->take();
  w.send(*ana, text_v2("a", "one"));
  const auto again = ana->take();
  ASSERT_THAT(gists(again), ElementsAre("again"));
  EXPECT_THAT(position_in(again[0]), StartsWith("1-"));
  w.send(*ana, text_v2("a", "another body"));
  EXPECT_THAT(gists(ana->take()), ElementsAre("!-32015"));
}

TEST(Node, WhoComesBackWithAPositionGetsEverythingBehindItAndNothingTwice) {
  World w;
  const auto ana = w.connect(Dialect::v2), bea = w.connect(Dialect::v2, 1);
  w.send(*ana, join_v2("Ana", key_ana));
  w.send(*bea, join_v2("Bea", key_bea));
  bea->take();
  w.send(*ana, text_v2("a1", "one"));
  const std::string held = position_in(bea->take()[0]);
  w.is_lost(*bea);
  for (int i = 2; i <= 300; ++i) {
    w.send(*ana, text_v2("a" + std::to_string(i), std::to_string(i)));
    w.passes_ms(100);
  }
  const auto back = w.connect(Dialect::v2, 0);
  w.send(*back, join_v2("Bea", key_bea, R"(,"lastMessageId":")" + held + "\""));
  const auto frames = back->take();
  ASSERT_THAT(frames, SizeIs(1 + 299 + 1));
  EXPECT_EQ(gist(frames[1]), "m:2");
  EXPECT_EQ(gist(frames[299]), "m:300");
  EXPECT_EQ(gist(frames[300]), "live");
}

TEST(Node, ALimitSkipsAndAPositionOfAnotherPastResets) {
  World w;
  const auto ana = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana));
  std::string first;
  for (int i = 1; i <= 10; ++i) {
    ana->take();
    w.send(*ana, text_v2("a" + std::to_string(i), std::to_string(i)));
    if (i == 1) first = position_in(ana->take()[1]);
  }
  const auto bea = w.connect(Dialect::v2, 1);
  w.send(*bea, join_v2("Bea", key_bea, R"(,"limit":3,"lastMessageId":")" + first + "\""));
  const auto skipped = bea->take();
  EXPECT_THAT(gists(skipped), ElementsAre("ok", "skipped", "m:8", "m:9", "m:10", "live"));
  EXPECT_THAT(skipped[1], HasSubstr(R"("after":1,"before":8)"));
  w.send(*bea, join_v2("Bea", key_bea, R"(,"limit":1,"lastMessageId":"10-AAAAAAAAAAAAAAAA")"));
  EXPECT_THAT(gists(bea->take()), ElementsAre("ok", "reset", "m:10", "live"));
  w.send(*bea, join_v2("Bea", key_bea, R"(,"limit":1,"lastMessageId":"99-AAAAAAAAAAAAAAAA")"));
  EXPECT_THAT(gists(bea->take()), ElementsAre("ok", "reset", "m:10", "live"));
}

TEST(Node, AStalledReaderHoldsNothingAndMissesNothing) {
  Options options;
  options.tail_bytes_max = 8 << 10;  // it will fall off the tail
  options.live.rate_limits = false;
  World w(options);
  const auto ana = w.connect(Dialect::v2), bea = w.connect(Dialect::v2, 1);
  w.send(*ana, join_v2("Ana", key_ana));
  w.send(*bea, join_v2("Bea", key_bea));
  bea->take();
  bea->kernel_takes = 1000;  // and then nothing, in the middle of a frame
  for (int i = 1; i <= 500; ++i) w.send(*ana, text_v2("a" + std::to_string(i), std::to_string(i)));
  EXPECT_LT(bea->frames.size(), 10u);
  for (int i = 0; i < 10'000 && bea->frames.size() < 500; ++i) w.reads(*bea, 777);
  w.reads(*bea);
  std::vector<std::string> expected;
  for (int i = 1; i <= 500; ++i) expected.push_back("m:" + std::to_string(i));
  EXPECT_EQ(gists(bea->take()), expected);
}

TEST(Node, ANameIsOneUsersAndItsGraceEndsOnlyAfterAnUncleanEnd) {
  World w;
  const auto ana = w.connect(Dialect::v2), thief = w.connect(Dialect::v2, 1);
  w.send(*ana, join_v2("Ana", key_ana));
  w.send(*thief, join_v2("\uff21NA", key_bea));  // full-width A: the same name, folded
  EXPECT_THAT(gists(thief->take()), ElementsAre("!-32001"));
  w.is_lost(*ana);
  w.send(*thief, join_v2("ana", key_bea));
  const auto waiting = thief->take();
  ASSERT_THAT(gists(waiting), ElementsAre("!-32001"));
  EXPECT_THAT(waiting[0], HasSubstr("\"retryable\":true"));
  const auto back = w.connect(Dialect::v2);
  w.send(*back, join_v2("Ana", key_ana));
  EXPECT_THAT(gists(back->take()), ElementsAre("ok", "live"));
  w.closes(*back, 1000);
  w.send(*thief, join_v2("ana", key_bea));
  EXPECT_THAT(gists(thief->take()), ElementsAre("ok", "live"));
}

TEST(Node, WhoIsAwayForLessThanTheGraceHasNeitherLeftNorJoined) {
  World w;
  const auto watcher = w.connect(Dialect::v2, 1), ana = w.connect(Dialect::v2);
  w.send(*watcher, join_v2("Bea", key_bea));
  w.send(*ana, join_v2("Ana", key_ana));
  EXPECT_THAT(gists(watcher->take()), ElementsAre("ok", "live", "userJoined"));
  w.is_lost(*ana);
  w.passes_ms(9'000);
  const auto back = w.connect(Dialect::v2);
  w.send(*back, join_v2("Ana", key_ana));
  w.passes_ms(12'000);
  EXPECT_THAT(gists(watcher->take()), ElementsAre("heartbeat"));
  w.send_only(*watcher, "", Opcode::pong);
  w.is_lost(*back);
  w.passes_ms(11'000);
  EXPECT_THAT(gists(watcher->take()), testing::Contains("userLeft").Times(1));
}

TEST(Node, NobodyIsToldOfSomebodyWhoComesBackJustAfterAStart) {
  World w({}, 2, true);
  Message said{.uuid = "x", .user_id = "u", .user_name = "U", .text = "before the restart", .id_json = "1"};
  std::string held;
  w.store->append("plaza", {0, chain_start("plaza")}, {said}, *w.loops[0],
                  [&](AppendResult result) { held = position_text(result.each[0].position); });
  w.run();
  const auto watcher = w.connect(Dialect::v2, 1), back = w.connect(Dialect::v2), newcomer = w.connect(Dialect::v2);
  w.send(*watcher, join_v2("Bea", key_bea));
  watcher->take();
  w.send(*back, join_v2("Ana", key_ana, R"(,"lastMessageId":")" + held + "\""));
  EXPECT_THAT(watcher->take(), IsEmpty());
  w.passes_ms(1'100);
  EXPECT_THAT(gists(watcher->take()), ElementsAre("membersChanged"));  // the list it may have read lacks Ana
  w.send(*newcomer, join_v2("Eva", std::string(42, 'E') + "A"));
  EXPECT_THAT(gists(watcher->take()), ElementsAre("userJoined"));
}

TEST(Node, WithoutMembershipNothingIsReadOrWritten) {
  World w;
  const auto ana = w.connect(Dialect::v2);
  for (const char* method : {"history", "members", "typing", "leaveRoom"})
    w.send(*ana, R"({"jsonrpc":"2.0","id":1,"method":")" + std::string(method) + R"(","params":{"roomName":"plaza"}})");
  w.send(*ana, text_v2("a", "one"));
  EXPECT_THAT(gists(ana->take()), ElementsAre("!-32010", "!-32010", "!-32010", "!-32010", "!-32010"));
}

TEST(Node, AClassicClientsPushIsItsAckAndItGetsNoResponse) {
  World w;
  const auto ana = w.connect(Dialect::classic), bea = w.connect(Dialect::classic, 1);
  w.send(*ana, join_classic("ana"));
  w.send(*bea, join_classic("bea"));
  EXPECT_THAT(gists(ana->take()), ElementsAre("ok", "newUser", "newUser"));
  bea->take();
  w.send_only(*ana, text_classic("ana", "1", "one"));
  w.send_only(*ana, text_classic("ana", "1", "one"));
  w.send_only(*ana, text_classic("ana", "2", "two"));
  w.run();
  EXPECT_THAT(gists(ana->take()), ElementsAre("m:one", "m:two"));
  EXPECT_THAT(gists(bea->take()), ElementsAre("m:one", "m:two"));
}

// Where the repeat is known from memory (the same shard), and where only the store knows it.
TEST(Node, AClassicRepeatFromBeforeTheDeliveryBeganIsPushedAgainToItsSender) {
  for (const size_t shard : {size_t{0}, size_t{1}}) {
    SCOPED_TRACE(shard);
    Options options;
    options.live.max_messages_history = 1;
    World w(options);
    const auto ana = w.connect(Dialect::classic);
    w.send(*ana, join_classic("ana"));
    w.send(*ana, text_classic("ana", "1", "one"));
    w.send(*ana, text_classic("ana", "2", "two"));
    w.is_lost(*ana);
    const auto back = w.connect(Dialect::classic, shard);
    w.send_only(*back, join_classic("ana", "reconnect"));
    w.send_only(*back, text_classic("ana", "1", "one"));
    w.send_only(*back, text_classic("ana", "2", "two"));
    w.run();
    const auto got = gists(back->take());
    EXPECT_THAT(got, testing::Contains("m:one").Times(1));
    EXPECT_THAT(got, testing::Contains("m:two").Times(1));
  }
}

TEST(Node, ARepeatDoesNotOvertakeWhatWasSentBeforeIt) {
  World w;
  const auto ana = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana));
  w.send(*ana, text_v2("a", "one"));
  ana->take();
  w.send_only(*ana, text_v2("b", "two"));
  w.send_only(*ana, text_v2("a", "one"));
  w.run();
  std::vector<std::string> answers;
  for (const std::string& frame : ana->take())
    if (!gist(frame).starts_with("m:")) answers.push_back(gist(frame));
  EXPECT_THAT(answers, ElementsAre("said", "again"));
}

TEST(Node, AConflictIsAnsweredBehindWhatWasSentBeforeIt) {
  World w;
  const auto ana = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana));
  w.send(*ana, text_v2("a", "one"));
  ana->take();
  w.send_only(*ana, text_v2("b", "two"));
  w.send_only(*ana, text_v2("a", "another"));  // of what is committed
  w.send_only(*ana, text_v2("b", "another"));  // of what waits
  w.send_only(*ana, text_v2("c", "three"));
  w.run();
  std::vector<std::string> answers;
  for (const std::string& frame : ana->take())
    if (!gist(frame).starts_with("m:")) answers.push_back(gist(frame));
  EXPECT_THAT(answers, ElementsAre("said", "!-32015", "!-32015", "said"));
}

TEST(Node, AClassicTextBeforeAnyJoinWaitsForOneAndThenComesBack) {
  World w;
  const auto ana = w.connect(Dialect::classic);
  w.send(*ana, text_classic("ana", "1", "early"));
  EXPECT_THAT(ana->take(), IsEmpty());
  w.send(*ana, join_classic("ana", "reconnect"));
  EXPECT_THAT(gists(ana->take()), ElementsAre("ok", "m:early"));
  const auto never = w.connect(Dialect::classic);
  w.send(*never, text_classic("bea", "2", "early"));
  w.passes_ms(12'000);
  EXPECT_EQ(never->close_code, 1013);
}

TEST(Node, AClassicClientThatChangedRoomsStillGetsItsMessagesAcked) {
  World w;
  const auto ana = w.connect(Dialect::classic);
  w.send(*ana, join_classic("ana"));
  w.send(*ana, join_classic("ana", "joinRoom", "null", "patio"));
  ana->take();
  w.send(*ana, text_classic("ana", "1", "left behind"));
  EXPECT_THAT(gists(ana->take()), ElementsAre("m:left behind"));
  w.send(*ana, text_classic("ana", "1", "left behind"));
  EXPECT_THAT(gists(ana->take()), ElementsAre("m:left behind"));
  w.passes_ms(61'000);
  w.send(*ana, text_classic("ana", "3", "too late"));
  EXPECT_THAT(gists(ana->take()), testing::Contains("!-32010"));
}

TEST(Node, AFastSenderIsReadMoreSlowlyAndNothingIsDropped) {
  Options options;
  options.live.session_messages_burst = 5;
  options.live.session_messages_per_second = 10;
  World w(options);
  const auto ana = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana));
  ana->take();
  for (int i = 0; i < 50; ++i) w.send_only(*ana, text_v2("u" + std::to_string(i), std::to_string(i)));
  w.run();
  EXPECT_FALSE(ana->reading);
  const size_t at_once = ana->take().size();
  EXPECT_LT(at_once, 20u);
  w.passes_ms(6'000);
  EXPECT_TRUE(ana->reading);
  EXPECT_EQ(at_once + ana->take().size(), 100u);
}

TEST(Node, ASilentSessionIsClosedAndAPingedOneIsNot) {
  World w;
  const auto silent = w.connect(Dialect::v2), talker = w.connect(Dialect::v2);
  w.send(*silent, join_v2("Ana", key_ana));
  w.send(*talker, join_v2("Bea", key_bea));
  for (int i = 0; i < 30; ++i) {
    w.passes_ms(1'000);
    w.send_only(*talker, "", Opcode::pong);
  }
  EXPECT_EQ(silent->close_code, 4008);
  EXPECT_EQ(talker->close_code, 0);
  EXPECT_GE(talker->pings, 2u);
  EXPECT_THAT(gists(talker->take()), testing::Contains("heartbeat"));
}

TEST(Node, HeartbeatsComeAlsoWherePingsAreAsFrequentAsTicks) {
  Options options;
  options.ping_interval_ms = 500;
  options.heartbeat_ms = 2'000;
  World w(options);
  const auto ana = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana));
  ana->take();
  for (int i = 0; i < 10; ++i) {
    w.passes_ms(1'000);
    w.send_only(*ana, "", Opcode::pong);
  }
  EXPECT_GE(ana->pings, 9u);
  EXPECT_THAT(gists(ana->take()), testing::Contains("heartbeat").Times(testing::Ge(3)));
}

TEST(Node, ADrainAsksToMoveThenClosesAndForgetsNothingThatWasSaid) {
  World w;
  const auto ana = w.connect(Dialect::v2), old = w.connect(Dialect::classic, 1);
  w.send(*ana, join_v2("Ana", key_ana));
  w.send(*old, join_classic("bea"));
  ana->take();
  bool drained = false;
  w.node->drain(2'000, [&] { drained = true; });
  w.run();
  EXPECT_THAT(gists(ana->take()), ElementsAre("reconnect"));
  w.send(*ana, text_v2("a", "still here"));
  EXPECT_THAT(gists(ana->take()), ElementsAre("said", "m:still here"));
  w.send(*ana, join_v2("Ana", key_ana, {}, "patio"));
  EXPECT_THAT(gists(ana->take()), ElementsAre("!-32016"));
  w.passes_ms(3'000);
  EXPECT_EQ(ana->close_code, 1012);
  EXPECT_EQ(old->close_code, 1012);
  EXPECT_TRUE(drained);
}

TEST(Node, UnderPressureTheOldestWithoutARoomGoFirst) {
  World w;
  const auto member = w.connect(Dialect::v2);
  w.send(*member, join_v2("Ana", key_ana));
  std::vector<std::shared_ptr<Wire>> idlers;
  for (int i = 0; i < 20; ++i) {
    idlers.push_back(w.connect(Dialect::classic));
    w.passes_ms(100);
  }
  w.node->shard(0).make_room();
  w.run();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(idlers[static_cast<size_t>(i)]->close_code, i < 16 ? 1013 : 0) << i;
  EXPECT_EQ(member->close_code, 0);
}

TEST(Node, ARoomWithoutMembersLeavesMemory) {
  World w;
  const auto ana = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana));
  EXPECT_NE(w.node->shard(0).find_room("plaza"), nullptr);
  w.send(*ana, R"({"jsonrpc":"2.0","id":2,"method":"leaveRoom","params":{"roomName":"plaza"}})");
  EXPECT_EQ(w.node->shard(0).find_room("plaza"), nullptr);
  EXPECT_EQ(w.node->members_count(), 0);
}

TEST(Node, AMessageTheStoreRefusesIsAnsweredAloneAndTheOthersGoOn) {
  World w;
  w.store->refuse([](const Message& message) { return message.text == "poison"; });
  const auto ana = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana));
  ana->take();
  for (const char* text : {"one", "poison", "two"}) w.send_only(*ana, text_v2(std::string("u") + text, text));
  w.run();
  const auto got = gists(ana->take());
  EXPECT_THAT(got, testing::Contains("!-32603").Times(1));
  EXPECT_THAT(got, testing::IsSupersetOf({std::string("m:one"), std::string("m:two")}));
}

TEST(Node, AClassicReconnectToTheJoinedRoomRepeatsNoFrameThatWasCut) {
  World w;
  const auto ana = w.connect(Dialect::classic), bea = w.connect(Dialect::classic, 1);
  w.send(*ana, join_classic("ana"));
  w.send(*bea, join_classic("bea"));
  w.send(*ana, text_classic("ana", "1", "one"));
  const std::string held = position_in(bea->take().back());
  bea->kernel_takes = 40;  // and then nothing, in the middle of a frame
  w.send(*ana, text_classic("ana", "2", "two"));
  w.send(*ana, text_classic("ana", "3", "three"));
  const std::string newest = position_in(ana->take().back());
  w.send(*bea, join_classic("bea", "reconnect", "\"" + newest + "\""));
  w.reads(*bea);
  EXPECT_THAT(gists(bea->take()), ElementsAre("m:two", "ok", "m:three"));
  bea->kernel_takes = 40;
  w.send(*ana, text_classic("ana", "4", "four"));
  w.send(*bea, join_classic("bea", "reconnect", "\"" + held + "\""));  // back: from there again
  w.reads(*bea);
  EXPECT_THAT(gists(bea->take()), ElementsAre("m:four", "ok", "m:two", "m:three", "m:four"));
}

TEST(Node, WhoWritesToARoomHeHasLeftWhileTheNodeIsFullIsReadAgainWhenItIsNot) {
  World w;
  const auto ana = w.connect(Dialect::classic);
  w.send(*ana, join_classic("ana"));
  w.send(*ana, join_classic("ana", "joinRoom", "null", "patio"));
  ana->take();
  std::atomic<int64_t>& waiting_bytes = w.node->shard(0).context().waiting_bytes;
  waiting_bytes += 64 << 20;
  w.send(*ana, text_classic("ana", "1", "left behind"));
  EXPECT_FALSE(ana->reading);
  w.passes_ms(3'000);
  EXPECT_THAT(ana->take(), IsEmpty());
  waiting_bytes -= 64 << 20;
  w.passes_ms(2'000);
  EXPECT_THAT(gists(ana->take()), ElementsAre("m:left behind"));
  EXPECT_TRUE(ana->reading);
  EXPECT_EQ(waiting_bytes, 0);
  EXPECT_EQ(w.node->shard(0).find_room("plaza"), nullptr);
}

TEST(Node, WhoTypesWithoutEndDoesNotCrowdTheBus) {
  World w;
  struct Listener final : BusSubscriber {
    explicit Listener(Executor& runs_on) : executor(runs_on) {}
    Executor& bus_executor() override { return executor; }
    void on_bus(const std::shared_ptr<const BusItem>& item) override {
      heard += std::holds_alternative<Signal>(item->what);
    }
    Executor& executor;
    int heard = 0;
  } listener(*w.loops[1]);
  const auto ana = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana));
  w.bus.subscribe("plaza", listener, [] {});
  for (int i = 0; i < 500; ++i)
    w.send(*ana, R"({"jsonrpc":"2.0","id":2,"method":"typing","params":{"roomName":"plaza"}})");
  EXPECT_GT(listener.heard, 0);
  EXPECT_LE(listener.heard, 20);
  w.bus.unsubscribe("plaza", listener);
}

TEST(Node, TheTimeInWhichTheServerDidNotRunIsNobodysSilence) {
  World w;
  const auto ana = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana));
  w.passes_ms(5'000);
  w.clock.advance_ms(40'000);
  w.run();
  w.passes_ms(2'000);
  EXPECT_EQ(ana->close_code, 0);
  EXPECT_GE(ana->pings, 1u);
  w.passes_ms(30'000);
  EXPECT_EQ(ana->close_code, 4008) << "he was asked and said nothing";
}

TEST(Node, OldMessagesAreReadAgainForOneSessionOnlyAFewAtATime) {
  Options options;
  options.tail_bytes_max = 64 << 10;
  options.live.max_messages_history = 2;
  World w(options);
  const auto ana = w.connect(Dialect::classic);
  w.send(*ana, join_classic("Ana"));
  for (int i = 0; i < 20; ++i) w.send(*ana, text_classic("Ana", "u" + std::to_string(i), std::string(20'000, 'x')));
  w.is_lost(*ana);
  const auto again = w.connect(Dialect::classic);
  w.send(*again, join_classic("Ana", "reconnect"));
  again->take();
  for (int i = 0; i < 8; ++i)
    w.send_only(*again, text_classic("Ana", "u" + std::to_string(i), std::string(20'000, 'x')));
  EXPECT_FALSE(again->reading);
  w.run();
  EXPECT_TRUE(again->reading);
  EXPECT_THAT(again->take(), SizeIs(8));
}

TEST(Node, OneAnswerAtMostIsBuiltBeyondTheBoundForWhoDoesNotRead) {
  World w;
  const auto ana = w.connect(Dialect::v2), bea = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana));
  for (int i = 0; i < 8; ++i) w.send(*ana, text_v2("u" + std::to_string(i), std::string(60'000, 'x')));
  w.send(*bea, join_v2("Bea", key_bea, R"(,"limit":0)"));
  bea->take();
  w.reads(*bea, 0);
  const uint64_t before = w.node->shard(0).metrics().requests.value();
  for (int i = 0; i < 10; ++i)
    w.send_only(*bea, R"({"jsonrpc":"2.0","id":2,"method":"history","params":{"roomName":"plaza","limit":200}})");
  w.run();
  EXPECT_LE(w.node->shard(0).metrics().requests.value() - before, 2u) << "each answer is nearly 256 KiB";
  w.reads(*bea);
  EXPECT_THAT(bea->take(), SizeIs(10));
}

TEST(Node, AClassicReconnectIsNotAnnouncedToClassicClientsHoweverLateItComes) {
  World w;
  const auto old = w.connect(Dialect::classic, 1), modern = w.connect(Dialect::v2, 1),
             ana = w.connect(Dialect::classic);
  w.send(*old, join_classic("bea"));
  w.send(*modern, join_v2("Eva", key_bea));
  w.send(*ana, join_classic("ana"));
  EXPECT_THAT(gists(old->take()), ElementsAre("ok", "newUser", "newUser", "newUser"));
  w.is_lost(*ana);
  w.passes_ms(15'000);
  EXPECT_THAT(gists(modern->take()), ElementsAre("ok", "live", "userJoined", "userLeft"));
  const auto back = w.connect(Dialect::classic);
  w.send(*back, join_classic("ana", "reconnect"));
  EXPECT_THAT(old->take(), IsEmpty());
  EXPECT_THAT(gists(modern->take()), ElementsAre("userJoined"));  // who was told that she left hears that she is back
}

TEST(Node, TheSecondSessionOfAUserKnowsHowManyAreInTheRoom) {
  World w;
  const auto ana = w.connect(Dialect::v2), bea = w.connect(Dialect::v2), tab = w.connect(Dialect::v2, 1);
  w.send(*ana, join_v2("Ana", key_ana));
  w.send(*bea, join_v2("Bea", key_bea));
  w.send(*tab, join_v2("Bea", key_bea));
  w.send(*tab, join_v2("Bea", key_bea));
  const auto answers = tab->take();
  ASSERT_THAT(gists(answers), ElementsAre("ok", "live", "ok", "live"));
  EXPECT_THAT(answers[0], HasSubstr("\"members\":2"));
  EXPECT_THAT(answers[2], HasSubstr("\"members\":2"));
}

TEST(Node, ARepeatIsAckedAlsoWhenTheStoreWasAwayWhenItCame) {
  Options options;
  options.live.max_messages_history = 1;
  options.tail_bytes_max = 1 << 10;
  World w(options);
  const auto ana = w.connect(Dialect::classic);
  w.send(*ana, join_classic("ana"));
  for (int i = 1; i <= 20; ++i) w.send(*ana, text_classic("ana", std::to_string(i), std::string(500, 'x')));
  w.is_lost(*ana);
  const auto back = w.connect(Dialect::classic);
  w.send(*back, join_classic("ana", "reconnect"));
  back->take();
  w.store->be_away(true);
  w.send(*back, text_classic("ana", "1", std::string(500, 'x')));
  w.passes_ms(3'000);
  EXPECT_THAT(back->take(), IsEmpty());
  w.store->be_away(false);
  w.passes_ms(3'000);
  EXPECT_THAT(back->take(), SizeIs(1));
}

TEST(Node, AMemberBehindTheTailOfOneRoomDoesNotHoldUpAnother) {
  Options options;
  options.tail_bytes_max = 2 << 20;
  options.live.rate_limits = false;
  World w(options);
  const auto ana = w.connect(Dialect::v2), bea = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana));
  w.send(*ana, join_v2("Ana", key_ana, {}, "patio"));
  w.send(*bea, join_v2("Bea", key_bea));
  w.send(*bea, join_v2("Bea", key_bea, {}, "patio"));
  bea->take();
  bea->kernel_takes = 0;
  for (int i = 0; i < 60; ++i) w.send(*ana, text_v2("a" + std::to_string(i), std::string(40'000, 'x')));
  for (int i = 0; i < 25; ++i) w.send(*ana, text_v2("b" + std::to_string(i), std::string(40'000, 'y'), "patio"));
  w.store->be_away(true);
  w.reads(*bea);
  EXPECT_THAT(bea->take(), SizeIs(25));  // all of the patio, which is in memory
  w.store->be_away(false);
  w.passes_ms(1'000);
  EXPECT_THAT(bea->take(), SizeIs(60));
}

TEST(Node, AnAddressDoesNotGetItsAllowanceBackByConnectingAgain) {
  Options options;
  options.live.address_messages_burst = 10;
  options.live.address_messages_per_second = 1;
  World w(options);
  size_t taken = 0;
  for (int i = 0; i < 10; ++i) {
    const auto ana = w.connect(Dialect::v2);
    w.send(*ana, join_v2("Ana", key_ana));
    ana->take();
    for (int k = 0; k < 5; ++k) w.send(*ana, text_v2("u" + std::to_string(i * 5 + k), "hello"));
    for (const std::string& frame : ana->take()) taken += gist(frame) == "said";
    w.is_lost(*ana);
  }
  EXPECT_LE(taken, 25u);  // a session's first message is taken before it is weighed
  w.passes_ms(60'000);
  const auto later = w.connect(Dialect::v2);
  w.send(*later, join_v2("Ana", key_ana));
  later->take();
  w.send(*later, text_v2("later", "hello"));
  EXPECT_THAT(gists(later->take()), ElementsAre("said", "m:hello"));
}

TEST(Node, ATailThatWasGivenUpIsMissedByNobody) {
  World w;
  const auto ana = w.connect(Dialect::v2), bea = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana));
  w.send(*bea, join_v2("Bea", key_bea));
  bea->take();
  w.reads(*bea, 40);  // and then nothing, in the middle of a frame
  for (int i = 1; i <= 5; ++i) w.send(*ana, text_v2("u" + std::to_string(i), std::to_string(i)));
  Shard& shard = w.node->shard(0);
  shard.trim_tails(0);
  EXPECT_FALSE(shard.find_room("plaza")->log().tail().holds(5));
  w.reads(*bea);
  EXPECT_THAT(gists(bea->take()), ElementsAre("m:1", "m:2", "m:3", "m:4", "m:5"));
  w.send(*ana, text_v2("u6", "6"));
  EXPECT_THAT(gists(bea->take()), ElementsAre("m:6"));
  const auto cid = w.connect(Dialect::classic);
  w.send(*cid, join_classic("Cid"));
  EXPECT_THAT(gists(cid->take()), ElementsAre("ok", "newUser", "m:1", "m:2", "m:3", "m:4", "m:5", "m:6"));
}

TEST(Node, WhoLeavesARoomWhoseHalfSentFrameIsInMemoryNoMoreKeepsTheConnection) {
  for (const bool store_away : {false, true}) {
    SCOPED_TRACE(store_away);
    World w;
    const auto ana = w.connect(Dialect::v2), bea = w.connect(Dialect::v2);
    w.send(*ana, join_v2("Ana", key_ana));
    w.send(*bea, join_v2("Bea", key_bea));
    bea->take();
    w.reads(*bea, 40);
    for (int i = 1; i <= 5; ++i) w.send(*ana, text_v2("u" + std::to_string(i), std::to_string(i)));
    w.node->shard(0).trim_tails(0);
    w.store->be_away(store_away);
    w.send(*bea, R"({"jsonrpc":"2.0","id":1,"method":"leaveRoom","params":{"roomName":"plaza"}})");
    w.passes_ms(1'000);
    w.store->be_away(false);
    w.passes_ms(1'000);
    w.reads(*bea);
    EXPECT_THAT(gists(bea->take()), ElementsAre("m:1", "ok"));
    EXPECT_FALSE(bea->ended);
    w.send(*bea, join_v2("Bea", key_bea));
    EXPECT_THAT(gists(bea->take()), ElementsAre("ok", "m:1", "m:2", "m:3", "m:4", "m:5", "live"));
  }
}

TEST(Node, QuietRoomsGiveUpTheirTailsFirst) {
  World w;
  const auto ana = w.connect(Dialect::v2);
  w.send(*ana, join_v2("Ana", key_ana, {}, "quiet"));
  w.send(*ana, text_v2("q", std::string(2'000, 'q'), "quiet"));
  w.passes_ms(10'000);
  w.send(*ana, join_v2("Ana", key_ana, {}, "busy"));
  w.send(*ana, text_v2("b", std::string(2'000, 'b'), "busy"));
  Shard& shard = w.node->shard(0);
  shard.trim_tails(shard.find_room("busy")->log().tail().bytes());
  EXPECT_FALSE(shard.find_room("quiet")->log().tail().holds(1));
  EXPECT_TRUE(shard.find_room("busy")->log().tail().holds(1));
}

}  // namespace
}  // namespace tertulia
