#include "room/room_log.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "protocol/frames.h"

namespace tertulia {
namespace {

// A store that decides order, and nothing else.
struct ModelStore {
  std::vector<Row> rows;
  std::map<std::string, std::pair<Position, BodyDigest>> known;
  Position head{0, chain_start("plaza")};

  AppendResult append(const std::vector<Message>& messages) {
    AppendResult result{AppendResult::Status::done, {}, {}};
    for (const Message& message : messages) {
      Appended each;
      if (const auto found = known.find(message.uuid); found != known.end()) {
        each.kind = found->second.second == body_digest(message) ? Appended::Kind::repeated : Appended::Kind::conflict;
        each.position = found->second.first;
      } else if (message.text == "poison") {
        each.kind = Appended::Kind::refused;
      } else {
        each.kind = Appended::Kind::added;
        each.previous = head.chain;
        head = {head.sequence + 1, chain_next(head.chain, head.sequence + 1, message)};
        each.position = head;
        rows.push_back({head.sequence, each.previous, head.chain, message});
        known[message.uuid] = {head, body_digest(message)};
      }
      result.each.push_back(each);
    }
    return result;
  }
  Rows read(const Position& after, size_t limit) const {
    const Chain chain = after.sequence == 0 ? chain_start("plaza") : chain_at(after.sequence);
    if (after.sequence > head.sequence || chain != after.chain) return {Rows::Status::does_not_fit, {}, {}};
    Rows found{Rows::Status::ok, {}, head};
    for (Sequence s = after.sequence; s < head.sequence && found.rows.size() < limit; ++s)
      found.rows.push_back(rows[s]);
    return found;
  }
  Rows newest(size_t limit) const {
    const Sequence from = head.sequence - std::min<Sequence>(limit, head.sequence);
    return {Rows::Status::ok, {rows.begin() + static_cast<ptrdiff_t>(from), rows.end()}, head};
  }
  Chain chain_at(Sequence sequence) const { return sequence > rows.size() ? Chain{} : rows[sequence - 1].chain; }
};

// One shard's view of the room, with its doors left open: what it asks for waits until the test answers.
struct ShardModel : RoomLog::Host {
  explicit ShardModel(RoomLog::Limits limits = {}) : log("plaza", committed_uuids, *this, limits) {}

  void append(std::vector<Message> messages) override { appending = std::move(messages); }
  void read_gap(const Position& after) override { gap = after; }
  void publish(std::shared_ptr<const LogPiece> piece) override { published.push_back(std::move(piece)); }
  void decided(const Pending& pending, const Appended& outcome, std::string_view) override {
    decisions.emplace_back(pending.message.uuid, outcome.kind);
  }
  void taken_back(const Pending& pending) override { taken.push_back(pending.message.uuid); }
  void grew() override { ++grown; }
  void wake_at(int64_t us) override { wake_us = wake_us == 0 ? us : std::min(wake_us, us); }
  void confirm(const Position& held, Sequence) override {
    ++contradictions;
    confirming = held;
  }
  void read_again(const Position& held) override { reading_again = held; }

  void says(const std::string& uuid, const std::string& text, uint64_t session = 1) {
    Pending pending;
    pending.message.uuid = uuid;
    pending.message.user_id = "ana";
    pending.message.user_name = "Ana";
    pending.message.text = text;
    pending.message.id_json = "1";
    pending.body = body_digest(pending.message);
    pending.session = session;
    log.submit(std::move(pending));
  }
  void store_answers(ModelStore& store) {
    const std::vector<Message> messages = *std::exchange(appending, std::nullopt);
    log.append_done(store.append(messages), now_us);
  }

