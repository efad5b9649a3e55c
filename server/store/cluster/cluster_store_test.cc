#include "store/cluster/cluster_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <thread>

#include "store/cluster/model_database.h"
#include "store/store_testing.h"

namespace tertulia {
namespace {

using cluster::ModelCall;
using cluster::ModelDatabase;
using cluster::ModelFault;
using cluster::ModelServers;
using cluster::ModelStep;
using cluster::RoomBatch;
using cluster::Trouble;
using testing_store::Caller;
using testing_store::expect_whole_log;
using testing_store::one;
using testing_store::text_message;
using Kind = Appended::Kind;

constexpr auto kDone = AppendResult::Status::done;
constexpr auto kOk = Rows::Status::ok;

Position start_of(const std::string& room) {
  return {0, chain_start(room)};
}

// Stands still; who looks at it may be made to do something. Links are followed by a look at it, so this is a place
// between two calls of one link.
class ActingClock final : public Clock {
 public:
  int64_t now_us() const override {
    if (armed.exchange(false)) act();
    return now_us_;
  }
  int64_t unix_ms() const override { return 1'700'000'000'000 + now_us_ / 1000; }
  void advance_ms(int64_t ms) { now_us_ += ms * 1000; }

  mutable std::atomic<bool> armed = false;
  std::function<void()> act;

