// What is MongoDB's own: documents as they really lie in a server, and a server that goes away. What it has in common
// with other databases is in link_suite.h and store_suite.h.
#include <gtest/gtest.h>
#include <mongoc/mongoc.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "link_testing.h"
#include "mongo_server.h"
#include "store/mongo/documents.h"
#include "store/mongo/mongo_database.h"
#include "store/store_testing.h"

namespace tertulia {
namespace {

using cluster::Failure;
using cluster::Put;
using cluster::Record;
using cluster::RoomBatch;
using cluster::Trouble;
using testing_store::text_message;

// A database with links, each with a worker that nobody runs: the test's threads call the links themselves.
class Mongo : public testing::Test {
 protected:
  void SetUp() override {
    std::string error;
    server_ = MongoServer::get(error);
    ASSERT_NE(server_, nullptr) << error;
    url_ = server_->new_database();
    database_ = make_mongo(url_, StoreOptions());
    ASSERT_EQ(prepare(*database_), "");
    link_ = open();
  }
  // On any thread.
  std::unique_ptr<cluster::Link> open() {
    const std::lock_guard lock(mutex_);
    workers_made_.push_back(workers_.make("test"));
    return database_->link(*workers_made_.back());
  }

  static Failure append(cluster::Link& link, const std::string& room, const std::vector<Message>& messages,
                        std::vector<cluster::Placed>& placed, const std::string& node = "") {
    RoomBatch batch;
    batch.room = room;
    batch.known = {0, chain_start(room)};
    for (const Message& message : messages) batch.messages.push_back(&message);
    Failure failure = link.append({&batch}, node);
    EXPECT_TRUE(failure || batch.fits);
    placed = std::move(batch.placed);
    return failure;
  }
  static void expect_appended(cluster::Link& link, const std::string& room, const std::vector<Message>& messages) {
    std::vector<cluster::Placed> placed;
    Failure failure = append(link, room, messages, placed);
    ASSERT_TRUE(done(failure));
    ASSERT_EQ(placed.size(), messages.size());
    for (const auto& each : placed) EXPECT_TRUE(each.added);
  }
  Rows read_all(const std::string& room) {
    Rows rows;
    Failure failure = link_->read(room, {0, chain_start(room)}, 10'000, 64 << 20, rows);
    EXPECT_TRUE(done(failure));
    return rows;
  }
  // Puts a document there that is in nobody's log.
  void plant(const std::string& room, const Position& before, const Message& message, Position* at = nullptr) {
    const Chain chain = chain_next(before.chain, before.sequence + 1, message);
    mongo::Document document;
    mongo::write_row(document, {&room, before, chain, &message});
    mongoc_client_t* client = mongoc_client_new(url_.c_str());
    const char* name = mongoc_uri_get_database(mongoc_client_get_uri(client));
    mongoc_collection_t* collection = mongoc_client_get_collection(client, name, mongo::kMessages);
    bson_error_t error{};
    EXPECT_TRUE(mongoc_collection_insert_one(collection, document.get(), nullptr, nullptr, &error)) << error.message;
    mongoc_collection_destroy(collection);
    mongoc_client_destroy(client);
    if (at != nullptr) *at = {before.sequence + 1, chain};
  }

  MongoServer* server_ = nullptr;
  std::string url_;
  ThreadWorkers workers_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Worker>> workers_made_;  // guarded by mutex_
  std::unique_ptr<cluster::Database> database_;
  std::unique_ptr<cluster::Link> link_;
};

TEST_F(Mongo, WhatIsAppendedIsReadAsItWasSaidByAnyLink) {
  std::vector<Message> messages;
  messages.push_back(text_message("u1", "ana", "first \xE2\x9C\x93 \"$a.b\" \\ /"));
  messages.push_back(text_message("u2", "bob", ""));
  Message file = text_message("u3", "ana", "");
  file.kind = MessageKind::file;
  file.file_name = "a $name.with.dots";
  file.content_type = "text/plain";
  file.size_bytes = uint64_t{1} << 40;
  file.sha256_hex = std::string(64, 'a');
  messages.push_back(file);
  const std::string room = "r/o.o$m \xF0\x9F\x8E\x89";
  expect_appended(*link_, room, messages);
  link_ = open();  // remembers nothing
  Rows rows = read_all(room);
  ASSERT_NO_FATAL_FAILURE(testing_store::expect_whole_log(room, rows));
  ASSERT_EQ(rows.rows.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(same_body(rows.rows[i].message, messages[i]));
    EXPECT_EQ(rows.rows[i].message.user_name, messages[i].user_name);
    EXPECT_EQ(rows.rows[i].message.id_json, messages[i].id_json);
    EXPECT_EQ(rows.rows[i].message.sent_at_ms, messages[i].sent_at_ms);
  }
  EXPECT_EQ(rows.rows[2].message.size_bytes, uint64_t{1} << 40);
}

TEST_F(Mongo, TwoLinksOnOneRoomMakeOneLogAndEachMessageIsInItOnce) {
  constexpr int kEach = 40;
  std::atomic<int> added = 0, repeated = 0;
  auto writer = [&] {
    auto link = open();
    for (int i = 0; i < kEach; ++i) {
      // Both write the same messages.
      std::vector<cluster::Placed> placed;
      Failure failure = append(*link, "hot", {text_message("u" + std::to_string(i), "ana", "x")}, placed);
      ASSERT_TRUE(done(failure));
      ++(placed[0].added ? added : repeated);
    }
  };
  std::thread one(writer), two(writer);
  one.join();
  two.join();
  Rows rows = read_all("hot");
  ASSERT_NO_FATAL_FAILURE(testing_store::expect_whole_log("hot", rows));
  EXPECT_EQ(rows.rows.size(), static_cast<size_t>(kEach));
  EXPECT_EQ(added, kEach);
  EXPECT_EQ(repeated, kEach);
}

TEST_F(Mongo, ManyRoomsAreAppendedInOneCall) {
  // FerretDB holds every document of the collection against every room that is asked for.
  const int rooms_count = server_->is_ferretdb() ? 50 : 150;
  std::vector<std::string> rooms;
  std::vector<Message> messages;
  for (int i = 0; i < rooms_count; ++i) {
    rooms.push_back("room " + std::to_string(i));
    messages.push_back(text_message("u" + std::to_string(i), "ana", "x"));
  }
  for (int round = 0; round < 2; ++round) {
    std::vector<RoomBatch> batches(rooms.size());
    std::vector<RoomBatch*> all;
    for (size_t i = 0; i < rooms.size(); ++i) {
      batches[i].room = rooms[i];
      batches[i].known = {0, chain_start(rooms[i])};
      batches[i].messages = {&messages[i]};
      all.push_back(&batches[i]);
    }
    Failure failure = link_->append(all, "");
    ASSERT_TRUE(done(failure));
    for (const RoomBatch& batch : batches) EXPECT_EQ(batch.placed[0].added, round == 0);
  }
  std::vector<Position> heads;
  const Failure failure = open()->heads(rooms, heads);
  ASSERT_TRUE(done(failure));
  for (const Position& head : heads) EXPECT_EQ(head.sequence, 1u);
}

TEST_F(Mongo, RowsThatNothingLeadsToAreNeitherShownNorCommitted) {
  expect_appended(*link_, "r", {text_message("u1", "ana", "1"), text_message("u2", "ana", "2")});
  Message lost = text_message("lost", "ana", "of a past that is gone");
  Message other = text_message("other", "ana", "likewise");
  Position nowhere{1, {}}, at;
  nowhere.chain.bytes[0] = 7;
  plant("r", nowhere, lost, &at);  // bears number 2, as a row of the log does
  plant("r", at, other);           // bears number 3, as no row of the log does
  nowhere.chain.bytes[0] = 8;
  plant("r", {900, nowhere.chain}, lost);  // far ahead
  for (int fresh = 0; fresh < 2; ++fresh) {
    if (fresh == 1) link_ = open();
    Rows rows = read_all("r");
    ASSERT_NO_FATAL_FAILURE(testing_store::expect_whole_log("r", rows));
    EXPECT_EQ(rows.rows.size(), 2u);
    ASSERT_TRUE(done(link_->find("r", "lost", rows)));
    EXPECT_TRUE(rows.rows.empty());
    ASSERT_TRUE(done(link_->read("r", at, 10, 1 << 20, rows)));
    EXPECT_EQ(rows.status, Rows::Status::does_not_fit);
  }
  std::vector<cluster::Placed> placed;
  ASSERT_TRUE(done(append(*link_, "r", {lost, other}, placed)));
  EXPECT_TRUE(placed[0].added);
  EXPECT_EQ(placed[0].row.sequence, 3u);
  EXPECT_TRUE(placed[1].added);
  link_ = open();
  ASSERT_NO_FATAL_FAILURE(testing_store::expect_whole_log("r", read_all("r")));
  EXPECT_EQ(read_all("r").rows.size(), 4u);
}

TEST_F(Mongo, OfManyWhoWriteOneVersionOneHasWon) {
  constexpr int kWriters = 4, kRounds = 8;
  std::atomic<int> won = 0;
  std::vector<std::thread> threads;
  for (int writer = 0; writer < kWriters; ++writer) {
    auto link = std::shared_ptr<cluster::Link>(open());
    threads.emplace_back([&, link, writer] {
      for (int round = 0; round < kRounds; ++round) {
        std::vector<Put> puts(1);
        Record& record = puts[0].record;
        record.room = "room";
        record.name = "ana/" + std::to_string(round);
        record.version = 0;
        record.live = true;
        record.user = "user " + std::to_string(writer);
        record.nodes = {"node"};
        record.state = "{}";
        Failure failure = link->put(puts, "");
        ASSERT_TRUE(done(failure));
        won += puts[0].won;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(won, kRounds);
  uint64_t live = 0;
  ASSERT_TRUE(done(link_->count("room", live)));
  EXPECT_EQ(live, static_cast<uint64_t>(kRounds));
}

TEST_F(Mongo, ARecordIsFoundByItsNewestStateOnly) {
  std::vector<Put> puts(1);
  Record& record = puts[0].record;
  record = {"room", "ana", 0, true, "user", {"node 1", "node 2"}, "{\"a\":1}"};
  ASSERT_TRUE(done(link_->put(puts, "")));
  ASSERT_TRUE(puts[0].won);
  for (uint64_t version = 1; version < 6; ++version) {
    record.version = version;
    record.live = version != 5;
    record.nodes = {"node 2"};
    ASSERT_TRUE(done(link_->put(puts, "")));
    ASSERT_TRUE(puts[0].won) << version;
  }
  std::vector<Record> found;
  ASSERT_TRUE(done(link_->load({{"room", "nobody"}, {"room", "ana"}}, found)));
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].version, 0u);
  EXPECT_EQ(found[1].version, 6u);
  EXPECT_EQ(found[1].state, "{\"a\":1}");
  ASSERT_TRUE(done(link_->list("room", "", 10, found)));
  EXPECT_TRUE(found.empty());
  ASSERT_TRUE(done(link_->of_node("node 1", 10, found)));
  EXPECT_TRUE(found.empty());
  ASSERT_TRUE(done(link_->of_user("room", "user", found)));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_FALSE(found[0].live);
}

TEST_F(Mongo, ANodeWithoutALeaseIsFenced) {
  std::vector<cluster::Placed> placed;
  EXPECT_EQ(append(*link_, "r", {text_message("u1", "ana", "1")}, placed, "node").trouble, Trouble::fenced);
  std::vector<Put> lease(1);
  lease[0].record = {"", "node", 0, true, "", {}, "{}"};
  ASSERT_TRUE(done(link_->put(lease, "")));
  ASSERT_TRUE(lease[0].won);
  EXPECT_TRUE(done(append(*link_, "r", {text_message("u1", "ana", "1")}, placed, "node")));
  lease[0].record.version = 1;
  lease[0].record.live = false;
  ASSERT_TRUE(done(link_->put(lease, "")));
  EXPECT_EQ(append(*link_, "r", {text_message("u2", "ana", "2")}, placed, "node").trouble, Trouble::fenced);
  EXPECT_EQ(read_all("r").rows.size(), 1u);
}

TEST_F(Mongo, ReadMarkersMoveOnlyForwards) {
  ASSERT_TRUE(done(link_->write_markers({{{"r", "ana"}, 5}, {{"r", "bob"}, 1}})));
  ASSERT_TRUE(done(link_->write_markers({{{"r", "ana"}, 3}, {{"r", "bob"}, 2}})));
  std::vector<Sequence> markers;
  ASSERT_TRUE(done(link_->read_markers("r", {"bob", "nobody", "ana"}, markers)));
  EXPECT_EQ(markers, (std::vector<Sequence>{2, 0, 5}));
}

TEST_F(Mongo, PreparingTwiceChangesNothingAndTheAddressHidesThePassword) {
  EXPECT_EQ(prepare(*make_mongo(url_, StoreOptions())), "");
  auto secret = make_mongo("mongodb://user:s3cret@127.0.0.1:1/db?serverSelectionTimeoutMS=100", StoreOptions());
  EXPECT_EQ(secret->address(), "mongodb://127.0.0.1:1/db");
  const std::string sentence = secret->prepare();
  EXPECT_NE(sentence.find("127.0.0.1:1"), std::string::npos) << sentence;
  EXPECT_EQ(sentence.find("s3cret"), std::string::npos) << sentence;
  auto broken = make_mongo("mongodb://user:s3c/ret@host/db", StoreOptions());
  EXPECT_NE(broken->prepare(), "");
  EXPECT_EQ(broken->prepare().find("s3c"), std::string::npos);
  EXPECT_EQ(database_->warning().empty(), !server_->is_ferretdb());
}

TEST_F(Mongo, AServerThatIsAwayIsNotNowAndComesBack) {
  expect_appended(*link_, "r", {text_message("u1", "ana", "1")});
  const uint64_t before = link_->connects();
  EXPECT_EQ(before, 1u);
  if (!server_->kill()) GTEST_SKIP() << "the server at MONGODB_URL is not ours to kill";
  std::vector<cluster::Placed> placed;
  Rows rows;
  EXPECT_EQ(link_->read("r", {0, chain_start("r")}, 10, 1 << 20, rows).trouble, Trouble::not_now);
  EXPECT_EQ(append(*link_, "r", {text_message("u2", "ana", "2")}, placed).trouble, Trouble::not_now);
  EXPECT_EQ(link_->mark().trouble, Trouble::unknown);
  ASSERT_TRUE(server_->restart());
  ASSERT_TRUE(eventually([&] { return !append(*link_, "r", {text_message("u2", "ana", "2")}, placed); }));
  EXPECT_GT(link_->connects(), before);
  EXPECT_TRUE(done(link_->mark()));
  ASSERT_NO_FATAL_FAILURE(testing_store::expect_whole_log("r", read_all("r")));
  EXPECT_EQ(read_all("r").rows.size(), 2u);
}

}  // namespace
}  // namespace tertulia
