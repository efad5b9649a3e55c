#include "store_suite.h"

#include <algorithm>
#include <map>
#include <set>
#include <thread>

#include "base/random.h"

namespace tertulia {
namespace {

using testing_store::Caller;
using testing_store::expect_whole_log;
using testing_store::one;
using testing_store::text_message;
using Kind = Appended::Kind;

constexpr auto kDone = AppendResult::Status::done;
constexpr auto kOk = Rows::Status::ok;

std::string texts(const Rows& rows) {
  std::string all;
  for (const Row& row : rows.rows) all += row.message.text.substr(0, row.message.text.find('.')) + " ";
  return all;
}

TEST_P(StoreSuite, NumbersAreDenseFromOneAndContinueTheChain) {
  AppendResult first = call().append("plaza", [] {
    std::vector<Message> two;
    two.push_back(text_message("a", "ana", "one"));
    two.push_back(text_message("b", "bea", "two"));
    return two;
  }());
  ASSERT_EQ(first.status, kDone);
  ASSERT_EQ(first.each.size(), 2u);
  EXPECT_EQ(first.each[0].kind, Kind::added);
  EXPECT_EQ(first.each[0].position.sequence, 1u);
  EXPECT_EQ(first.each[0].previous, chain_start("plaza"));
  EXPECT_EQ(first.each[0].position.chain, chain_next(chain_start("plaza"), 1, text_message("a", "ana", "one")));
  EXPECT_EQ(first.each[1].position.sequence, 2u);
  EXPECT_EQ(first.each[1].previous, first.each[0].position.chain);
  AppendResult next = call().says("plaza", "c", "three");
  EXPECT_EQ(next.each[0].position.sequence, 3u);
  EXPECT_EQ(next.each[0].previous, first.each[1].position.chain);
  expect_whole_log("plaza", call().read_all("plaza"));
}

TEST_P(StoreSuite, RoomsAreCountedEachOnItsOwn) {
  const int rooms = 100 / GetParam().shorter;
  for (int i = 0; i < 3 * rooms; ++i) {
    const std::string room = "room " + std::to_string(i % rooms);
    AppendResult result = call().says(room, "u" + std::to_string(i), "x");
    ASSERT_EQ(result.each.at(0).position.sequence, static_cast<Sequence>(i / rooms + 1));
  }
  for (int i = 0; i < rooms; ++i)
    expect_whole_log("room " + std::to_string(i), call().read_all("room " + std::to_string(i)));
}

TEST_P(StoreSuite, EveryFieldComesBackAsItWas) {
  Message text = text_message("t", "~user", "tab\t, \"quotes\", \\ and \xF0\x9F\x92\x83\n");
  text.id_json = "\"\\u00e4\"";
  text.date = "";
  text.sent_at_ms = 1'899'999'999'999;
  Message file = text_message("f", "ana", "");
  file.kind = MessageKind::file;
  file.file_name = "../../notes>.txt";
  file.content_type = "text/plain";
  file.size_bytes = 5'000'000'000;
  file.sha256_hex = std::string(64, 'a');
  Message image = file;
  image.kind = MessageKind::image;
  image.uuid = "i";
  image.file_name = "";
  std::vector<Message> said = {text, file, image};
  ASSERT_EQ(call().append("> * ../ \xC3\xA9", said).status, kDone);
  Rows rows = call().read_all("> * ../ \xC3\xA9");
  ASSERT_EQ(rows.rows.size(), 3u);
  for (size_t i = 0; i < said.size(); ++i) {
    const Message& a = said[i];
    const Message& b = rows.rows[i].message;
    EXPECT_EQ(a.kind, b.kind);
    EXPECT_EQ(a.uuid, b.uuid);
    EXPECT_EQ(a.user_id, b.user_id);
    EXPECT_EQ(a.user_name, b.user_name);
    EXPECT_EQ(a.date, b.date);
    EXPECT_EQ(a.sent_at_ms, b.sent_at_ms);
    EXPECT_EQ(a.text, b.text);
    EXPECT_EQ(a.id_json, b.id_json);
    EXPECT_EQ(a.file_name, b.file_name);
    EXPECT_EQ(a.content_type, b.content_type);
    EXPECT_EQ(a.size_bytes, b.size_bytes);
    EXPECT_EQ(a.sha256_hex, b.sha256_hex);
  }
  expect_whole_log("> * ../ \xC3\xA9", rows);
}

TEST_P(StoreSuite, ARepeatIsAnsweredWithTheFirstOnesPlaceWithinABatchAndLater) {
  std::vector<Message> batch;
  batch.push_back(text_message("a", "ana", "one"));
  batch.push_back(text_message("b", "ana", "two"));
  batch.push_back(text_message("a", "ana", "one"));
  batch.push_back(text_message("c", "ana", "three"));
  AppendResult result = call().append("plaza", std::move(batch));
  ASSERT_EQ(result.status, kDone);
  EXPECT_EQ(result.each[2].kind, Kind::repeated);
  EXPECT_EQ(result.each[2].position, result.each[0].position);
  EXPECT_EQ(result.each[3].position.sequence, 3u);
  // What is not the body may differ: the first one's is kept.
  Message again = text_message("a", "ana", "one");
  again.user_name = "another name";
  again.date = "another date";
  again.id_json = "77";
  AppendResult later = call().append("plaza", one(again));
  EXPECT_EQ(later.each[0].kind, Kind::repeated);
  EXPECT_EQ(later.each[0].position, result.each[0].position);
  EXPECT_EQ(call().read_all("plaza").rows[0].message.user_name, "ana's name");
}

TEST_P(StoreSuite, AUuidIsOneRoomsOwn) {
  EXPECT_EQ(call().says("plaza", "a", "one").each[0].kind, Kind::added);
  EXPECT_EQ(call().says("patio", "a", "something else").each[0].kind, Kind::added);
}

TEST_P(StoreSuite, AUuidWithAnotherBodyIsAConflictAndTakesNoNumber) {
  call().says("plaza", "a", "one");
  EXPECT_EQ(call().says("plaza", "a", "two").each[0].kind, Kind::conflict);
  EXPECT_EQ(call().says("plaza", "a", "one", "bea").each[0].kind, Kind::conflict);
  std::vector<Message> batch;
  batch.push_back(text_message("b", "ana", "two"));
  batch.push_back(text_message("b", "ana", "not two"));
  batch.push_back(text_message("c", "ana", "three"));
  AppendResult result = call().append("plaza", std::move(batch));
  EXPECT_EQ(result.each[1].kind, Kind::conflict);
  EXPECT_EQ(result.each[2].position.sequence, 3u);
  expect_whole_log("plaza", call().read_all("plaza"));
}

TEST_P(StoreSuite, AMessageThatTheStoreNeverTakesIsRefusedAloneAndTheOthersStandInOrder) {
  poison();
  std::vector<Message> batch;
  for (int i = 0; i < 20; ++i) {
    const std::string text = i % 7 == 3 ? kPoison : std::to_string(i);
    batch.push_back(text_message("u" + std::to_string(i), "ana", text));
  }
  AppendResult result = call().append("plaza", std::move(batch));
  ASSERT_EQ(result.status, kDone) << result.reason;
  Sequence expected = 0;
  for (int i = 0; i < 20; ++i) {
    const Appended& each = result.each[static_cast<size_t>(i)];
    if (i % 7 == 3) {
      EXPECT_EQ(each.kind, Kind::refused);
      EXPECT_FALSE(each.reason.empty());
    } else {
      EXPECT_EQ(each.kind, Kind::added);
      EXPECT_EQ(each.position.sequence, ++expected);
    }
  }
  EXPECT_EQ(texts(call().read_all("plaza")), "0 1 2 4 5 6 7 8 9 11 12 13 14 15 16 18 19 ");
  expect_whole_log("plaza", call().read_all("plaza"));
  AppendResult alone = call().says("new room", "p", kPoison);
  ASSERT_EQ(alone.status, kDone);
  EXPECT_EQ(alone.each[0].kind, Kind::refused);
  EXPECT_EQ(call().says("new room", "q", "fine").each[0].position.sequence, 1u);
}

TEST_P(StoreSuite, NothingIsAppendedToALogThatLacksWhatItsWriterHolds) {
  fill("plaza", 3);
  const Position head = call().last("plaza", 1).head;
  Position another = head;
  another.chain.bytes[0] ^= 1;
  for (const Position& wrong : {another, Position{4, head.chain}, Position{9, {}}}) {
    AppendResult result = call().append_behind("plaza", wrong, one(text_message("x", "ana", "x")));
    EXPECT_EQ(result.status, AppendResult::Status::does_not_fit);
  }
  EXPECT_EQ(call().last("plaza", 1).head, head);
  EXPECT_EQ(call().append_behind("plaza", head, one(text_message("y", "ana", "y"))).status, kDone);
  const Position older = call().range("plaza", 2, false, 1).rows.front().before();
  EXPECT_EQ(call().append_behind("plaza", older, one(text_message("z", "ana", "z"))).each.at(0).position.sequence, 5u);
}

TEST_P(StoreSuite, HeadsAreToldInTheOrderAsked) {
  fill("a", 2);
  fill("b", 3);
  const std::optional<std::vector<Position>> heads = call().heads({"b", "nobody's", "a"});
  ASSERT_TRUE(heads);
  ASSERT_EQ(heads->size(), 3u);
  EXPECT_EQ(heads->at(0), call().last("b", 1).head);
  EXPECT_EQ(heads->at(1), (Position{0, chain_start("nobody's")}));
  EXPECT_EQ(heads->at(2), call().last("a", 1).head);
}

TEST_P(StoreSuite, APositionIsConfirmedOrNot) {
  fill("plaza", 2);
  const Position head = call().last("plaza", 1).head;
  EXPECT_EQ(call().confirm("plaza", head).status, kOk);
  EXPECT_EQ(call().confirm("plaza", {0, chain_start("plaza")}).status, kOk);
  EXPECT_EQ(call().confirm("plaza", {3, head.chain}).status, Rows::Status::does_not_fit);
}

TEST_P(StoreSuite, AnEmptyBatchIsAnswered) {
  AppendResult result = call().append("plaza", {});
  EXPECT_EQ(result.status, kDone);
  EXPECT_TRUE(result.each.empty());
}

TEST_P(StoreSuite, AReadGoesOnBehindAPositionOfThisLogAndNoOther) {
  fill("plaza", 10);
  Rows all = call().read("plaza", {0, chain_start("plaza")});
  ASSERT_EQ(all.status, kOk);
  EXPECT_EQ(all.rows.size(), 10u);
  EXPECT_EQ(all.head, all.rows.back().position());
  Rows from = call().read("plaza", all.rows[3].position());
  ASSERT_EQ(from.status, kOk);
  EXPECT_EQ(texts(from), "5 6 7 8 9 10 ");
  Rows at_head = call().read("plaza", all.head);
  EXPECT_EQ(at_head.status, kOk);
  EXPECT_TRUE(at_head.rows.empty());
  EXPECT_EQ(at_head.head, all.head);

  EXPECT_EQ(call().read("plaza", {4, all.rows[4].chain}).status, Rows::Status::does_not_fit);
  EXPECT_EQ(call().read("plaza", {11, all.head.chain}).status, Rows::Status::does_not_fit);
  EXPECT_EQ(call().read("plaza", {sequence_max, all.head.chain}).status, Rows::Status::does_not_fit);
  EXPECT_EQ(call().read("plaza", {0, chain_start("patio")}).status, Rows::Status::does_not_fit);
}

TEST_P(StoreSuite, ARoomThatNobodyWroteToIsAnEmptyLog) {
  Rows rows = call().read("nowhere", {0, chain_start("nowhere")});
  EXPECT_EQ(rows.status, kOk);
  EXPECT_TRUE(rows.rows.empty());
  EXPECT_EQ(rows.head, (Position{0, chain_start("nowhere")}));
  EXPECT_EQ(call().read("nowhere", {1, chain_start("nowhere")}).status, Rows::Status::does_not_fit);
  EXPECT_EQ(call().read("nowhere", {0, chain_start("plaza")}).status, Rows::Status::does_not_fit);
  Rows last = call().last("nowhere", 10);
  EXPECT_EQ(last.status, kOk);
  EXPECT_EQ(last.head, (Position{0, chain_start("nowhere")}));
  EXPECT_TRUE(call().range("nowhere", 5, true, 10).rows.empty());
  EXPECT_TRUE(call().find("nowhere", "u").rows.empty());
}

TEST_P(StoreSuite, ReadsEndAtTheirLimitsWithAtLeastOneRow) {
  fill("plaza", 20, "u", "." + std::string(1'000, 'x'));
  const Position start{0, chain_start("plaza")};
  EXPECT_EQ(call().read("plaza", start, 7).rows.size(), 7u);
  Rows few = call().read("plaza", start, 100, 5'000);
  EXPECT_GE(few.rows.size(), 2u);
  EXPECT_LE(few.rows.size(), 5u);
  EXPECT_EQ(few.head.sequence, 20u) << "the head is the log's, wherever the page ends";
  EXPECT_EQ(call().read("plaza", start, 100, 1).rows.size(), 1u);
  EXPECT_EQ(call().read("plaza", start, 0).rows.size(), 0u);
  EXPECT_EQ(texts(call().last("plaza", 3)), "18 19 20 ");
  EXPECT_EQ(texts(call().last("plaza", 100, 1)), "20 ");
  EXPECT_EQ(call().last("plaza", 0).status, kOk);
  EXPECT_EQ(call().last("plaza", 0).head.sequence, 20u);
  EXPECT_EQ(call().last("plaza", 1'000'000).rows.size(), 20u);
}

TEST_P(StoreSuite, ARangeKeepsTheRowsNearestToItsNumber) {
  fill("plaza", 20, "u", "." + std::string(1'000, 'x'));
  EXPECT_EQ(texts(call().range("plaza", 10, true, 3)), "7 8 9 ");
  EXPECT_EQ(texts(call().range("plaza", 10, false, 3)), "11 12 13 ");
  EXPECT_EQ(texts(call().range("plaza", 10, true, 100, 1)), "9 ");
  EXPECT_EQ(texts(call().range("plaza", 10, false, 100, 1)), "11 ");
  EXPECT_EQ(texts(call().range("plaza", 0, false, 2)), "1 2 ");
  EXPECT_EQ(texts(call().range("plaza", 0, true, 2)), "");
  EXPECT_EQ(texts(call().range("plaza", 1, true, 2)), "");
  EXPECT_EQ(texts(call().range("plaza", 21, true, 2)), "19 20 ");
  EXPECT_EQ(texts(call().range("plaza", sequence_max, true, 2)), "19 20 ");
  EXPECT_EQ(texts(call().range("plaza", 20, false, 2)), "");
  EXPECT_EQ(texts(call().range("plaza", sequence_max, false, 2)), "");
  EXPECT_EQ(call().range("plaza", 10, true, 3).head.sequence, 20u);
}

TEST_P(StoreSuite, AMessageIsFoundByItsUuidInItsRoomOnly) {
  fill("plaza", 10);
  Rows found = call().find("plaza", "u4");
  ASSERT_EQ(found.rows.size(), 1u);
  EXPECT_EQ(found.rows[0].sequence, 4u);
  EXPECT_EQ(found.rows[0].chain, call().read_all("plaza").rows[3].chain);
  EXPECT_EQ(found.head.sequence, 10u);
  EXPECT_TRUE(call().find("plaza", "u44").rows.empty());
  EXPECT_TRUE(call().find("patio", "u4").rows.empty());
}

TEST_P(StoreSuite, EverythingIsThereAfterARestartAndRepeatsAreKnown) {
  fill("plaza", 30);
  Rows before = call().read_all("plaza");
  if (!restart()) GTEST_SKIP() << "this store forgets";
  Rows after = call().read_all("plaza");
  ASSERT_EQ(after.rows.size(), 30u);
  EXPECT_EQ(after.head, before.head);
  expect_whole_log("plaza", after);
  AppendResult again = call().says("plaza", "u7", "7");
  EXPECT_EQ(again.each[0].kind, Kind::repeated);
  EXPECT_EQ(again.each[0].position, before.rows[6].position());
  EXPECT_EQ(call().says("plaza", "u7", "8").each[0].kind, Kind::conflict);
  EXPECT_EQ(call().says("plaza", "u31", "31").each[0].position.sequence, 31u);
}

TEST_P(StoreSuite, AReadMarkerMovesOnlyForwards) {
  fill("plaza", 10);
  EXPECT_EQ(call().marker("plaza", "ana"), 0u);
  store().mark_read("plaza", "ana", 5);
  EXPECT_EQ(call().marker("plaza", "ana"), 5u);
  store().mark_read("plaza", "ana", 3);
  EXPECT_EQ(call().marker("plaza", "ana"), 5u);
  store().mark_read("plaza", "bea", 2);
  under_test_->clock.advance_ms(5'000);
  call().says("plaza", "next", "takes the markers with it");
  EXPECT_EQ(call().marker("plaza", "ana"), 5u);
  EXPECT_EQ(call().marker("plaza", "bea"), 2u);
  EXPECT_EQ(call().marker("patio", "ana"), 0u);
  if (!restart()) return;
  EXPECT_EQ(call().marker("plaza", "ana"), 5u);
  store().mark_read("plaza", "ana", 4);
  EXPECT_EQ(call().marker("plaza", "ana"), 5u);
}

TEST_P(StoreSuite, MembersAreListedWithTheirReadMarkers) {
  fill("plaza", 10);
  call().claim("plaza", "bea", "b");
  call().claim("plaza", "ana", "a");
  call().claim("plaza", "cid", "c");
  store().mark_read("plaza", "ana", 9);
  MemberList page = call().members("plaza", "", 2);
  ASSERT_TRUE(page.ok);
  ASSERT_EQ(page.members.size(), 2u);
  EXPECT_EQ(page.members[0].user_id, "ana");
  EXPECT_EQ(page.members[0].read, 9u);
  EXPECT_EQ(page.members[1].user_id, "bea");
  EXPECT_EQ(page.members[1].read, 0u);
  EXPECT_EQ(page.total, 3u);
  MemberList rest = call().members("plaza", page.next, 2);
  ASSERT_EQ(rest.members.size(), 1u);
  EXPECT_EQ(rest.members[0].user_name, "c");
  EXPECT_EQ(rest.next, "");
}

TEST_P(StoreSuite, ANameIsOneUsersUntilItsGraceHasPassed) {
  EXPECT_TRUE(call().claim("plaza", "ana", "a").first);
  EXPECT_EQ(call().claim("plaza", "eve", "a").status, ClaimResult::Status::taken);
  ReleaseResult gone = call().release("plaza", "ana", false);
  EXPECT_TRUE(gone.last);
  EXPECT_FALSE(gone.left);
  ClaimResult early = call().claim("plaza", "eve", "a");
  EXPECT_EQ(early.status, ClaimResult::Status::waiting);
  EXPECT_GT(early.retry_after_ms, 0);
  under_test_->clock.advance_ms(10'000);
  EXPECT_TRUE(call().expire("plaza", "ana").left);
  EXPECT_FALSE(call().expire("plaza", "ana").left);
  EXPECT_EQ(call().claim("plaza", "eve", "a").status, ClaimResult::Status::granted);
  EXPECT_EQ(call().member_name("plaza", "ana"), "a");
  under_test_->clock.advance_ms(60'000);
  EXPECT_EQ(call().member_name("plaza", "ana"), std::nullopt);
}

TEST_P(StoreSuite, AfterABadEndNamesWaitForThoseWhoReturn) {
  call().claim("plaza", "ana", "a");
  if (!restart(false)) GTEST_SKIP() << "this store forgets";
  EXPECT_EQ(call().claim("plaza", "eve", "a").status, ClaimResult::Status::waiting);
  EXPECT_EQ(call().claim("plaza", "ana", "a", true).status, ClaimResult::Status::granted);
  under_test_->clock.advance_ms(10'000);
  EXPECT_EQ(call().claim("plaza", "eve", "e").status, ClaimResult::Status::granted);
}

// Many threads write to many rooms and resend what they wrote; readers look on. Nothing is lost, repeated or reordered,
// and whatever waits together shares commits.
TEST_P(StoreSuite, ManyThreadsAndRoomsAtOnceKeepEveryLogWhole) {
  constexpr int kWriters = 6, kRooms = 5;
  const int each_says = 60 / GetParam().shorter;
  std::atomic<bool> writing = true;
  std::vector<std::thread> threads;
  std::vector<std::map<std::string, Position>> acked(kWriters);
  for (int w = 0; w < kWriters; ++w) {
    threads.emplace_back([&, w] {
      Caller caller(store());
      for (int i = 0; i < each_says; ++i) {
        const std::string room = "room" + std::to_string((w + i) % kRooms);
        // Every third message is one that another writer sends too: whoever is first adds it.
        const std::string uuid =
            i % 3 == 0 ? "shared-" + room + "-" + std::to_string(i) : std::to_string(w) + "-" + std::to_string(i);
        std::vector<Message> batch = one(text_message(uuid, i % 3 == 0 ? "all" : "user" + std::to_string(w), "x"));
        batch.push_back(batch[0]);
        AppendResult result = caller.append(room, std::move(batch));
        ASSERT_EQ(result.status, kDone);
        ASSERT_NE(result.each[0].kind, Kind::conflict);
        ASSERT_EQ(result.each[1].kind, Kind::repeated);
        ASSERT_EQ(result.each[0].position, result.each[1].position);
        acked[static_cast<size_t>(w)][room + "/" + uuid] = result.each[0].position;
      }
    });
  }
  std::thread reader([&] {
    Caller caller(store());
    std::map<std::string, Position> seen;
    for (int i = 0; writing; ++i) {
      const std::string room = "room" + std::to_string(i % kRooms);
      auto [at, fresh] = seen.try_emplace(room, Position{0, chain_start(room)});
      Rows rows = caller.read(room, at->second, 10);
      ASSERT_EQ(rows.status, kOk) << "what was read once stays";
      if (!rows.rows.empty()) at->second = rows.rows.back().position();
    }
  });
  for (std::thread& thread : threads) thread.join();
  writing = false;
  reader.join();

  std::map<std::string, Position> stored;
  size_t rows_count = 0;
  for (int r = 0; r < kRooms; ++r) {
    const std::string room = "room" + std::to_string(r);
    Rows rows = call().read_all(room);
    expect_whole_log(room, rows);
    std::map<std::string, int> last_of_writer;
    for (const Row& row : rows.rows) {
      EXPECT_TRUE(stored.emplace(room + "/" + row.message.uuid, row.position()).second) << "stored twice";
      ++rows_count;
      if (row.message.user_id == "all") continue;
      const int number = std::stoi(row.message.uuid.substr(row.message.uuid.find('-') + 1));
      int& last = last_of_writer[row.message.user_id];
      EXPECT_GE(number, last) << "one sender's messages stand in the order sent";
      last = number;
    }
  }
  for (const auto& mine : acked) {
    for (const auto& [key, position] : mine) EXPECT_EQ(stored[key], position) << key;
  }
  EXPECT_EQ(under_test_->metrics.rows, rows_count);
}

TEST_P(StoreSuite, WhatWaitsTogetherSharesCommits) {
  const uint64_t commits_before = under_test_->metrics.commits;
  const int rooms = 50 / GetParam().shorter, messages = 10 * rooms;
  const bool dawdles = under_test_->dawdle();
  int answered = 0;
  for (int i = 0; i < messages; ++i) {
    const std::string room = "room" + std::to_string(i % rooms);
    store().append(room, {0, chain_start(room)}, one(text_message("u" + std::to_string(i), "ana", "x")), call().loop(),
                   [&](AppendResult result) {
                     EXPECT_EQ(result.status, kDone);
                     EXPECT_EQ(result.each.at(0).position.sequence, static_cast<Sequence>(answered / rooms + 1));
                     ++answered;
                   });
  }
  ASSERT_TRUE(call().loop().run_until([&] { return answered == messages; }, std::chrono::minutes(2)));
  const uint64_t commits = under_test_->metrics.commits - commits_before;
  // Without the delay it depends on the disk how many wait together.
  EXPECT_LE(commits, static_cast<uint64_t>(dawdles ? messages / 10 : messages));
}

// Random appends, repeats, conflicts, reads and restarts, compared with a model of a few lines.
TEST_P(StoreSuite, AgreesWithAModelUnderRandomWork) {
  const uint64_t seed = SystemRandom().next();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  SeededRandom random(seed);
  std::map<std::string, std::vector<Message>> model;
  for (int step = 0; step < 300 / GetParam().shorter; ++step) {
    const std::string room = "room" + std::to_string(random.below(3));
    std::vector<Message>& log = model[room];
    if (random.below(10) < 5) {
      std::vector<Message> batch;
      std::vector<std::pair<Kind, Sequence>> expected;
      for (uint64_t i = 0, count = random.below(5); i <= count; ++i) {
        Message message = text_message(std::to_string(random.below(200)), "ana", std::to_string(random.below(2)));
        auto there = std::find_if(log.begin(), log.end(), [&](const Message& m) { return m.uuid == message.uuid; });
        const Sequence sequence = static_cast<Sequence>(there - log.begin()) + 1;
        expected.emplace_back(there == log.end()           ? Kind::added
                              : same_body(*there, message) ? Kind::repeated
                                                           : Kind::conflict,
                              sequence);
        if (there == log.end()) log.push_back(message);
        batch.push_back(std::move(message));
      }
      AppendResult result = call().append(room, std::move(batch));
      ASSERT_EQ(result.status, kDone);
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(result.each[i].kind, expected[i].first);
        if (expected[i].first != Kind::conflict) {
          ASSERT_EQ(result.each[i].position.sequence, expected[i].second);
        }
      }
    } else if (random.below(50) == 0) {
      restart(random.below(2) == 0);
    } else {
      const Sequence at = random.below(log.size() + 3);
      const bool backwards = random.below(2) == 0;
      const size_t limit = random.below(10);
      Rows rows = call().range(room, at, backwards, limit);
      ASSERT_EQ(rows.status, kOk);
      ASSERT_EQ(rows.head.sequence, log.size());
      const size_t end = backwards ? std::min<size_t>(at == 0 ? 0 : at - 1, log.size()) : log.size();
      const size_t begin = backwards ? 0 : std::min<size_t>(at, log.size());
      ASSERT_EQ(rows.rows.size(), std::min(limit, end - begin));
      const size_t first = backwards ? end - rows.rows.size() : begin;
      for (size_t i = 0; i < rows.rows.size(); ++i) {
        ASSERT_EQ(rows.rows[i].sequence, first + i + 1);
        ASSERT_EQ(rows.rows[i].message.uuid, log[first + i].uuid);
        ASSERT_EQ(rows.rows[i].message.text, log[first + i].text);
      }
    }
  }
  for (auto& [room, log] : model) {
    Rows rows = call().read_all(room);
    expect_whole_log(room, rows);
    ASSERT_EQ(rows.rows.size(), log.size());
  }
}

}  // namespace
}  // namespace tertulia
