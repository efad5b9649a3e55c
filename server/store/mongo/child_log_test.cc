#include "store/mongo/child_log.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <iostream>
#include <memory>
#include <set>

#include "store/mongo/model_collection.h"

namespace tertulia::mongo {
namespace {

using cluster::Placed;
using cluster::RoomBatch;
using State = ModelDocuments::State;

// Time passes as it is told, and nothing runs by itself.
class QuietWorker final : public Worker {
 public:
  void post(Function<void()>) override {}
  void post_after(int64_t, Function<void()>) override {}
  bool pause_us(int64_t) override {
    if (pause) pause();
    return true;
  }
  bool stopping() const override { return false; }
  void stop() override {}
  std::function<void()> pause;
};

Message message(const std::string& uuid, const std::string& text = "x", int64_t sent_at = 1) {
  Message m;
  m.uuid = uuid;
  m.user_id = "ana";
  m.text = text;
  m.sent_at_ms = sent_at;
  return m;
}

struct Writer {
  Writer(ModelDocuments& documents, Random& random, const ChildLog::Limits& limits = {})
      : collection(documents, random), log(collection, worker, limits) {}
  // Failure, or every message has its place.
  Failure says(const std::string& room, const std::vector<Message>& messages, const Position& known) {
    batch = RoomBatch();
    batch.room = room;
    batch.known = known;
    for (const Message& each : messages) batch.messages.push_back(&each);
    return log.append({&batch});
  }
  Failure says(const std::string& room, const std::vector<Message>& messages) {
    return says(room, messages, {0, chain_start(room)});
  }
  Rows all(const std::string& room) {
    Rows rows;
    EXPECT_FALSE(log.read(room, {0, chain_start(room)}, 10'000, 1 << 30, rows));
    return rows;
  }
  QuietWorker worker;
  ModelCollection collection;
  ChildLog log;
  RoomBatch batch;
};

class ChildLogs : public testing::Test {
 protected:
  std::vector<Row> log(const std::string& room = "r") const { return ModelDocuments::log(documents_.majority(), room); }
  // A row that nothing leads to.
  Position plant(const Position& before, const Message& m, const std::string& room = "r") {
    Row row{before.sequence + 1, before.chain, chain_next(before.chain, before.sequence + 1, m), m};
    EXPECT_TRUE(
        documents_.write([=](State& state) { return state.rows.emplace(std::pair(room, row.previous), row).second; }));
    documents_.commit_all();
    return row.position();
  }
  static Chain some_chain(uint8_t n) {
    Chain chain;
    chain.bytes[0] = n;
    return chain;
  }
  void fill(Writer& writer, int count, const std::string& room = "r") {
    for (int i = 1; i <= count; ++i) ASSERT_FALSE(writer.says(room, {message("u" + std::to_string(i))}));
  }

  SeededRandom random_{1};
  ModelDocuments documents_;
};

TEST_F(ChildLogs, ANormalAppendIsOneLookUpOneInsertAndOneRead) {
  Writer writer(documents_, random_);
  fill(writer, 1);
  writer.collection.calls = 0;
  ASSERT_FALSE(writer.says("r", {message("u2"), message("u3")}, log().back().position()));
  EXPECT_EQ(writer.collection.calls, 3u);
  EXPECT_EQ(log().size(), 3u);
}

TEST_F(ChildLogs, ARepeatIsAnsweredWithItsWholeRow) {
  Writer writer(documents_, random_), other(documents_, random_);
  fill(writer, 100);
  ASSERT_FALSE(other.says("r", {message("new"), message("u7", "another text"), message("u100")}));
  EXPECT_TRUE(other.batch.placed[0].added);
  EXPECT_EQ(other.batch.placed[0].row.sequence, 101u);
  EXPECT_FALSE(other.batch.placed[1].added);
  EXPECT_EQ(other.batch.placed[1].row.sequence, 7u);
  EXPECT_EQ(other.batch.placed[1].row.message.text, "x");
  EXPECT_EQ(other.batch.placed[2].row.sequence, 100u);
}

TEST_F(ChildLogs, WhoIsBeatenReadsOnAndComesNext) {
  Writer one(documents_, random_), two(documents_, random_);
  fill(one, 3);
  fill(two, 3);
  int steps = 0;
  one.collection.hook = [&] {
    if (++steps == 2) {  // between the look-up and the insert
      ASSERT_FALSE(two.says("r", {message("theirs"), message("same", "x", 2)}));
    }
  };
  ASSERT_FALSE(one.says("r", {message("mine"), message("same", "x", 1)}));
  EXPECT_EQ(one.batch.placed[0].row.sequence, 6u);
  EXPECT_FALSE(one.batch.placed[1].added);
  EXPECT_EQ(one.batch.placed[1].row.sequence, 5u);
  EXPECT_EQ(log().size(), 6u);
}

TEST_F(ChildLogs, WhatNobodyConfirmsIsUnknownAndNeverShown) {
  Writer writer(documents_, random_);
  fill(writer, 2);
  writer.collection.chances.unconfirmed = 100;
  EXPECT_EQ(writer.says("r", {message("u3")}).trouble, Trouble::unknown);
  EXPECT_EQ(writer.all("r").rows.size(), 2u);
  // Another one finds the place taken, and says no more than that.
  Writer other(documents_, random_);
  EXPECT_EQ(other.says("r", {message("u4")}).trouble, Trouble::not_now);
  documents_.commit_all();
  writer.collection.chances.unconfirmed = 0;
  ASSERT_FALSE(writer.says("r", {message("u3")}));
  EXPECT_EQ(writer.batch.placed[0].row.sequence, 3u);
  EXPECT_EQ(log().size(), 3u);
}

TEST_F(ChildLogs, WhatAFailoverDroppedGoesInAgainInItsPlace) {
  Writer writer(documents_, random_);
  fill(writer, 2);
  writer.collection.chances.unconfirmed = 100;
  int pauses = 0;
  writer.worker.pause = [&] {
    if (++pauses == 3) {
      documents_.failover();
      writer.collection.chances.unconfirmed = 0;
    }
  };
  ASSERT_FALSE(writer.says("r", {message("u3"), message("u4")}));
  EXPECT_EQ(writer.batch.placed[1].row.sequence, 4u);
  EXPECT_EQ(log().size(), 4u);
}

TEST_F(ChildLogs, AnInsertThatLandsLateIsOneOfTheTwoWhoWantedThatPlace) {
  Writer writer(documents_, random_), other(documents_, random_);
  fill(writer, 2);
  writer.collection.chances.comes_late = 100;
  EXPECT_EQ(writer.says("r", {message("late")}).trouble, Trouble::unknown);
  ASSERT_FALSE(other.says("r", {message("between")}));
  while (documents_.late() > 0) documents_.land(0);
  documents_.commit_all();
  writer.collection.chances.comes_late = 0;
  ASSERT_FALSE(writer.says("r", {message("late")}));
  EXPECT_EQ(writer.batch.placed[0].row.sequence, 4u);
  EXPECT_EQ(log().size(), 4u);
}

TEST_F(ChildLogs, RowsThatNothingLeadsToAreNotThere) {
  ChildLog::Limits limits;
  limits.places_at_once = 8;
  Writer writer(documents_, random_, limits);
  fill(writer, 60);
  plant({4, some_chain(1)}, message("lost"));
  const Position far = plant({70, some_chain(2)}, message("far"));
  plant(far, message("farther"));
  const Position next = plant({60, some_chain(3)}, message("next"));
  plant({56, some_chain(4)}, message("beside"));
  Writer fresh(documents_, random_, limits);
  for (Writer* each : {&writer, &fresh}) {
    Rows rows = each->all("r");
    EXPECT_EQ(rows.rows.size(), 60u);
    EXPECT_EQ(rows.head, log().back().position());
    ASSERT_FALSE(each->log.read_range("r", 58, true, 4, 1 << 20, rows));
    ASSERT_EQ(rows.rows.size(), 4u);
    EXPECT_EQ(rows.rows[3].message.uuid, "u57");
    ASSERT_FALSE(each->log.read_range("r", 4, false, 2, 1 << 20, rows));
    ASSERT_EQ(rows.rows.size(), 2u);
    EXPECT_EQ(rows.rows[0].message.uuid, "u5");
    for (const char* uuid : {"lost", "far", "farther", "next", "beside"}) {
      ASSERT_FALSE(each->log.find("r", uuid, rows));
      EXPECT_TRUE(rows.rows.empty()) << uuid;
    }
    ASSERT_FALSE(each->log.read("r", next, 10, 1 << 20, rows));
    EXPECT_EQ(rows.status, Rows::Status::does_not_fit);
    std::vector<Position> heads;
    ASSERT_FALSE(each->log.heads({"r", "nobody"}, heads));
    EXPECT_EQ(heads[0].sequence, 60u);
    EXPECT_EQ(heads[1], (Position{0, chain_start("nobody")}));
  }
  ASSERT_FALSE(fresh.says("r", {message("lost"), message("next"), message("u5")}));
  EXPECT_EQ(fresh.batch.placed[0].row.sequence, 61u);
  EXPECT_TRUE(fresh.batch.placed[1].added);
  EXPECT_EQ(fresh.batch.placed[2].row.sequence, 5u);
}

TEST_F(ChildLogs, AStoreThatWasPutBackTakesNothingFromWhoHoldsMore) {
  Writer writer(documents_, random_);
  fill(writer, 10);
  const Position held = log().back().position();
  documents_.go_back(4);
  ASSERT_FALSE(writer.says("r", {message("u11")}, held));
  EXPECT_FALSE(writer.batch.fits);
  ASSERT_FALSE(writer.says("r", {message("u11")}, log().back().position()));
  EXPECT_TRUE(writer.batch.fits);
  EXPECT_EQ(writer.batch.placed[0].row.sequence, 7u);
}

TEST_F(ChildLogs, PutBackBetweenLookUpAndInsertTheRowIsNotAcked) {
  Writer writer(documents_, random_);
  fill(writer, 10);
  int steps = 0;
  writer.collection.hook = [&] {
    if (++steps == 2) documents_.go_back(3);
  };
  ASSERT_FALSE(writer.says("r", {message("u11")}));
  EXPECT_EQ(writer.batch.placed[0].row.sequence, 8u);
  EXPECT_EQ(log().back().message.uuid, "u11");
  EXPECT_EQ(log().size(), 8u);
}

TEST_F(ChildLogs, PagesEndAtLimitAndBytes) {
  Writer writer(documents_, random_);
  fill(writer, 30);
  Rows rows;
  ASSERT_FALSE(writer.log.read("r", log()[4].position(), 7, 1 << 20, rows));
  ASSERT_EQ(rows.rows.size(), 7u);
  EXPECT_EQ(rows.rows.front().sequence, 6u);
  EXPECT_EQ(rows.head.sequence, 30u);
  ASSERT_FALSE(writer.log.read("r", log()[4].position(), 7, 1, rows));
  EXPECT_EQ(rows.rows.size(), 1u);
  ASSERT_FALSE(writer.log.read_range("r", sequence_max, true, 3, 1 << 20, rows));
  ASSERT_EQ(rows.rows.size(), 3u);
  EXPECT_EQ(rows.rows.back().sequence, 30u);
  ASSERT_FALSE(writer.log.read_range("r", 10, true, 5, 1, rows));
  ASSERT_EQ(rows.rows.size(), 1u);
  EXPECT_EQ(rows.rows[0].sequence, 9u);
  ASSERT_FALSE(writer.log.read_range("r", 30, false, 5, 1 << 20, rows));
  EXPECT_TRUE(rows.rows.empty());
}

TEST_F(ChildLogs, HeadsAreForgottenWhenThereAreTooMany) {
  ChildLog::Limits limits;
  limits.rooms_max = 3;
  Writer writer(documents_, random_, limits);
  for (int round = 0; round < 2; ++round) {
    for (int room = 0; room < 9; ++room) {
      ASSERT_FALSE(writer.says("r" + std::to_string(room), {message("u" + std::to_string(round))}));
      EXPECT_EQ(writer.batch.placed[0].row.sequence, static_cast<Sequence>(round) + 1);
    }
  }
}

// --- chance ---

// Several writers, one of whom may do a whole append between any two steps of another; a set of servers that commits
// late, fails over and is sometimes put back; rows that nothing leads to. What is answered is checked at once against
// what a majority has.
class World {
 public:
  explicit World(uint64_t seed) : random_(seed) {
    ChildLog::Limits limits;
    limits.places_at_once = 24 + random_.below(20);  // more than twice what can lie astray in a row
    limits.rooms_at_once = 1 + random_.below(3);
    limits.rooms_max = 1 + random_.below(4);
    limits.undecided_tries = 3;
    limits.beaten_tries = 5;
    limits_ = limits;
    for (int i = 0; i < 3; ++i) writers_.push_back(new_writer());
    faults(true);
  }
#ifdef TERTULIA_FAILPOINTS
  void break_by(const ChildLog::Unsafe& unsafe) {
    unsafe_ = unsafe;
    for (auto& writer : writers_) writer->log.unsafe = unsafe;
  }
#endif

  // What was found, or nothing.
  std::string run() {
    for (int i = 0; i < 30 && found_.empty(); ++i) act(0);
    if (!found_.empty()) return found_;
    faults(false);
    while (documents_.late() > 0) documents_.land(random_.below(documents_.late()));
    documents_.commit_all();
    for (const std::string& room : rooms_) {
      for (int i = 0; i < next_uuid_ && found_.empty(); ++i) says(*writers_[0], {room}, {i}, 0);
      if (found_.empty()) read(*writers_[1], room);
    }
    return found_;
  }

 private:
  std::unique_ptr<Writer> new_writer() {
    auto writer = std::make_unique<Writer>(documents_, random_, limits_);
    writer->collection.hook = [this] { meanwhile(); };
    writer->worker.pause = [this] { meanwhile(); };
#ifdef TERTULIA_FAILPOINTS
    writer->log.unsafe = unsafe_;
#endif
    return writer;
  }

  void faults(bool on) {
    healing_ = !on;
    for (auto& writer : writers_) {
      ModelCollection::Chances& chances = writer->collection.chances;
      chances = ModelCollection::Chances();
      if (!on) continue;
      chances.read_fails = 2;
      chances.not_now = 2;
      chances.never_comes = 4;
      chances.comes_late = 6;
      chances.reply_lost = 5;
      chances.unconfirmed = 15;
    }
  }

  void say(const std::string& what) {
    if (found_.empty()) found_ = what;
  }

  // Between two steps of somebody.
  void meanwhile() {
    if (healing_ || depth_ > 2 || !found_.empty()) return;
    switch (random_.below(16)) {
      case 0: documents_.commit_all(); break;
      case 1: documents_.failover(random_.below(documents_.uncommitted() + 1)); break;
      case 2:
        if (documents_.late() > 0) documents_.land(random_.below(documents_.late()));
        break;
      case 3:
        if (random_.below(12) == 0) go_back();
        break;
      case 4:
      case 5: act(depth_ + 1); break;
      default: break;
    }
  }

  void go_back() {
    documents_.go_back(1 + random_.below(6));
    documents_.forget_late();
    held_.clear();
    // Backups are restored with the nodes stopped; but one may linger until its call has come back.
    for (auto& writer : writers_) {
      if (!busy_.contains(writer.get())) restart(*writer);
    }
  }

  void restart(const Writer& old) {
    for (auto& writer : writers_) {
      if (writer.get() != &old) continue;
      writer = new_writer();
      break;
    }
    faults(!healing_);
  }

  void act(int depth) {
    // Whoever is in the middle of something is left alone.
    std::vector<Writer*> idle;
    for (auto& writer : writers_) {
      if (!busy_.contains(writer.get())) idle.push_back(writer.get());
    }
    if (idle.empty()) return;
    Writer& writer = *idle[random_.below(idle.size())];
    switch (random_.below(10)) {
      case 0: plant(); break;
      case 1:
        if (random_.below(20) == 0) go_back();
        break;
      case 2:
      case 3: read(writer, rooms_[random_.below(rooms_.size())]); break;
      default: {
        std::vector<std::string> rooms;
        for (const std::string& room : rooms_) {
          if (rooms.empty() || random_.below(3) == 0) rooms.push_back(room);
        }
        if (random_.below(2) == 0) std::swap(rooms.front(), rooms.back());
        std::vector<int> uuids;
        const int count = 1 + static_cast<int>(random_.below(4));
        for (int i = 0; i < count; ++i) {
          // Now and then an old one, or one that somebody else is just sending.
          const int uuid = random_.below(3) == 0 && next_uuid_ > 0
                               ? static_cast<int>(random_.below(static_cast<uint64_t>(next_uuid_)))
                               : next_uuid_++;
          if (std::find(uuids.begin(), uuids.end(), uuid) == uuids.end()) uuids.push_back(uuid);
        }
        says(writer, rooms, uuids, depth);
      }
    }
  }

  void plant() {
    const std::string& room = rooms_[random_.below(rooms_.size())];
    Message m = message("u" + std::to_string(random_.below(static_cast<uint64_t>(next_uuid_ + 3))), "x", 99);
    Chain chain;
    chain.bytes[0] = static_cast<uint8_t>(random_.below(200));
    chain.bytes[1] = 1;
    const Sequence sequence = random_.below(ModelDocuments::log(documents_.majority(), room).size() + 6) + 1;
    Row row{sequence, chain, chain_next(chain, sequence, m), m};
    (void)documents_.write([=](State& state) { return state.rows.emplace(std::pair(room, row.previous), row).second; });
    documents_.commit_all();
  }

  void says(Writer& writer, const std::vector<std::string>& rooms, const std::vector<int>& uuids, int depth) {
    const int before = std::exchange(depth_, depth);
    busy_.insert(&writer);
    const size_t back = documents_.times_gone_back();
    std::vector<Message> messages;
    // No two nodes make the same row of one message: their clocks differ.
    const auto made_at = static_cast<int64_t>(1'000 + random_.below(1'000'000));
    for (int uuid : uuids) messages.push_back(message("u" + std::to_string(uuid), "x", made_at));
    std::vector<RoomBatch> batches(rooms.size());
    std::vector<RoomBatch*> all;
    for (size_t i = 0; i < rooms.size(); ++i) {
      batches[i].room = rooms[i];
      batches[i].known = held_.contains(rooms[i]) ? held_[rooms[i]] : Position{0, chain_start(rooms[i])};
      for (const Message& each : messages) batches[i].messages.push_back(&each);
      all.push_back(&batches[i]);
    }
    const Failure failure = writer.log.append(all);
    busy_.erase(&writer);
    depth_ = before;
    const bool same_past = back == documents_.times_gone_back();
    if (failure && healing_) say("nothing is wrong any more, but: " + failure.reason);
    for (const std::string& room : rooms) check(room);
    if (!same_past) restart(writer);
    if (failure) return;
    for (const RoomBatch& batch : batches) {
      if (!batch.fits) {
        if (same_past) say("a position that was held does not fit");
        continue;
      }
      // What was found before it was put back was true then. One row alone is seen by the last step.
      if (!same_past && (rooms.size() > 1 || messages.size() > 1 || !batch.placed[0].added)) continue;
      const std::vector<Row> log = ModelDocuments::log(documents_.majority(), batch.room);
      for (size_t i = 0; i < messages.size(); ++i) {
        const Row& row = batch.placed[i].row;
        if (row.sequence == 0 || row.sequence > log.size() || log[row.sequence - 1].chain != row.chain ||
            log[row.sequence - 1].message.uuid != messages[i].uuid) {
          say("acked, and not in the log: " + messages[i].uuid + " at " + std::to_string(row.sequence));
        } else if (same_past && row.sequence > held_[batch.room].sequence) {
          held_[batch.room] = row.position();
        }
      }
    }
  }

  void check(const std::string& room) {
    std::set<std::string> uuids;
    for (const Row& row : ModelDocuments::log(documents_.majority(), room)) {
      if (!uuids.insert(row.message.uuid).second) say("twice in the log: " + row.message.uuid);
    }
  }

  void read(Writer& writer, const std::string& room) {
    auto hook = std::exchange(writer.collection.hook, nullptr);
    const std::vector<Row> log = ModelDocuments::log(documents_.majority(), room);
    const auto same = [&](const Rows& rows, size_t first, size_t count) {
      if (rows.rows.size() != count) return false;
      for (size_t i = 0; i < count; ++i) {
        if (rows.rows[i].chain != log[first + i].chain) return false;
      }
      return true;
    };
    Rows rows;
    const size_t from = random_.below(log.size() + 1), limit = 1 + random_.below(5);
    const Position after = from == 0 ? Position{0, chain_start(room)} : log[from - 1].position();
    if (!writer.log.read(room, after, limit, 1 << 20, rows)) {
      if (rows.status != Rows::Status::ok || !same(rows, from, std::min(limit, log.size() - from))) {
        say("read() behind " + std::to_string(from) + " of " + std::to_string(log.size()) + " is wrong: " +
            (rows.status == Rows::Status::ok ? std::to_string(rows.rows.size()) + " rows" : "does not fit") +
            ", head " + std::to_string(rows.head.sequence));
      }
    }
    if (!writer.log.read_range(room, from + 1, true, limit, 1 << 20, rows)) {
      if (!same(rows, from - std::min(limit, from), std::min(limit, from))) say("read_range() backwards is wrong");
    }
    if (!writer.log.read_range(room, from, false, limit, 1 << 20, rows)) {
      if (!same(rows, from, std::min(limit, log.size() - from))) say("read_range() is wrong");
    }
    const std::string uuid = "u" + std::to_string(random_.below(static_cast<uint64_t>(next_uuid_ + 1)));
    if (!writer.log.find(room, uuid, rows)) {
      auto there = std::find_if(log.begin(), log.end(), [&](const Row& row) { return row.message.uuid == uuid; });
      if (rows.rows.empty() != (there == log.end()) || (!rows.rows.empty() && rows.rows[0].chain != there->chain)) {
        say("find() is wrong");
      }
    }
    std::vector<Position> heads;
    if (!writer.log.heads({room, room}, heads)) {
      const Position head = log.empty() ? Position{0, chain_start(room)} : log.back().position();
      if (heads[0] != head || heads[1] != head) {
        say("heads() is wrong: " + std::to_string(heads[0].sequence) + " and " + std::to_string(heads[1].sequence) +
            " of " + std::to_string(log.size()));
      }
    }
    writer.collection.hook = std::move(hook);
  }

  SeededRandom random_;
  ModelDocuments documents_;
  ChildLog::Limits limits_;
#ifdef TERTULIA_FAILPOINTS
  ChildLog::Unsafe unsafe_;
#endif
  const std::vector<std::string> rooms_ = {"one", "two"};
  std::vector<std::unique_ptr<Writer>> writers_;
  std::set<Writer*> busy_;
  std::map<std::string, Position> held_;  // what somebody was told
  int next_uuid_ = 0;
  int depth_ = 0;
  bool healing_ = false;
  std::string found_;
};

uint64_t first_seed() {
  const char* given = ::getenv("TERTULIA_SEED");
  return given == nullptr ? 1 : ::strtoull(given, nullptr, 10);
}

TEST(ChildLogsByChance, EveryMessageStandsOnceAndWhereItWasAcked) {
  const char* many = ::getenv("TERTULIA_SEEDS");
  const uint64_t count = many == nullptr ? 60 : ::strtoull(many, nullptr, 10);
  std::cout << "seeds " << first_seed() << " to " << first_seed() + count - 1 << std::endl;
  for (uint64_t seed = first_seed(); seed < first_seed() + count; ++seed) {
    const std::string found = World(seed).run();
    ASSERT_EQ(found, "") << "TERTULIA_SEED=" << seed << " TERTULIA_SEEDS=1";
  }
}

#ifdef TERTULIA_FAILPOINTS

struct Broken {
  const char* name;
  bool ChildLog::Unsafe::*by;
};

class ChildLogMutation : public testing::TestWithParam<Broken> {};

TEST_P(ChildLogMutation, IsFound) {
  ChildLog::Unsafe unsafe;
  unsafe.*GetParam().by = true;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    World world(seed);
    world.break_by(unsafe);
    const std::string found = world.run();
    if (found.empty()) continue;
    std::cout << "seed " << seed << ": " << found << std::endl;
    return;
  }
  FAIL() << "not found within 300 seeds";
}

INSTANTIATE_TEST_SUITE_P(Broken, ChildLogMutation,
                         testing::Values(Broken{"AckOnDuplicate", &ChildLog::Unsafe::ack_on_duplicate},
                                         Broken{"RenumberUndecided", &ChildLog::Unsafe::renumber_undecided},
                                         Broken{"TrustAnyHit", &ChildLog::Unsafe::trust_any_hit},
                                         Broken{"NoReadAfterInsert", &ChildLog::Unsafe::no_read_after_insert}),
                         [](const auto& broken) { return broken.param.name; });

#endif

}  // namespace
}  // namespace tertulia::mongo