 private:
  std::atomic<int64_t> now_us_ = 1'000'000;
};

// Holds up calls of one kind before their deed.
class Gate {
 public:
  void close(ModelCall call) {
    std::lock_guard lock(mutex_);
    closed_ = true;
    call_ = call;
    arrived_ = 0;
  }
  void open() {
    std::lock_guard lock(mutex_);
    closed_ = false;
    wake_.notify_all();
  }
  int arrived() {
    std::lock_guard lock(mutex_);
    return arrived_;
  }
  void pass(const ModelStep& step) {
    std::unique_lock lock(mutex_);
    if (!closed_ || step.after || step.call != call_) return;
    ++arrived_;
    wake_.wait(lock, [this] { return !closed_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool closed_ = false;
  ModelCall call_ = ModelCall::append;
  int arrived_ = 0;
};

class Watcher final : public StoreWatcher {
 public:
  void store_returned() override { ++returned; }
  void departed(const std::string&, const std::string&, const std::string&, uint64_t) override {}
  void name_lost(const std::string&, const std::string&, const std::string&) override {}
  int returned = 0;
};

// A node's store, over servers that it may share with others.
struct Node {
  Node(const std::shared_ptr<ModelServers>& servers, ActingClock& clock) {
    StoreOptions options;
    options.metrics = &metrics;
    // The clock stands still but for great leaps, and few tests are about leases.
    options.lease_ms = 3'600'000;
    auto owned = std::make_unique<ModelDatabase>(servers);
    database = owned.get();
    database->on_step([this](const ModelStep& step) {
      if (hook) hook(step);
      gate.pass(step);
      return ModelFault::none;
    });
    store = std::make_unique<ClusterStore>(std::move(owned), std::make_unique<ThreadWorkers>(), options, clock, random);
    call = std::make_unique<Caller>(*store);
  }
  ~Node() {
    gate.open();
    store->stop(false);
  }
  void start() {
    ASSERT_EQ(store->start(), "");
    ASSERT_TRUE(eventually([&] { return store->may_speak(); })) << store->trouble();
  }
  // The answer comes into `results`, at its place.
  void append(const std::string& room, std::vector<Message> messages) {
    const size_t place = results.size();
    results.emplace_back();
    store->append(room, start_of(room), std::move(messages), call->loop(), [this, place](AppendResult result) {
      results[place] = std::move(result);
      ++answered;
    });
  }
  bool all_answered() {
    return call->loop().run_until([&] { return answered == results.size(); });
  }
  // Answers that are there already have been taken.
  void take_answers() {
    bool taken = false;
    call->loop().post([&] { taken = true; });
    call->loop().run_until([&] { return taken; });
  }

  SystemRandom random;
  StoreMetrics metrics;
  Gate gate;
  std::function<void(const ModelStep&)> hook;  // to be set before the start
  ModelDatabase* database = nullptr;
  std::unique_ptr<ClusterStore> store;
  std::unique_ptr<Caller> call;
  std::vector<AppendResult> results;
  size_t answered = 0;
};

// Somebody who talks to the servers without a store.
class Stranger {
 public:
  explicit Stranger(const std::shared_ptr<ModelServers>& servers)
      : worker_(ThreadWorkers().make("stranger")), database(servers), link(database.link(*worker_)) {}

  cluster::Failure append(const std::string& room, const Message& message) {
    RoomBatch batch;
    batch.room = room;
    batch.known = start_of(room);
    batch.messages.push_back(&message);
    return link->append({&batch}, "");
  }
  // Visible, and taken back by a failover.
  void append_unproven(const std::string& room, const Message& message) {
    database.next(ModelCall::append, ModelFault::warning);
    ASSERT_EQ(append(room, message).trouble, Trouble::unknown);
  }

 private:
  std::unique_ptr<Worker> worker_;

 public:
  ModelDatabase database;
  std::unique_ptr<cluster::Link> link;
};

struct ClusterStoreTest : testing::Test {
  std::shared_ptr<ModelServers> servers = std::make_shared<ModelServers>();
  ActingClock clock;
  Node ana{servers, clock};

  void SetUp() override { ana.start(); }
  Caller& call() { return *ana.call; }
  // All links of ana's store are connected.
  void connect_all() {
    call().says("where it is connected", "x", "x");
    ana.gate.close(ModelCall::find);
    int found = 0;
    for (int i = 0; i < 2; ++i) {
      ana.store->find("where it is connected", "x", call().loop(), [&](Rows) { ++found; });
      ASSERT_TRUE(eventually([&] { return ana.gate.arrived() == i + 1; }));
    }
    ana.gate.open();
    ASSERT_TRUE(call().loop().run_until([&] { return found == 2; }));
  }
  size_t calls(ModelCall call) { return ana.database->calls(call); }
  std::string uuids(const std::string& room, bool majority = false) {
    std::string all;
    for (const Row& row : servers->log(room, majority)) all += row.message.uuid + " ";
    return all;
  }
};

// --- appends ---

TEST_F(ClusterStoreTest, WhatWaitsWhileABatchIsInTheStoreGoesTogetherInOrderOfArrival) {
  ana.gate.close(ModelCall::append);
  ana.append("plaza", one(text_message("first", "ana", "x")));
  ASSERT_TRUE(eventually([&] { return ana.gate.arrived() == 1; }));
  const size_t before = calls(ModelCall::append);
  for (int i = 0; i < 40; ++i) {
    ana.append("room" + std::to_string(i % 4), one(text_message("u" + std::to_string(i), "ana", "x")));
  }
  ana.gate.open();
  ASSERT_TRUE(ana.all_answered());
  EXPECT_EQ(calls(ModelCall::append), before + 1);
  EXPECT_EQ(ana.metrics.commits, 2u);
  for (int i = 0; i < 40; ++i) {
    const AppendResult& result = ana.results[static_cast<size_t>(i) + 1];
    ASSERT_EQ(result.status, kDone);
    EXPECT_EQ(result.each.at(0).position.sequence, static_cast<Sequence>(i / 4 + 1));
  }
  expect_whole_log("room3", call().read_all("room3"));
}

TEST_F(ClusterStoreTest, OneUuidInSeveralCallsOfABatchIsOneMessage) {
  ASSERT_EQ(call().says("plaza", "old", "theirs", "bea").status, kDone);
  ana.gate.close(ModelCall::append);
  ana.append("patio", one(text_message("first", "ana", "x")));
  ASSERT_TRUE(eventually([&] { return ana.gate.arrived() == 1; }));
  servers->poison([](const Message& message) { return message.text == "poison"; });
  ana.append("plaza", one(text_message("a", "ana", "one")));
  ana.append("plaza", one(text_message("a", "ana", "one")));
  ana.append("plaza", one(text_message("a", "ana", "another")));
  ana.append("plaza", one(text_message("old", "ana", "mine")));
  ana.append("plaza", one(text_message("old", "bea", "theirs")));
  ana.append("plaza", one(text_message("bad", "ana", "poison")));
  ana.append("plaza", one(text_message("bad", "ana", "poison")));
  ana.append("plaza", one(text_message("bad", "ana", "good")));
  ana.append("plaza", one(text_message("b", "ana", "two")));
  ana.gate.open();
  ASSERT_TRUE(ana.all_answered());
  std::vector<Kind> kinds;
  for (size_t i = 1; i < ana.results.size(); ++i) {
    ASSERT_EQ(ana.results[i].status, kDone);
    kinds.push_back(ana.results[i].each.at(0).kind);
  }
  EXPECT_EQ(kinds, (std::vector<Kind>{Kind::added, Kind::repeated, Kind::conflict, Kind::conflict, Kind::repeated,
                                      Kind::refused, Kind::refused, Kind::conflict, Kind::added}));
  EXPECT_EQ(ana.results[2].each[0].position, ana.results[1].each[0].position);
  EXPECT_EQ(ana.results[5].each[0].position.sequence, 1u);
  EXPECT_EQ(ana.results[9].each[0].position.sequence, 3u);
  EXPECT_EQ(uuids("plaza"), "old a b ");
}

TEST_F(ClusterStoreTest, APoisonousMessageIsRefusedAloneAndTheNinetyNineOthersStandInOrderWithinASecond) {
  servers->poison([](const Message& message) { return message.text == "poison"; });
  ana.gate.close(ModelCall::append);
  ana.append("patio", one(text_message("first", "ana", "x")));
  ASSERT_TRUE(eventually([&] { return ana.gate.arrived() == 1; }));
  std::vector<Message> messages;
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    const std::string uuid = std::to_string(i);
    if (i != 61) expected += uuid + " ";
    messages.push_back(text_message(uuid, "ana", i == 61 ? "poison" : "x"));
  }
  ana.append("plaza", std::move(messages));
  for (int i = 0; i < 20; ++i) ana.append("room" + std::to_string(i), one(text_message("u", "ana", "x")));
  const size_t before = calls(ModelCall::append);
  const auto began = std::chrono::steady_clock::now();
  ana.gate.open();
  ASSERT_TRUE(ana.all_answered());
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(1));
  EXPECT_LE(calls(ModelCall::append) - before, 30u) << "found by halving";
  const AppendResult& result = ana.results[1];
  ASSERT_EQ(result.status, kDone);
  for (size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(result.each[i].kind, i == 61 ? Kind::refused : Kind::added);
    EXPECT_EQ(result.each[i].position.sequence, i == 61 ? 0 : i < 61 ? i + 1 : i);
  }
  EXPECT_FALSE(result.each[61].reason.empty());
  EXPECT_EQ(uuids("plaza"), expected);
  for (size_t i = 2; i < ana.results.size(); ++i) EXPECT_EQ(ana.results[i].each.at(0).kind, Kind::added);
}

TEST_F(ClusterStoreTest, ALostReplyIsSettledAsAddedExactlyOnce) {
  for (const ModelFault fault : {ModelFault::lost_after, ModelFault::lost_before, ModelFault::lost_half,
                                 ModelFault::warning, ModelFault::late}) {
    const std::string room = name_of(fault);
    ana.database->next(ModelCall::append, fault);
    std::vector<Message> two = one(text_message("a", "ana", "one"));
    two.push_back(text_message("b", "ana", "two"));
    const AppendResult result = call().append(room, std::move(two));
    ASSERT_EQ(result.status, kDone) << room;
    servers->land_one();
    EXPECT_EQ(uuids(room), "a b ") << room;
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(result.each[i].kind, Kind::added) << room << ": nobody else tells the others of it";
      EXPECT_EQ(result.each[i].position, servers->log(room)[i].position()) << room;
      EXPECT_EQ(result.each[i].previous, servers->log(room)[i].previous) << room;
    }
    EXPECT_EQ(servers->log(room, true).size(), 2u) << room << ": told before a majority had it";
  }
  EXPECT_EQ(ana.metrics.rows, 10u);
  EXPECT_EQ(ana.metrics.repeats, 0u);
}

TEST_F(ClusterStoreTest, AMessageThatSomebodyElseSentUnderTheSameUuidIsARepeatEvenAfterALostReply) {
  Stranger stranger(servers);
  Message theirs = text_message("a", "ana", "one");
  theirs.id_json = "\"sent by another connection\"";
  ASSERT_FALSE(stranger.append("plaza", theirs));
  ana.database->next(ModelCall::append, ModelFault::lost_before);
  EXPECT_EQ(call().says("plaza", "a", "one").each.at(0).kind, Kind::repeated);
}

TEST_F(ClusterStoreTest, WhileAnOutcomeIsUnknownNobodyIsToldAnything) {
  ana.database->next(ModelCall::append, ModelFault::lost_after);
  ana.database->next(ModelCall::append, ModelFault::lost_before, 2);
  ana.database->next(ModelCall::append, ModelFault::not_now, 3);  // "nothing was done" is not true of the first
  ana.append("plaza", one(text_message("a", "ana", "one")));
  ASSERT_TRUE(ana.all_answered());
  ASSERT_EQ(ana.results[0].status, kDone);
  EXPECT_EQ(ana.results[0].each.at(0).kind, Kind::added);
  EXPECT_EQ(calls(ModelCall::append), 7u);
}

TEST_F(ClusterStoreTest, OnceAPartStandsItIsNotSaidThatNothingWasAppended) {
  servers->poison([](const Message& message) { return message.text == "poison"; });
  // The second half of a batch with a poisonous message finds the database busy for a while.
  ana.database->next(ModelCall::append, ModelFault::none, 2);
  ana.database->next(ModelCall::append, ModelFault::not_now, 2);
  std::vector<Message> messages;
  for (const char* uuid : {"a", "b", "c"}) messages.push_back(text_message(uuid, "ana", "x"));
  messages.push_back(text_message("d", "ana", "poison"));
  const AppendResult result = call().append("plaza", std::move(messages));
  ASSERT_EQ(result.status, kDone);
  EXPECT_EQ(result.each[2].kind, Kind::added);
  EXPECT_EQ(result.each[3].kind, Kind::refused);
  EXPECT_EQ(uuids("plaza"), "a b c ");
}

TEST_F(ClusterStoreTest, WhatTheDatabaseDoesNotTakeNowIsSaidAndAnotherAttemptMayFollow) {
  ana.database->be_away(true);
  EXPECT_EQ(call().says("plaza", "a", "one").status, AppendResult::Status::not_now);
  EXPECT_NE(ana.store->trouble(), "");
  ana.database->be_away(false);
  EXPECT_EQ(call().says("plaza", "a", "one").each.at(0).kind, Kind::added);
  EXPECT_TRUE(eventually([&] { return ana.store->trouble().empty(); })) << ana.store->trouble();
  EXPECT_GE(ana.metrics.io_errors, 1u);
  EXPECT_TRUE(eventually([&] { return ana.metrics.reopens == ana.metrics.io_errors; }));
}

TEST_F(ClusterStoreTest, OneUuidThroughTwoNodesAtOnceIsOneMessage) {
  Node bea(servers, clock);
  bea.start();
  for (int round = 0; round < 50; ++round) {
    const std::string uuid = std::to_string(round);
    for (Node* node : {&ana, &bea}) {
      node->results.clear();
      node->answered = 0;
      // Now and then the reply of one is lost.
      if (round % 5 == (node == &ana ? 1 : 2)) node->database->next(ModelCall::append, ModelFault::lost_after);
      std::vector<Message> both = one(text_message(uuid, "cid", "the same"));
      both.back().id_json = node == &ana ? "1" : "2";
      node->append("plaza", std::move(both));
    }
    ASSERT_TRUE(ana.all_answered());
    ASSERT_TRUE(bea.all_answered());
    const Appended& a = ana.results[0].each.at(0);
    const Appended& b = bea.results[0].each.at(0);
    EXPECT_EQ(a.position, b.position);
    EXPECT_EQ((a.kind == Kind::added) + (b.kind == Kind::added), 1);
    EXPECT_EQ((a.kind == Kind::repeated) + (b.kind == Kind::repeated), 1);
  }
  EXPECT_EQ(servers->log("plaza").size(), 50u);
}

TEST_F(ClusterStoreTest, ARepeatThatIsNotProvenIsAckedOnlyBehindAMark) {
  Stranger stranger(servers);
  stranger.append_unproven("plaza", text_message("a", "ana", "one"));
  ana.gate.close(ModelCall::mark);
  ana.database->next(ModelCall::mark, ModelFault::warning, 2);  // they do not prove anything
  ana.append("plaza", one(text_message("a", "ana", "one")));
  ASSERT_TRUE(eventually([&] { return ana.gate.arrived() == 1; })) << "no mark was asked for";
  ana.take_answers();
  EXPECT_EQ(ana.answered, 0u);
  ana.gate.open();
  ASSERT_TRUE(ana.all_answered());
  EXPECT_GE(calls(ModelCall::mark), 3u);
  EXPECT_EQ(servers->log("plaza", true).size(), 1u) << "acked, and a failover would take it back";
  EXPECT_EQ(ana.results[0].each.at(0).position, servers->log("plaza")[0].position());
}

TEST_F(ClusterStoreTest, ARepeatThatAFailoverTookBackIsAppended) {
  Stranger stranger(servers);
  stranger.append_unproven("plaza", text_message("a", "ana", "one"));
  ana.gate.close(ModelCall::mark);
  ana.append("plaza", one(text_message("a", "ana", "one")));
  ASSERT_TRUE(eventually([&] { return ana.gate.arrived() == 1; }));
  servers->failover();
  ana.gate.open();
  ASSERT_TRUE(ana.all_answered());
  EXPECT_EQ(ana.results[0].each.at(0).kind, Kind::added);
  EXPECT_EQ(servers->log("plaza", true).size(), 1u);
}

TEST_F(ClusterStoreTest, WhatIsAddedBehindARepeatInItsRoomProvesIt) {
  Stranger stranger(servers);
  stranger.append_unproven("plaza", text_message("a", "ana", "one"));
  std::vector<Message> two = one(text_message("a", "ana", "one"));
  two.push_back(text_message("b", "ana", "two"));
  const AppendResult result = call().append("plaza", std::move(two));
  EXPECT_EQ(result.each.at(0).kind, Kind::repeated);
  EXPECT_EQ(servers->log("plaza", true).size(), 2u);
  EXPECT_EQ(calls(ModelCall::mark), 0u);
}

TEST_F(ClusterStoreTest, NothingIsAppendedInTheNameOfANodeWhoseLeaseIsInDoubt) {
  ana.database->next(ModelCall::put, ModelFault::not_now, 1'000'000);
  clock.advance_ms(4'000'000);
  EXPECT_FALSE(ana.store->may_speak());
  const size_t before = calls(ModelCall::append);
  EXPECT_EQ(call().says("plaza", "a", "one").status, AppendResult::Status::not_now);
  EXPECT_EQ(calls(ModelCall::append), before);
  EXPECT_EQ(uuids("plaza"), "");
}

TEST_F(ClusterStoreTest, ANodeThatWasDeclaredDeadAppendsNothing) {
  Stranger peer(servers);
  std::vector<cluster::Put> puts(1);
  puts[0].record = servers->record("", ana.store->node()).value();
  puts[0].record.live = false;
  ASSERT_FALSE(peer.link->put(puts, ""));
  ASSERT_TRUE(puts[0].won);
  ASSERT_TRUE(ana.store->may_speak()) << "it cannot know yet";
  EXPECT_EQ(call().says("plaza", "a", "one").status, AppendResult::Status::fenced);
  EXPECT_EQ(uuids("plaza"), "");
}

TEST_F(ClusterStoreTest, NothingIsAppendedToAnotherPastAndItIsSaidSo) {
  call().says("plaza", "a", "one");
  Position held = servers->log("plaza")[0].position();
  held.chain.bytes[0] ^= 1;
  EXPECT_EQ(call().append_behind("plaza", held, one(text_message("b", "ana", "two"))).status,
            AppendResult::Status::does_not_fit);
  EXPECT_EQ(uuids("plaza"), "a ");
}

TEST_F(ClusterStoreTest, CallsThatHoldDifferentPastsDoNotShareABatch) {
  call().says("plaza", "a", "one");
  const Position held = servers->log("plaza")[0].position();
  Position other = held;
  other.chain.bytes[0] ^= 1;
  ana.gate.close(ModelCall::append);
  ana.append("patio", one(text_message("first", "ana", "x")));
  ASSERT_TRUE(eventually([&] { return ana.gate.arrived() == 1; }));
  std::vector<AppendResult::Status> said;
  const auto note = [&](AppendResult result) { said.push_back(result.status); };
  ana.store->append("plaza", held, one(text_message("b", "ana", "two")), call().loop(), note);
  ana.store->append("plaza", other, one(text_message("c", "ana", "three")), call().loop(), note);
  ana.store->append("plaza", held, one(text_message("d", "ana", "four")), call().loop(), note);
  ana.gate.open();
  ASSERT_TRUE(call().loop().run_until([&] { return said.size() == 3; }));
  EXPECT_EQ(said[0], kDone);
  EXPECT_EQ(said[1], AppendResult::Status::does_not_fit);
  EXPECT_EQ(uuids("plaza"), "a b d ");
}

// --- reads ---

TEST_F(ClusterStoreTest, RowsThatAreNotProvenAreShownOnlyBehindAMark) {
  connect_all();
  Stranger stranger(servers);
  stranger.append_unproven("plaza", text_message("a", "ana", "one"));
  const Position head = servers->log("plaza")[0].position();
  const auto shows_nothing = [&] {
    EXPECT_EQ(call().read("plaza", start_of("plaza")).status, Rows::Status::not_now);
    EXPECT_EQ(call().last("plaza", 1).status, Rows::Status::not_now);
    EXPECT_EQ(call().range("plaza", 0, false, 1).status, Rows::Status::not_now);
    EXPECT_EQ(call().find("plaza", "a").status, Rows::Status::not_now);
    EXPECT_FALSE(call().heads({"patio", "plaza"}));
    EXPECT_EQ(call().confirm("plaza", start_of("plaza")).status, Rows::Status::not_now);
  };
  ana.database->all_writes(ModelFault::warning);
  shows_nothing();
  ana.database->all_writes(ModelFault::none);
  ana.database->next(ModelCall::mark, ModelFault::lost_before, 6);
  shows_nothing();
  connect_all();  // again: with each connection proofs are forgotten
  const size_t marks = calls(ModelCall::mark);
  EXPECT_EQ(call().find("plaza", "a").rows.at(0).position(), head);
  EXPECT_EQ(calls(ModelCall::mark), marks + 1);
  EXPECT_EQ(servers->log("plaza", true).size(), 1u);
  EXPECT_EQ(call().last("plaza", 1).rows.at(0).position(), head);
  EXPECT_EQ(call().heads({"plaza"})->at(0), head);
  EXPECT_EQ(calls(ModelCall::mark), marks + 1) << "what was proven once stays so";
}

TEST_F(ClusterStoreTest, WhatACleanAppendOrTheBusHasProvenIsReadWithoutAMark) {
  connect_all();
  const size_t marks = calls(ModelCall::mark);
  call().says("plaza", "a", "one");
  EXPECT_EQ(call().read_all("plaza").rows.size(), 1u);
  Stranger stranger(servers);
  ASSERT_FALSE(stranger.append("plaza", text_message("b", "bea", "two")));
  ana.store->heard("plaza", servers->log("plaza").back().position());
  EXPECT_EQ(call().read_all("plaza").rows.size(), 2u);
  EXPECT_EQ(calls(ModelCall::mark), marks);
}

TEST_F(ClusterStoreTest, ADeposedPrimaryShowsNothingOfItsOwnWhateverNumbersAreProven) {
  connect_all();  // to what is the primary now
  Stranger stranger(servers);
  ASSERT_FALSE(stranger.append("plaza", text_message("a", "ana", "one")));
  ASSERT_EQ(call().last("plaza", 1).status, kOk);
  ASSERT_EQ(call().says("patio", "x", "x").status, kDone);
  stranger.append_unproven("plaza", text_message("gone", "ana", "never acked"));
  servers->failover(true);
  Stranger other(servers);
  ASSERT_FALSE(other.append("plaza", text_message("b", "bea", "two")));
  ASSERT_FALSE(other.append("plaza", text_message("c", "bea", "three")));
  ana.store->heard("plaza", servers->log("plaza").back().position());
  const Rows rows = call().read("plaza", start_of("plaza"));
  EXPECT_EQ(rows.status, Rows::Status::not_now) << "row 3 is proven, but row 2 here is another";
  ana.database->cut();
  EXPECT_TRUE(eventually([&] { return call().read_all("plaza").rows.size() == 3; }));
  EXPECT_EQ(uuids("plaza"), "a b c ");
}

TEST_F(ClusterStoreTest, ReadsThatWaitTogetherShareOneMark) {
  Stranger stranger(servers);
  constexpr int kRooms = 40;
  for (int i = 0; i < kRooms; ++i) {
    stranger.append_unproven("room" + std::to_string(i), text_message("a", "ana", "one"));
  }
  ana.gate.close(ModelCall::read_range);
  int shown = 0;
  for (int i = 0; i < kRooms; ++i) {
    ana.store->read_last("room" + std::to_string(i), 1, 1000, call().loop(), [&](Rows rows) {
      EXPECT_EQ(rows.status, kOk);
      shown += static_cast<int>(rows.rows.size());
    });
    // Both workers are held up with what came first; all others wait for them.
    if (i < 2) {
      ASSERT_TRUE(eventually([&] { return ana.gate.arrived() == i + 1; }));
    }
  }
  ana.gate.open();
  ASSERT_TRUE(call().loop().run_until([&] { return shown == kRooms; }));
  EXPECT_LE(calls(ModelCall::mark), 4u);
  EXPECT_EQ(servers->proven_commits(), servers->commits());
}

TEST_F(ClusterStoreTest, AMarkThatWasBegunBeforeARowWasReadDoesNotProveIt) {
  Stranger stranger(servers);
  // The row becomes visible while the mark of earlier reads is under way; a failover would keep the mark and not it.
  stranger.append_unproven("plaza", text_message("a", "ana", "one"));
  ana.gate.close(ModelCall::mark);
  std::optional<Rows> first, second;
  ana.store->read_last("plaza", 1, 1000, call().loop(), [&](Rows rows) { first = std::move(rows); });
  ASSERT_TRUE(eventually([&] { return ana.gate.arrived() == 1; }));
  ana.store->read_last("plaza", 1, 1000, call().loop(), [&](Rows rows) { second = std::move(rows); });
  ASSERT_TRUE(eventually([&] { return ana.gate.arrived() == 2; })) << "the other worker's reads need their own mark";
  ana.take_answers();
  EXPECT_FALSE(first || second);
  ana.gate.open();
  ASSERT_TRUE(call().loop().run_until([&] { return first && second; }));
  EXPECT_EQ(first->status, kOk);
  EXPECT_EQ(second->status, kOk);
}

TEST_F(ClusterStoreTest, APositionIsJudgedOnlyOnAConnectionThatHasCommittedSince) {
  connect_all();
  call().says("plaza", "a", "one");
  const Position held = servers->log("plaza")[0].position();
  const size_t marks = calls(ModelCall::mark);
  EXPECT_EQ(call().confirm("plaza", held).status, kOk);
  EXPECT_EQ(calls(ModelCall::mark), marks + 1) << "proven or not";
  Position other = held;
  other.chain.bytes[0] ^= 1;
  EXPECT_EQ(call().confirm("plaza", other).status, Rows::Status::does_not_fit);
  // A primary that has been deposed cannot say no: it does not have what the others have.
  servers->failover(true);
  Stranger stranger(servers);
  ASSERT_FALSE(stranger.append("plaza", text_message("b", "bea", "two")));
  const Position newer = servers->log("plaza").back().position();
  EXPECT_EQ(call().confirm("plaza", newer).status, Rows::Status::not_now);
  ana.database->cut();
  EXPECT_TRUE(eventually([&] { return call().confirm("plaza", newer).status == kOk; }));
}

TEST_F(ClusterStoreTest, AConnectionMadeAnewBetweenMarkAndReadConfirmsNothing) {
  call().says("plaza", "a", "one");
  const Position held = servers->log("plaza")[0].position();
  std::atomic<bool> marked = false;
  Node bea(servers, clock);
  bea.hook = [&](const ModelStep& step) {
    if (step.call != ModelCall::mark || !step.after || marked.exchange(true)) return;
    clock.act = [&] { bea.database->cut(); };
    clock.armed = true;
  };
  bea.start();
  const Rows rows = bea.call->confirm("plaza", held);
  EXPECT_TRUE(marked);
  EXPECT_EQ(rows.status, kOk);
  EXPECT_EQ(bea.database->calls(ModelCall::read), 2u) << "what the other connection had committed says nothing";
}

// --- outages ---

TEST_F(ClusterStoreTest, WhenAConnectionIsMadeAnewTheWatcherIsToldAndNothingCountsAsProvenAnyMore) {
  connect_all();
  Watcher watcher;
  ana.store->watch(&watcher, &call().loop());
  call().says("plaza", "a", "one");
  EXPECT_EQ(call().last("plaza", 1).status, kOk);
  ana.take_answers();
  EXPECT_EQ(watcher.returned, 0);
  const size_t marks = calls(ModelCall::mark);
  ana.database->cut();
  EXPECT_TRUE(eventually([&] { return call().last("plaza", 1).status == kOk; }));
  ASSERT_TRUE(call().loop().run_until([&] { return watcher.returned > 0; }));
  EXPECT_GT(calls(ModelCall::mark), marks);
  ana.store->watch(nullptr, nullptr);
  const int before = watcher.returned;
  ana.database->cut();
  EXPECT_TRUE(eventually([&] { return call().last("plaza", 1).status == kOk; }));
  EXPECT_EQ(watcher.returned, before);
}

TEST_F(ClusterStoreTest, AnOutageIsToldWhenItIsOverAlthoughTheConnectionIsTheSame) {
  connect_all();
  Watcher watcher;
  ana.store->watch(&watcher, &call().loop());
  ana.database->next(ModelCall::append, ModelFault::not_now, 2);
  EXPECT_EQ(call().says("plaza", "a", "one").status, AppendResult::Status::not_now);
  EXPECT_NE(ana.store->trouble(), "");
  clock.advance_ms(2'000);
  EXPECT_EQ(call().says("plaza", "a", "one").status, AppendResult::Status::not_now);
  EXPECT_EQ(call().says("plaza", "a", "one").status, kDone);
  ASSERT_TRUE(call().loop().run_until([&] { return watcher.returned > 0; }));
}

TEST_F(ClusterStoreTest, ADatabaseThatDoesNotAnswerFailsReadsSoon) {
  ana.gate.close(ModelCall::read_range);
  int answered = 0;
  const auto fails = [&](Rows rows) {
    EXPECT_EQ(rows.status, Rows::Status::not_now);
    ++answered;
  };
  for (int i = 0; i < 60; ++i) {
    ana.store->read_last("plaza", 1, 1, call().loop(), fails);
    if (i < 2) {
      ASSERT_TRUE(eventually([&] { return ana.gate.arrived() == i + 1; }));
    }
  }
  ana.database->be_away(true);
  const size_t before = calls(ModelCall::read_range);
  ana.gate.open();
  ASSERT_TRUE(call().loop().run_until([&] { return answered == 60; }));
  EXPECT_LE(calls(ModelCall::read_range) - before, 8u) << "each may take seconds";
  EXPECT_EQ(ana.metrics.reads_not_now, 60u);
}

TEST_F(ClusterStoreTest, ReadMarkersAreMergedSeenBeforeTheyAreWrittenAndOutliveAnOutage) {
  for (Sequence sequence = 1; sequence <= 500; ++sequence) ana.store->mark_read("plaza", "ana", sequence);
  ana.store->mark_read("plaza", "ana", 7);
  EXPECT_EQ(call().marker("plaza", "ana"), 500u);
  EXPECT_EQ(calls(ModelCall::write_markers), 0u);
  ana.database->next(ModelCall::write_markers, ModelFault::lost_before);
  ASSERT_TRUE(eventually([&] { return calls(ModelCall::write_markers) >= 1; }));
  EXPECT_EQ(call().marker("plaza", "ana"), 500u);
  ASSERT_TRUE(eventually([&] { return calls(ModelCall::write_markers) >= 2; }));
  Node bea(servers, clock);
  bea.start();
  EXPECT_TRUE(eventually([&] { return bea.call->marker("plaza", "ana") == 500u; }));
}

// --- start and end ---

TEST_F(ClusterStoreTest, WhatWasAppendedAndMarkedBeforeTheEndIsThere) {
  for (int i = 0; i < 100; ++i) ana.append("plaza", one(text_message(std::to_string(i), "ana", "x")));
  ana.store->mark_read("plaza", "ana", 3);
  const std::string node = ana.store->node();
  ana.store->stop(true);
  ASSERT_TRUE(ana.all_answered());
  EXPECT_EQ(servers->log("plaza").size(), 100u);
  Node bea(servers, clock);
  bea.start();
  EXPECT_EQ(bea.call->marker("plaza", "ana"), 3u);
  EXPECT_FALSE(servers->record("", node).value().live) << "peers need not wait for the lease to end";
}

TEST_F(ClusterStoreTest, TheEndDoesNotWaitForADatabaseThatIsAway) {
  ana.database->all_writes(ModelFault::lost_before);
  for (int i = 0; i < 10; ++i) ana.append("plaza", one(text_message(std::to_string(i), "ana", "x")));
  ASSERT_TRUE(eventually([&] { return calls(ModelCall::append) >= 2; }));
  ana.database->be_away(true);
  const auto began = std::chrono::steady_clock::now();
  ana.store->stop(true);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
  ana.take_answers();
  EXPECT_EQ(ana.answered, 0u) << "nobody is told a guess, at the end neither";
}

TEST(ClusterStoreStart, ADatabaseThatStartsTogetherWithTheNodeIsWaitedFor) {
  ActingClock clock;
  Node node(std::make_shared<ModelServers>(), clock);
  node.database->be_away(true);
  std::thread later([&] {
    EXPECT_TRUE(eventually([&] { return node.database->prepares() >= 1; }));
    node.database->be_away(false);
  });
  EXPECT_EQ(node.store->start(), "");
  later.join();
  EXPECT_GE(node.database->prepares(), 2u);
}

TEST(ClusterStoreStart, ADatabaseThatDoesNotComeIsSaidInASentence) {
  ActingClock clock;
  Node node(std::make_shared<ModelServers>(), clock);
  node.database->be_away(true);
  std::string error;
  std::atomic<bool> over = false;
  std::thread starting([&] {
    error = node.store->start();
    over = true;
  });
  EXPECT_TRUE(eventually([&] {
    clock.advance_ms(1'000);
    return over.load();
  }));
  starting.join();
  EXPECT_NE(error, "");
}

}  // namespace
}  // namespace tertulia
