#include "store/cluster/model_database.h"

#include <gtest/gtest.h>

#include <thread>

namespace tertulia::cluster {
namespace {

// Never waits.
class NoWorker final : public Worker {
 public:
  void post(Function<void()>) override {}
  void post_after(int64_t, Function<void()>) override {}
  bool pause_us(int64_t us) override {
    paused_us += us;
    return true;
  }
  bool stopping() const override { return false; }
  void stop() override {}
  int64_t paused_us = 0;
};

Message message(const std::string& uuid, const std::string& text = "hello") {
  Message m;
  m.uuid = uuid;
  m.user_id = "u";
  m.user_name = "U";
  m.text = text;
  return m;
}

struct Model : ::testing::Test {
  std::shared_ptr<ModelServers> servers = std::make_shared<ModelServers>();
  ModelDatabase database{servers};
  NoWorker worker;
  std::unique_ptr<Link> link = database.link(worker);

  // The outcome of an append of these to room r, behind what `from` sees as its head.
  Failure append(const std::vector<std::string>& uuids, RoomBatch* answer = nullptr, const std::string& node = "") {
    std::vector<Position> heads;
    EXPECT_FALSE(link->heads({"r"}, heads));
    return append_behind(heads.empty() ? Position{0, chain_start("r")} : heads[0], uuids, answer, node);
  }
  Failure append_behind(const Position& known, const std::vector<std::string>& uuids, RoomBatch* answer = nullptr,
                        const std::string& node = "") {
    std::vector<Message> messages;
    for (const std::string& uuid : uuids) messages.push_back(message(uuid));
    RoomBatch batch;
    batch.room = "r";
    batch.known = known;
    for (const Message& m : messages) batch.messages.push_back(&m);
    const Failure failure = link->append({&batch}, node);
    if (answer != nullptr) *answer = batch;
    return failure;
  }
  std::vector<std::string> uuids(bool majority = false) {
    std::vector<std::string> all;
    for (const Row& row : servers->log("r", majority)) all.push_back(row.message.uuid);
    return all;
  }
  bool put(const std::string& name, uint64_t version, bool live = true, const std::string& room = "r") {
    std::vector<Put> puts(1);
    puts[0].record.room = room;
    puts[0].record.name = name;
    puts[0].record.version = version;
    puts[0].record.live = live;
    puts[0].record.user = "user of " + name;
    puts[0].record.nodes = {"n1"};
    EXPECT_FALSE(link->put(puts, ""));
    return puts[0].won;
  }
};
using Names = std::vector<std::string>;

TEST_F(Model, RepeatsKeepTheirPlaceAndNewOnesContinueTheLog) {
  RoomBatch answer;
  ASSERT_FALSE(append({"a", "b"}, &answer));
  ASSERT_TRUE(answer.placed[1].added);
  EXPECT_EQ(answer.placed[1].row.previous, answer.placed[0].row.chain);
  ASSERT_FALSE(append({"a", "c"}, &answer));
  EXPECT_FALSE(answer.placed[0].added);
  EXPECT_EQ(answer.placed[0].row.sequence, 1u);
  EXPECT_EQ(answer.placed[1].row.sequence, 3u);
  EXPECT_EQ(uuids(), (Names{"a", "b", "c"}));
  EXPECT_EQ(uuids(true), (Names{"a", "b", "c"}));
}

TEST_F(Model, AnotherPastTakesNothing) {
  ASSERT_FALSE(append({"a"}));
  RoomBatch answer;
  ASSERT_FALSE(append_behind({1, chain_start("other")}, {"b"}, &answer));
  EXPECT_FALSE(answer.fits);
  EXPECT_EQ(uuids(), (Names{"a"}));
  Rows rows;
  ASSERT_FALSE(link->read("r", {2, {}}, 10, 1000, rows));
  EXPECT_EQ(rows.status, Rows::Status::does_not_fit);
  ASSERT_FALSE(link->read("r", {0, chain_start("r")}, 10, 1000, rows));
  EXPECT_EQ(rows.status, Rows::Status::ok);
  EXPECT_EQ(rows.rows.size(), 1u);
  EXPECT_EQ(rows.head, rows.rows[0].position());
}

TEST_F(Model, RangesKeepTheRowsNearestToTheNumber) {
  ASSERT_FALSE(append({"a", "b", "c", "d"}));
  Rows rows;
  ASSERT_FALSE(link->read_range("r", 4, true, 2, 10'000, rows));
  ASSERT_EQ(rows.rows.size(), 2u);
  EXPECT_EQ(rows.rows[0].message.uuid, "b");
  ASSERT_FALSE(link->read_range("r", 1, false, 10, 1, rows));
  ASSERT_EQ(rows.rows.size(), 1u);
  EXPECT_EQ(rows.rows[0].message.uuid, "b");
  ASSERT_FALSE(link->read_range("r", sequence_max, true, 10, 10'000, rows));
  EXPECT_EQ(rows.rows.size(), 4u);
}

TEST_F(Model, AFaultIsDoneOrNotAsItsNameSays) {
  const struct {
    ModelFault fault;
    Trouble trouble;
    bool done;
  } table[] = {{ModelFault::not_now, Trouble::not_now, false},
               {ModelFault::lost_before, Trouble::unknown, false},
               {ModelFault::late, Trouble::unknown, false},
               {ModelFault::lost_after, Trouble::unknown, true},
               {ModelFault::warning, Trouble::unknown, true}};
  for (const auto& row : table) {
    SCOPED_TRACE(name_of(row.fault));
    const size_t before = uuids().size();
    database.next(ModelCall::append, row.fault);
    EXPECT_EQ(append({name_of(row.fault)}).trouble, row.trouble);
    EXPECT_EQ(uuids().size(), before + (row.done ? 1 : 0));
  }
  EXPECT_TRUE(servers->land_one());
  EXPECT_EQ(uuids().back(), "late");
  EXPECT_FALSE(servers->land_one());
}

TEST_F(Model, AFailoverTakesBackWhatOnlyThePrimaryHad) {
  ASSERT_FALSE(append({"a"}));
  database.next(ModelCall::append, ModelFault::warning, 2);
  EXPECT_EQ(append({"b"}).trouble, Trouble::unknown);
  EXPECT_EQ(append({"c"}).trouble, Trouble::unknown);
  EXPECT_EQ(uuids(), (Names{"a", "b", "c"}));
  EXPECT_EQ(uuids(true), (Names{"a"}));
  servers->failover(false, 1);
  EXPECT_EQ(uuids(), (Names{"a", "b"}));
  const uint64_t connects = link->connects();
  ASSERT_FALSE(append({"d"}));
  EXPECT_GT(link->connects(), connects);
  EXPECT_EQ(uuids(true), (Names{"a", "b", "d"}));
}

TEST_F(Model, AMarkProvesWhatItsOwnConnectionReadBefore) {
  database.next(ModelCall::append, ModelFault::warning);
  EXPECT_EQ(append({"a"}).trouble, Trouble::unknown);
  Rows rows;
  ASSERT_FALSE(link->find("r", "a", rows));
  EXPECT_EQ(rows.rows.size(), 1u);
  database.cut();
  EXPECT_EQ(link->mark().trouble, Trouble::unknown) << "read on another connection";
  EXPECT_EQ(uuids(true), Names{});
  ASSERT_FALSE(link->find("r", "a", rows));
  database.next(ModelCall::mark, ModelFault::warning);
  EXPECT_EQ(link->mark().trouble, Trouble::unknown);
  EXPECT_EQ(uuids(true), Names{});
  EXPECT_FALSE(link->mark());
  EXPECT_EQ(uuids(true), Names{"a"});
}

TEST_F(Model, ADeposedPrimaryAnswersFromItsOwnPast) {
  database.next(ModelCall::append, ModelFault::warning);
  EXPECT_EQ(append({"a"}).trouble, Trouble::unknown);
  servers->failover(true);
  Rows rows;
  ASSERT_FALSE(link->find("r", "a", rows));
  EXPECT_EQ(rows.rows.size(), 1u);
  EXPECT_EQ(link->mark().trouble, Trouble::unknown);
  EXPECT_EQ(append({"b"}).trouble, Trouble::unknown);
  EXPECT_EQ(uuids(), Names{});
  servers->cut();
  ASSERT_FALSE(link->find("r", "a", rows));
  EXPECT_EQ(rows.rows.size(), 0u);
}

TEST_F(Model, ABackupRestoredEndsAllConnections) {
  ASSERT_FALSE(append({"a"}));
  const size_t commits = servers->commits();
  ASSERT_FALSE(append({"b"}));
  servers->go_back(commits);
  EXPECT_EQ(uuids(), Names{"a"});
  const uint64_t connects = link->connects();
  ASSERT_FALSE(append({"c"}));
  EXPECT_EQ(link->connects(), connects + 1);
}

TEST_F(Model, WhereReadsShowAMajorityOnlyNothingElseIsSeen) {
  servers = std::make_shared<ModelServers>(ModelServers::Traits{false, true});
  ModelDatabase other(servers);
  link = other.link(worker);
  other.next(ModelCall::append, ModelFault::warning);
  EXPECT_EQ(append({"a"}).trouble, Trouble::unknown);
  Rows rows;
  ASSERT_FALSE(link->find("r", "a", rows));
  EXPECT_EQ(rows.rows.size(), 0u);
  RoomBatch answer;
  ASSERT_FALSE(append({"a"}, &answer));
  EXPECT_FALSE(answer.placed[0].added);
  EXPECT_EQ(uuids(true), Names{"a"}) << "what it answers for, it has made sure of";
}

TEST_F(Model, RecordsChangeByCompareAndSwap) {
  EXPECT_TRUE(put("ana", 0));
  EXPECT_FALSE(put("ana", 0));
  EXPECT_TRUE(put("ana", 1, false));
  EXPECT_TRUE(put("bea", 0));
  EXPECT_TRUE(put("n1", 0, true, ""));
  std::vector<Record> records;
  ASSERT_FALSE(link->load({{"r", "ana"}, {"r", "nobody"}}, records));
  EXPECT_EQ(records[0].version, 2u);
  EXPECT_EQ(records[1].version, 0u);
  ASSERT_FALSE(link->list("r", "", 10, records));
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].name, "bea");
  ASSERT_FALSE(link->of_user("r", "user of ana", records));
  EXPECT_EQ(records.size(), 1u);
  ASSERT_FALSE(link->of_node("n1", 10, records));
  EXPECT_EQ(records.size(), 1u);
  uint64_t live = 0;
  ASSERT_FALSE(link->count("r", live));
  EXPECT_EQ(live, 1u);
}

TEST_F(Model, ANodeWithoutALeaseAppendsNothing) {
  EXPECT_EQ(append({"a"}, nullptr, "n1").trouble, Trouble::fenced);
  EXPECT_TRUE(put("n1", 0, true, ""));
  EXPECT_FALSE(append({"a"}, nullptr, "n1"));
  EXPECT_TRUE(put("n1", 1, false, ""));
  EXPECT_EQ(append({"b"}, nullptr, "n1").trouble, Trouble::fenced);
}

TEST_F(Model, OthersMayComeBetweenTheStepsOfACall) {
  ModelDatabase hooked(servers);
  std::vector<std::string> seen;
  hooked.on_step([&](const ModelStep& step) {
    seen.push_back(std::string(name_of(step.call)) + (step.after ? " after" : " before"));
    if (!step.after) {
      EXPECT_FALSE(append({"first"}));
    }
    return ModelFault::none;
  });
  const std::unique_ptr<Link> other = hooked.link(worker);
  const Message second = message("second");
  RoomBatch batch;
  batch.room = "r";
  batch.known = {0, chain_start("r")};
  batch.messages = {&second};
  ASSERT_FALSE(other->append({&batch}, ""));
  EXPECT_EQ(uuids(), (Names{"first", "second"}));
  EXPECT_EQ(seen, (Names{"append before", "append after"}));
}

TEST_F(Model, AwayIsAnsweredNotNowAndComesBackAnew) {
  ASSERT_FALSE(append({"a"}));
  database.be_away(true);
  Rows rows;
  EXPECT_EQ(link->find("r", "a", rows).trouble, Trouble::not_now);
  EXPECT_NE(database.prepare(), "");
  database.be_away(false);
  EXPECT_FALSE(link->find("r", "a", rows));
  EXPECT_EQ(link->connects(), 2u);
  database.be_slow(500);
  EXPECT_FALSE(link->find("r", "a", rows));
  EXPECT_EQ(worker.paused_us, 500);
}

TEST_F(Model, ThreadsShareIt) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      ModelDatabase own(servers);
      NoWorker no_worker;
      const std::unique_ptr<Link> other = own.link(no_worker);
      for (int i = 0; i < 50; ++i) {
        const Message m = message(std::to_string(t) + "-" + std::to_string(i));
        RoomBatch batch;
        batch.room = "r";
        batch.known = {0, chain_start("r")};
        batch.messages = {&m};
        ASSERT_FALSE(other->append({&batch}, ""));
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(uuids().size(), 200u);
}

}  // namespace
}  // namespace tertulia::cluster