  CommittedUuids committed_uuids{1000};
  int64_t now_us = 1;
  std::optional<std::vector<Message>> appending;
  std::optional<Position> gap, confirming, reading_again;
  std::vector<std::shared_ptr<const LogPiece>> published;
  std::vector<std::pair<std::string, Appended::Kind>> decisions;
  std::vector<std::string> taken;
  int grown = 0, contradictions = 0;
  int64_t wake_us = 0;
  RoomLog log;
};

struct RoomLogTest : testing::Test {
  ModelStore store;
  ShardModel shard;
  RoomLogTest() { shard.log.open(store.newest(100), 1); }
};

TEST_F(RoomLogTest, NothingIsInTheTailBeforeTheStoreHasAnswered) {
  shard.says("a", "one");
  EXPECT_EQ(shard.log.head().sequence, 0u);
  EXPECT_TRUE(shard.decisions.empty());
  shard.store_answers(store);
  EXPECT_EQ(shard.log.head(), store.head);
  ASSERT_EQ(shard.published.size(), 1u);
  EXPECT_EQ(shard.published[0]->entries[0].frame, shard.log.tail().frame(1));
}

TEST_F(RoomLogTest, OneBatchIsInTheStoreAtATimeAndTheNextFillsMeanwhile) {
  shard.says("a", "one");
  shard.says("b", "two");
  shard.says("c", "three");
  ASSERT_EQ(shard.appending->size(), 1u);
  shard.store_answers(store);
  ASSERT_TRUE(shard.appending);
  EXPECT_EQ(shard.appending->size(), 2u);
  EXPECT_EQ(shard.log.waiting_count(), 2u);
  shard.store_answers(store);
  EXPECT_EQ(shard.log.waiting_count(), 0u);
  EXPECT_EQ(shard.log.waiting_bytes(), 0u);
}

TEST_F(RoomLogTest, WhatTheStoreCannotTakeNowGoesAgainInTheSameOrder) {
  shard.says("a", "one");
  shard.says("b", "two");
  shard.appending.reset();
  shard.log.append_done({AppendResult::Status::not_now, {}, "full"}, 1);
  EXPECT_TRUE(shard.log.held_up());
  shard.says("c", "three");
  EXPECT_FALSE(shard.appending);
  shard.log.tick(shard.wake_us);
  ASSERT_TRUE(shard.appending);
  EXPECT_EQ(shard.appending->size(), 1u);
  shard.store_answers(store);
  shard.store_answers(store);
  std::string said;
  for (const Row& row : store.rows) said += row.message.uuid;
  EXPECT_EQ(said, "abc");
}

TEST_F(RoomLogTest, WhatDoesNotFitTheStoresLogStaysQueuedIsSuspectedAndGoesAgainInTheSameOrder) {
  shard.says("a", "one");
  shard.store_answers(store);
  shard.says("b", "two");
  shard.says("c", "three");
  shard.appending.reset();
  shard.log.append_done({AppendResult::Status::does_not_fit, {}, "another past"}, 1);
  EXPECT_EQ(shard.contradictions, 1);
  EXPECT_EQ(shard.confirming, store.head) << "what is suspected is the position that was held";
  EXPECT_TRUE(shard.log.held_up());
  EXPECT_EQ(shard.log.waiting_count(), 2u);
  EXPECT_EQ(shard.decisions.size(), 1u) << "nobody is told anything";
  shard.says("d", "four");
  EXPECT_FALSE(shard.appending) << "nothing overtakes what waits";
  shard.log.confirmed(Rows::Status::ok, 1);
  shard.log.tick(1'000'000);
  ASSERT_TRUE(shard.appending);
  EXPECT_EQ(shard.appending->size(), 1u) << "the batch that was with the store goes again, unchanged";
  while (shard.appending) shard.store_answers(store);
  std::string said;
  for (const Row& row : store.rows) said += row.message.uuid;
  EXPECT_EQ(said, "abcd");
  EXPECT_EQ(shard.log.waiting_bytes(), 0u);
}

TEST_F(RoomLogTest, WhatIsWithdrawnGoesUnlessTheStoreHasTakenIt) {
  shard.says("a", "one", 1);
  shard.says("b", "two", 2);
  shard.says("c", "three", 1);
  shard.log.withdraw(1);
  EXPECT_EQ(shard.taken, std::vector<std::string>{"c"}) << "the other one is with the store";
  shard.store_answers(store);
  while (shard.appending) shard.store_answers(store);
  EXPECT_EQ(store.head.sequence, 2u);
  EXPECT_EQ(shard.decisions.size(), 2u);

  shard.says("d", "four", 1);
  shard.says("e", "five", 2);
  shard.log.withdraw(1);
  shard.appending.reset();
  shard.log.append_done({AppendResult::Status::fenced, {}, "no lease"}, 1);
  EXPECT_EQ(shard.taken, (std::vector<std::string>{"c", "d"}));
  shard.says("f", "six", 1);
  shard.log.withdraw(1);
  shard.log.tick(10'000'000);
  while (shard.appending) shard.store_answers(store);
  EXPECT_EQ(store.rows.back().message.uuid, "e");
  EXPECT_EQ(shard.log.waiting_count(), 0u);
  EXPECT_EQ(shard.log.waiting_bytes(), 0u);
}

TEST_F(RoomLogTest, ARefusedMessageHoldsUpNobody) {
  shard.says("a", "one");
  shard.says("b", "poison");
  shard.says("c", "three");
  while (shard.appending) shard.store_answers(store);
  ASSERT_EQ(shard.decisions.size(), 3u);
  EXPECT_EQ(shard.decisions[1].second, Appended::Kind::refused);
  EXPECT_EQ(shard.log.head().sequence, 2u);
}

TEST_F(RoomLogTest, ARepeatIsRememberedAndAWaitingOneIsFound) {
  shard.says("a", "one", 7);
  ASSERT_NE(shard.log.find_waiting("a", 7), nullptr);
  EXPECT_EQ(shard.log.find_waiting("a", 8)->session, 7u);
  EXPECT_EQ(shard.log.find_waiting("b", 7), nullptr);
  shard.says("a", "one", 8);
  EXPECT_EQ(shard.log.find_waiting("a", 8)->session, 8u);
  while (shard.appending) shard.store_answers(store);
  EXPECT_EQ(shard.log.find_waiting("a", 7), nullptr);
  EXPECT_EQ(store.rows.size(), 1u);
  EXPECT_NE(shard.committed_uuids.find(shard.log.start_chain(), "a"), nullptr);
}

// Its first sender's node may have died between the commit and the bus.
TEST_F(RoomLogTest, ARepeatOfWhatNobodyToldOfMakesItKnownThatThereIsMore) {
  Message message{.uuid = "a", .user_id = "ana", .user_name = "Ana", .text = "one", .id_json = "1"};
  store.append({message});
  shard.says("a", "one");
  shard.store_answers(store);
  ASSERT_EQ(shard.decisions.back().second, Appended::Kind::repeated);
  EXPECT_EQ(shard.log.head().sequence, 0u);
  shard.now_us += 1'000'000;
  shard.log.tick(shard.now_us);
  ASSERT_TRUE(shard.gap) << "what is behind our head is read";
  shard.log.gap_read(store.read(*shard.gap, 100), shard.now_us);
  EXPECT_EQ(shard.log.head(), store.head);
}

TEST_F(RoomLogTest, AGapIsLeftToTheBusForAWhileAndThenReadFromTheStore) {
  ShardModel other;
  other.log.open(store.newest(100), 1);
  other.says("x", "from elsewhere");
  other.store_answers(store);
  shard.says("a", "mine");
  shard.store_answers(store);  // number 2, before the bus brought number 1
  EXPECT_EQ(shard.log.head().sequence, 0u);
  EXPECT_FALSE(shard.gap);
  shard.log.take(*other.published[0], 1);
  EXPECT_EQ(shard.log.head(), store.head);

  other.log.take(*shard.published[0], 1);
  other.says("y", "lost on the bus");
  other.store_answers(store);
  shard.says("b", "mine too");
  shard.store_answers(store);
  ASSERT_GT(shard.wake_us, 0);
  shard.log.tick(shard.wake_us);
  ASSERT_TRUE(shard.gap);
  shard.log.gap_read(store.read(*shard.gap, 100), shard.wake_us);
  EXPECT_EQ(shard.log.head(), store.head);
  EXPECT_EQ(shard.contradictions, 0);
}

TEST_F(RoomLogTest, TheLostLastMessageIsReadWhenItsHeadIsAnnounced) {
  store.append({Message{.uuid = "x", .user_id = "u", .text = "t", .id_json = "1"}});
  shard.log.know_head(store.head, 1);
  shard.log.tick(shard.wake_us);
  ASSERT_TRUE(shard.gap);
  shard.log.gap_read(store.read(*shard.gap, 100), 2);
  EXPECT_EQ(shard.log.head(), store.head);
}

TEST_F(RoomLogTest, WhatDoesNotContinueOurChainIsNotTaken) {
  LogPiece piece;
  piece.entries.push_back({1, Chain{{1}}, Chain{{2}}, "x", "u", {}, "frame"});
  shard.log.take(piece, 1);
  EXPECT_EQ(shard.log.head().sequence, 0u);
  EXPECT_EQ(shard.contradictions, 1);
}

// Several shards over one store and a bus that loses, repeats and reorders: whatever happens, every tail is the log,
// and in the end everybody is at the head with everything decided once.
TEST(RoomLogWorld, EveryTailIsTheStoresLogWhateverTheBusDoes) {
  const char* given = std::getenv("TERTULIA_SEED");
  const uint64_t first = given ? std::strtoull(given, nullptr, 10) : 1;
  for (uint64_t seed = first; seed < first + (given ? 1 : 400); ++seed) {
    SCOPED_TRACE("TERTULIA_SEED=" + std::to_string(seed));
    std::mt19937_64 random(seed);
    ModelStore store;
    RoomLog::Limits limits;
    limits.batch_messages_max = 1 + random() % 8;
    limits.ahead_entries_max = random() % 6;
    limits.tail_bytes_max = 4 << 10;
    std::vector<std::unique_ptr<ShardModel>> shards;
    std::vector<std::deque<std::shared_ptr<const LogPiece>>> bus(3);
    std::vector<std::vector<std::string>> frames(3);  // what each tail has shown, in order
    for (int i = 0; i < 3; ++i) shards.push_back(std::make_unique<ShardModel>(limits));
    int64_t now = 1;
    size_t said = 0, repeated = 0;
    const auto look = [&](size_t i) {
      const Tail& tail = shards[i]->log.tail();
      for (Sequence s = std::max<Sequence>(frames[i].size(), tail.base().sequence) + 1; s <= tail.head().sequence;
           ++s) {
        frames[i].resize(s - 1);
        frames[i].push_back(std::string(tail.frame(s)));
      }
    };
    const auto step = [&](bool healing) {
      now += 1 + static_cast<int64_t>(random() % 5000);
      const size_t i = random() % 3;
      ShardModel& shard = *shards[i];
      shard.now_us = now;
      const uint64_t dice = random() % 100;
      if (dice < 25 && !healing) {
        const std::string uuid = random() % 5 == 0 && said > 0 ? ++repeated,
                          std::to_string(random() % said)      : std::to_string(said++);
        shard.says(uuid, "text of " + uuid, i);
      } else if (dice < 50) {
        if (!shard.log.is_open()) {
          shard.log.open(store.newest(random() % 20), now);
        } else if (shard.appending) {
          if (!healing && random() % 8 == 0) {
            shard.appending.reset();
            shard.log.append_done({AppendResult::Status::not_now, {}, ""}, now);
          } else {
            shard.store_answers(store);
          }
        }
      } else if (dice < 60 && shard.gap) {
        const Position after = *std::exchange(shard.gap, std::nullopt);
        shard.log.gap_read(!healing && random() % 4 == 0 ? Rows{} : store.read(after, 1 + random() % 10), now);
      } else if (dice < 85 && !bus[i].empty()) {
        const size_t at = !healing && random() % 4 == 0 ? random() % bus[i].size() : 0;
        const auto piece = bus[i][at];
        if (healing || random() % 6 != 0)
          bus[i].erase(bus[i].begin() + static_cast<ptrdiff_t>(at));    // else again later
        if (healing || random() % 5 != 0) shard.log.take(*piece, now);  // else lost
      } else if (dice < 90 && healing) {
        shard.log.know_head(store.head, now);
      } else if (shard.wake_us != 0 && now >= shard.wake_us) {
        shard.wake_us = 0;
        shard.log.tick(now);
      }
      for (const auto& piece : std::exchange(shard.published, {}))
        for (size_t other = 0; other < 3; ++other)
          if (other != i) bus[other].push_back(piece);
      look(i);
    };
    for (int i = 0; i < 600; ++i) step(false);
    const auto quiet = [&] {
      for (const auto& shard : shards)
        if (!shard->log.is_open() || shard->log.head() != store.head || shard->log.waiting_count() > 0) return false;
      return true;
    };
    int turns = 0;
    while (!quiet()) {
      step(true);
      ASSERT_LT(++turns, 20'000) << "they do not arrive at the head";
    }
    size_t decided = 0;
    for (size_t i = 0; i < 3; ++i) {
      ShardModel& shard = *shards[i];
      ASSERT_EQ(shard.contradictions, 0);
      decided += shard.decisions.size();
      for (size_t s = 0; s < frames[i].size(); ++s) {
        if (frames[i][s].empty()) continue;  // before it opened, or gone from the tail between two looks
        std::string frame;
        append_message(frame, "plaza", store.rows[s]);
        ASSERT_EQ(frames[i][s], frame);
      }
    }
    EXPECT_EQ(decided, said + repeated);
    EXPECT_EQ(store.rows.size(), said);
  }
}

}  // namespace
}  // namespace tertulia
