#include "link_suite.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "child_process.h"
#include "cutting_proxy.h"
#include "link_testing.h"

namespace tertulia {

using cluster::Failure;
using cluster::Link;
using cluster::Placed;
using cluster::Put;
using cluster::Record;
using cluster::RoomBatch;
using cluster::Trouble;
using testing_store::text_message;

namespace {

// A database that was killed is back long before.
constexpr auto kSurely = std::chrono::seconds(120);
// This process was started by a test, to help it.
bool is_helper = false;

Position start_of(const std::string& room) {
  return {0, chain_start(room)};
}

std::vector<Message> texts(const std::vector<std::string>& uuids) {
  std::vector<Message> messages;
  for (const std::string& uuid : uuids) messages.push_back(text_message(uuid, "ana", "says " + uuid));
  return messages;
}

std::string sequences(const Rows& rows) {
  std::string all;
  for (const Row& row : rows.rows) all += std::to_string(row.sequence) + " ";
  return all;
}

RoomBatch batch_of(const std::string& room, const Position& known, const std::vector<Message>& messages) {
  RoomBatch batch;
  batch.room = room;
  batch.known = known;
  for (const Message& message : messages) batch.messages.push_back(&message);
  return batch;
}

Record record(const std::string& room, const std::string& name, uint64_t version = 0) {
  Record made;
  made.room = room;
  made.name = name;
  made.version = version;
  made.live = true;
  return made;
}

Failure put_one(Link& link, const Record& record, bool& won, const std::string& node = "") {
  std::vector<Put> puts = {{record, false}};
  Failure failure = link.put(puts, node);
  won = puts[0].won;
  return failure;
}

Record load_one(Link& link, const std::string& room, const std::string& name) {
  std::vector<Record> records;
  EXPECT_TRUE(done(link.load({{room, name}}, records)));
  return records.empty() ? Record{} : records[0];
}

std::string names(const std::vector<Record>& records) {
  std::set<std::string> all;
  for (const Record& each : records) all.insert(each.name);
  std::string text;
  for (const std::string& name : all) text += name + " ";
  return text;
}

// Repeats what the database does not do now, or of which it is not known whether it was done. What is not done in the
// end fails the test, or ends the process that was to help it.
template <class Call>
void surely(const std::string& what, Call call) {
  Failure failure;
  const auto settled = [&] {
    failure = call();
    return failure.trouble != Trouble::not_now && failure.trouble != Trouble::unknown;
  };
  if (eventually(settled, kSurely) && !failure) return;
  ADD_FAILURE() << what << ": " << failure.reason;
  if (is_helper) std::exit(1);
}

Record load_surely(Link& link, const std::string& room, const std::string& name) {
  std::vector<Record> records;
  surely("load " + name, [&] { return link.load({{room, name}}, records); });
  return records.empty() ? Record{} : records[0];
}

// Repeats a put until it is known whether it won. After an unknown outcome the record itself tells, by a state that
// only this caller writes.
bool put_surely(Link& link, const Record& record, const std::string& node = "") {
  bool won = false;
  surely("put " + record.name, [&]() -> Failure {
    Failure failure = put_one(link, record, won, node);
    if (failure.trouble != Trouble::unknown) return failure;
    const Record now = load_surely(link, record.room, record.name);
    if (now.version <= record.version) return failure;
    won = now.version == record.version + 1 && now.state == record.state;
    return {};
  });
  return won;
}

}  // namespace

bool CallersWorker::pause_us(int64_t us) {
  ::usleep(static_cast<useconds_t>(us));
  return !stopping_;
}

void LinkSuite::SetUp() {
  under_test_ = GetParam().make();
  ASSERT_NE(under_test_, nullptr);
  node_ = node("node-1");
  ASSERT_NE(node_, nullptr);
}

std::unique_ptr<LinkSuite::Node> LinkSuite::node(const std::string& name, const std::string& url) {
  auto made = std::make_unique<Node>();
  made->name = name;
  made->database = GetParam().open(url.empty() ? under_test_->url() : url, StoreOptions());
  const std::string error = prepare(*made->database);
  EXPECT_EQ(error, "");
  if (!error.empty()) return nullptr;
  made->link = made->database->link(made->worker);
  Record lease = load_surely(*made->link, "", name);
  lease.live = true;
  EXPECT_TRUE(put_surely(*made->link, lease));
  return made;
}

LinkSuite::Outcome LinkSuite::append(Node& node, const std::string& room, const Position& known,
                                     const std::vector<Message>& messages) {
  RoomBatch batch = batch_of(room, known, messages);
  std::vector<RoomBatch*> batches = {&batch};
  Outcome outcome;
  outcome.failure = node->append(batches, node.name);
  outcome.fits = batch.fits;
  outcome.placed = std::move(batch.placed);
  if (!outcome.failure && outcome.fits) {
    EXPECT_EQ(outcome.placed.size(), messages.size());
  }
  return outcome;
}

LinkSuite::Outcome LinkSuite::append(Node& node, const std::string& room, const std::vector<Message>& messages) {
  return append(node, room, start_of(room), messages);
}

LinkSuite::Outcome LinkSuite::append_surely(Node& node, const std::string& room, const std::vector<Message>& messages) {
  Outcome outcome;
  surely("append", [&] {
    outcome = append(node, room, messages);
    return outcome.failure;
  });
  // So that whoever looks at the places finds some.
  outcome.placed.resize(messages.size());
  return outcome;
}

Rows LinkSuite::whole_log(Node& node, const std::string& room) {
  Rows all;
  all.head = start_of(room);
  Position at = start_of(room);
  for (;;) {
    Rows page;
    const Failure failure = node->read(room, at, 500, 1 << 20, page);
    EXPECT_TRUE(done(failure));
    if (failure || page.status != Rows::Status::ok) return page;
    all.status = page.status;
    all.head = page.head;
    if (page.rows.empty()) return all;
    for (Row& row : page.rows) all.rows.push_back(std::move(row));
    at = all.rows.back().position();
  }
}

void LinkSuite::expect_whole(Node& node, const std::string& room, size_t count) {
  const Rows rows = whole_log(node, room);
  testing_store::expect_whole_log(room, rows);
  EXPECT_EQ(rows.rows.size(), count);
  std::set<std::string> uuids;
  for (const Row& row : rows.rows) EXPECT_TRUE(uuids.insert(row.message.uuid).second) << "twice: " << row.message.uuid;
}

void LinkSuite::fill(Node& node, const std::string& room, int count, const std::string& prefix) {
  std::vector<Message> messages;
  for (int i = 1; i <= count; ++i) {
    messages.push_back(text_message(prefix + std::to_string(i), "ana", std::to_string(i)));
  }
  const Outcome outcome = append(node, room, messages);
  ASSERT_TRUE(done(outcome.failure));
}

std::vector<std::vector<std::string>> LinkSuite::in_processes(const std::string& command,
                                                              const std::vector<std::vector<std::string>>& arguments) {
  std::vector<std::unique_ptr<ChildProcess>> processes;
  for (const std::vector<std::string>& each : arguments) {
    std::vector<std::string> line = {"/proc/self/exe", "--helper", command, under_test_->url()};
    line.insert(line.end(), each.begin(), each.end());
    processes.push_back(std::make_unique<ChildProcess>(line, ChildProcess::Options{.input = true}));
  }
  // All are connected before anybody begins.
  for (const auto& process : processes) {
    std::string line;
    EXPECT_TRUE(process->read_line(line));
    EXPECT_EQ(line, "ready");
  }
  for (const auto& process : processes) process->write_line("go");
  std::vector<std::vector<std::string>> all;
  for (const auto& process : processes) {
    std::vector<std::string>& lines = all.emplace_back();
    std::string line;
    while (process->read_line(line)) lines.push_back(line);
    EXPECT_EQ(process->wait(), 0);
  }
  return all;
}

// --- what other processes do ---

namespace {

// append NODE ROOM PREFIX COUNT: one message after the other, each until it is done. Says "uuid sequence chain".
int helper_append(Link& link, const std::vector<std::string>& arguments) {
  const std::string &node = arguments.at(0), &room = arguments.at(1), &prefix = arguments.at(2);
  const int count = std::stoi(arguments.at(3));
  for (int i = 0; i < count;) {
    // One, two or three at once, so that batches of different sizes meet.
    std::vector<Message> messages;
    for (int n = 0; n <= i % 3 && i + n < count; ++n) {
      const std::string uuid = prefix + std::to_string(i + n);
      messages.push_back(text_message(uuid, "ana", "says " + uuid));
    }
    RoomBatch batch = batch_of(room, start_of(room), messages);
    std::vector<RoomBatch*> batches = {&batch};
    surely("append", [&] { return link.append(batches, node); });
    for (size_t n = 0; n < messages.size(); ++n) {
      std::cout << messages[n].uuid << " " << position_text(batch.placed[n].row.position()) << " "
                << batch.placed[n].added << "\n";
    }
    i += static_cast<int>(messages.size());
  }
  return 0;
}

// race NODE ROOM NAMES: claims name 0 … NAMES-1, each once, from nothing. Says the names won.
int helper_race(Link& link, const std::vector<std::string>& arguments) {
  const std::string &node = arguments.at(0), &room = arguments.at(1);
  for (int i = 0; i < std::stoi(arguments.at(2)); ++i) {
    Record claim = record(room, "name " + std::to_string(i));
    claim.user = node;
    claim.nodes = {node};
    claim.state = "\"" + node + "\"";
    if (put_surely(link, claim, node)) std::cout << claim.name << "\n";
  }
  return 0;
}

// count NODE ROOM NAME TIMES: adds one to the number in a record's state so often. Says the versions it won.
int helper_count(Link& link, const std::vector<std::string>& arguments) {
  for (int i = 0; i < std::stoi(arguments.at(3));) {
    Record next = load_surely(link, arguments.at(1), arguments.at(2));
    // Nobody else writes the same state: an unknown outcome is settled by it.
    next.state = std::to_string(std::atoi(next.state.c_str()) + 1) + " of " + arguments.at(0) + " " + std::to_string(i);
    next.live = true;
    if (!put_surely(link, next, arguments.at(0))) continue;
    std::cout << next.version + 1 << "\n";
    ++i;
  }
  return 0;
}

}  // namespace

int link_suite_main(int argc, char** argv, MakeDatabase open) {
  if (argc < 4 || std::string(argv[1]) != "--helper") {
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
  }
  is_helper = true;
  const std::string command = argv[2];
  const std::vector<std::string> arguments(argv + 4, argv + argc);
  const std::unique_ptr<cluster::Database> database = open(argv[3], StoreOptions());
  std::string line;
  if (command == "prepare") {
    std::cout << "ready" << std::endl;
    std::getline(std::cin, line);
  }
  if (const std::string error = prepare(*database); !error.empty()) {
    std::cerr << error << "\n";
    return 1;
  }
  if (command == "prepare") return 0;
  CallersWorker worker;
  const std::unique_ptr<Link> link = database->link(worker);
  Record lease = record("", arguments.at(0));
  if (!put_surely(*link, lease)) return 1;
  std::cout << "ready" << std::endl;
  std::getline(std::cin, line);
  if (command == "append") return helper_append(*link, arguments);
  if (command == "race") return helper_race(*link, arguments);
  if (command == "count") return helper_count(*link, arguments);
  return 2;
}

// --- appends ---

TEST_P(LinkSuite, NumbersAreDenseFromOneAndTheChainIsTheOneOfTheProtocol) {
  std::vector<Message> said = texts({"a", "b", "c"});
  said[1].text = "tab\t, \"quotes\", \\ {,} NULL and \xF0\x9F\x92\x83\n";
  said[1].id_json = "\"\\u00e4\"";
  said[1].date = "";
  Message file = text_message("f", "ana", "");
  file.kind = MessageKind::file;
  file.file_name = "men\xC3\xBA>.txt";
  file.content_type = "text/plain";
  file.size_bytes = 5'000'000'000;
  file.sha256_hex = std::string(64, 'a');
  Message image = file;
  image.kind = MessageKind::image;
  image.uuid = "i";
  image.file_name = "";
  said.push_back(file);
  said.push_back(image);
  said.push_back(text_message("z", "bea", std::string(20'000, 'x')));
  const std::string room = "Sal\xC3\xB3n de t\xC3\xA9 '\"\\";
  const Outcome outcome = append(*node_, room, said);
  ASSERT_TRUE(done(outcome.failure));
  Position at = start_of(room);
  for (size_t i = 0; i < said.size(); ++i) {
    const Placed& placed = outcome.placed[i];
    EXPECT_TRUE(placed.added);
    EXPECT_EQ(placed.row.before(), at);
    EXPECT_EQ(placed.row.chain, chain_next(at.chain, at.sequence + 1, said[i]));
    at = placed.row.position();
  }
  Rows rows = whole_log(*node_, room);
  testing_store::expect_whole_log(room, rows);
  ASSERT_EQ(rows.rows.size(), said.size());
  EXPECT_EQ(rows.head, at);
  for (size_t i = 0; i < said.size(); ++i) {
    const Message &a = said[i], &b = rows.rows[i].message;
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
  const Outcome next = append(*node_, room, texts({"next"}));
  EXPECT_EQ(next.placed[0].row.before(), at);
}

TEST_P(LinkSuite, ManyRoomsShareABatchAndEachIsCountedOnItsOwn) {
  const int rooms_count = rows(240) / 6;  // a slow kind looks through all rows for each room
  for (int round = 0; round < 3; ++round) {
    std::vector<std::vector<Message>> messages;
    std::vector<RoomBatch> batches;
    for (int i = 0; i < rooms_count; ++i) {
      messages.push_back(texts({"a" + std::to_string(round), "b" + std::to_string(round)}));
    }
    for (int i = 0; i < rooms_count; ++i) {
      // In another order each time.
      const std::string room = "room " + std::to_string((i * (round * 2 + 7)) % rooms_count);
      batches.push_back(batch_of(room, start_of(room), messages[static_cast<size_t>(i)]));
    }
    std::vector<RoomBatch*> all;
    for (RoomBatch& batch : batches) all.push_back(&batch);
    const Failure failure = (*node_)->append(all, node_->name);
    ASSERT_TRUE(done(failure));
    for (const RoomBatch& batch : batches) {
      ASSERT_EQ(batch.placed.size(), 2u);
      EXPECT_EQ(batch.placed[0].row.sequence, static_cast<Sequence>(round * 2 + 1));
      EXPECT_EQ(batch.placed[1].row.before(), batch.placed[0].row.position());
    }
  }
  for (int i = 0; i < rooms_count; ++i) expect_whole(*node_, "room " + std::to_string(i), 6);
}

TEST_P(LinkSuite, ARepeatIsAnsweredWithItsWholeRowAndTheOthersAreDense) {
  const Outcome first = append(*node_, "plaza", texts({"a", "b"}));
  std::vector<Message> again = texts({"b", "c", "a", "d"});
  again[0].text = "another body";
  const Outcome second = append(*node_, "plaza", again);
  ASSERT_TRUE(done(second.failure));
  EXPECT_FALSE(second.placed[0].added);
  EXPECT_EQ(second.placed[0].row.position(), first.placed[1].row.position());
  EXPECT_EQ(second.placed[0].row.previous, first.placed[1].row.previous);
  EXPECT_EQ(second.placed[0].row.message.text, "says b");
  EXPECT_EQ(second.placed[0].row.message.user_id, "ana");
  EXPECT_EQ(second.placed[0].row.message.uuid, "b");
  EXPECT_TRUE(second.placed[1].added);
  EXPECT_EQ(second.placed[1].row.before(), first.placed[1].row.position());
  EXPECT_FALSE(second.placed[2].added);
  EXPECT_EQ(second.placed[2].row.position(), first.placed[0].row.position());
  EXPECT_TRUE(second.placed[3].added);
  EXPECT_EQ(second.placed[3].row.before(), second.placed[1].row.position());
  const Outcome third = append(*node_, "plaza", texts({"a", "b", "c", "d"}));
  for (const Placed& placed : third.placed) EXPECT_FALSE(placed.added);
  expect_whole(*node_, "plaza", 4);
  EXPECT_TRUE(append(*node_, "patio", texts({"a"})).placed[0].added) << "a uuid is one room's own";
}

TEST_P(LinkSuite, WhatDoesNotContainTheKnownPositionGetsNothingAndTheOtherRoomsDo) {
  fill(*node_, "plaza", 3);
  const Rows rows = whole_log(*node_, "plaza");
  const Position second = rows.rows[1].position(), head = rows.rows[2].position();
  Position other = second;
  other.chain.bytes[3] ^= 1;
  EXPECT_FALSE(append(*node_, "plaza", other, texts({"x"})).fits);
  other = head;
  other.chain.bytes[11] ^= 128;
  EXPECT_FALSE(append(*node_, "plaza", other, texts({"x"})).fits);
  other = {4, head.chain};
  EXPECT_FALSE(append(*node_, "plaza", other, texts({"x"})).fits);
  other = {0, head.chain};
  EXPECT_FALSE(append(*node_, "plaza", other, texts({"x"})).fits);
  EXPECT_FALSE(append(*node_, "empty", other, texts({"x"})).fits);
  EXPECT_FALSE(append(*node_, "never seen", head, texts({"x"})).fits);

  const std::vector<Message> x = texts({"x"}), y = texts({"y"}), repeated = texts({"u1"});
  RoomBatch misfit = batch_of("plaza", {3, second.chain}, repeated), fit = batch_of("patio", start_of("patio"), y);
  std::vector<RoomBatch*> both = {&misfit, &fit};
  ASSERT_FALSE((*node_)->append(both, node_->name));
  EXPECT_FALSE(misfit.fits);
  EXPECT_TRUE(fit.fits);
  ASSERT_EQ(fit.placed.size(), 1u);
  EXPECT_TRUE(fit.placed[0].added);
  expect_whole(*node_, "plaza", 3);

  EXPECT_TRUE(append(*node_, "plaza", head, x).placed[0].added);
  EXPECT_TRUE(append(*node_, "plaza", second, y).placed[0].added);
  expect_whole(*node_, "plaza", 5);
}

TEST_P(LinkSuite, AMessageThatCannotBeStoredIsToldAsSuchAndAloneTakesNothingWithIt) {
  under_test_->refuse_poison();
  const Outcome bad = append(*node_, "plaza", {text_message("p", "ana", kLinkPoison)});
  EXPECT_EQ(bad.failure.trouble, Trouble::message) << bad.failure.reason;
  EXPECT_NE(bad.failure.reason, "");
  std::vector<Message> mixed = texts({"a", "b", "c"});
  mixed[1].text = kLinkPoison;
  EXPECT_EQ(append(*node_, "plaza", mixed).failure.trouble, Trouble::message);
  if (under_test_->whole_batches()) {
    expect_whole(*node_, "plaza", 0);
  }
  // What stands already is told as a repeat, so the parts can be tried again.
  EXPECT_TRUE(done(append(*node_, "plaza", texts({"a"})).failure));
  EXPECT_TRUE(done(append(*node_, "plaza", texts({"c"})).failure));
  expect_whole(*node_, "plaza", 2);
}

TEST_P(LinkSuite, AHundredAndTwentyEightMessagesAndThenAThousand) {
  fill(*node_, "plaza", rows(128), "a");
  fill(*node_, "plaza", rows(1000), "b");
  expect_whole(*node_, "plaza", static_cast<size_t>(rows(128) + rows(1000)));
}

// --- the node's lease ---

TEST_P(LinkSuite, WithoutALeaseNothingIsAppendedOrPut) {
  if (!under_test_->judges_leases()) GTEST_SKIP() << "this kind judges leases elsewhere";
  Record claim = record("plaza", "ana");
  bool won = false;
  node_->name = "a node that never was";
  EXPECT_EQ(append(*node_, "plaza", texts({"a"})).failure.trouble, Trouble::fenced);
  EXPECT_EQ(put_one(*node_->link, claim, won, node_->name).trouble, Trouble::fenced);
  EXPECT_FALSE(won);
  node_->name = "node-1";
  EXPECT_TRUE(done(append(*node_, "plaza", texts({"a"})).failure));
  auto other = node("node-2");
  Record lease = load_one(*other->link, "", "node-1");
  EXPECT_TRUE(lease.live);
  lease.live = false;
  ASSERT_TRUE(done(put_one(*other->link, lease, won, "node-2")));
  EXPECT_TRUE(won);
  EXPECT_EQ(append(*node_, "plaza", texts({"b"})).failure.trouble, Trouble::fenced);
  EXPECT_EQ(put_one(*node_->link, claim, won, "node-1").trouble, Trouble::fenced);
  ++lease.version;
  lease.live = true;
  ASSERT_TRUE(done(put_one(*node_->link, lease, won)));
  EXPECT_TRUE(won);
  EXPECT_TRUE(done(append(*node_, "plaza", texts({"b"})).failure));
  expect_whole(*node_, "plaza", 2);
}

TEST_P(LinkSuite, WhatANodeAppendsIsThereBeforeItsEndIsDeclaredOrNeverComes) {
  if (!under_test_->judges_leases()) GTEST_SKIP() << "this kind judges leases elsewhere";
  auto judge = node("judge");
  for (int round = 0; round < rows(20); ++round) {
    const std::string dying = "dying " + std::to_string(round);
    auto victim = node(dying);
    std::atomic<bool> begun = false;
    std::atomic<int> appended = 0;
    std::thread writer([&] {
      for (int i = 0;; ++i) {
        const Outcome outcome = append(*victim, dying, texts({"u" + std::to_string(i)}));
        if (outcome.failure.trouble == Trouble::fenced) return;
        if (!outcome.failure) ++appended;
        begun = true;
      }
    });
    while (!begun) std::this_thread::yield();
    Record lease = load_one(*judge->link, "", dying);
    lease.live = false;
    EXPECT_TRUE(put_surely(*judge->link, lease, "judge"));
    Rows at_death;
    ASSERT_TRUE(done((*judge)->read(dying, start_of(dying), 1000, 1 << 20, at_death)));
    writer.join();
    EXPECT_EQ(whole_log(*judge, dying).head, at_death.head) << "something came after its end was declared";
    EXPECT_EQ(at_death.head.sequence, static_cast<Sequence>(appended.load()));
  }
}

// --- reads ---

TEST_P(LinkSuite, AReadBeginsAtThePositionThatItsReaderHolds) {
  fill(*node_, "plaza", 5);
  const Rows all = whole_log(*node_, "plaza");
  Rows rows;
  ASSERT_TRUE(done((*node_)->read("plaza", all.rows[1].position(), 10, 1 << 20, rows)));
  EXPECT_EQ(rows.status, Rows::Status::ok);
  EXPECT_EQ(sequences(rows), "3 4 5 ");
  EXPECT_EQ(rows.head, all.head);
  ASSERT_TRUE(done((*node_)->read("plaza", all.head, 10, 1 << 20, rows)));
  EXPECT_EQ(rows.status, Rows::Status::ok);
  EXPECT_EQ(sequences(rows), "");
  for (Position wrong : {Position{2, all.rows[2].chain}, Position{6, all.head.chain}, Position{0, all.head.chain},
                         Position{sequence_max, all.head.chain}, Position{~uint64_t{0}, all.head.chain}}) {
    ASSERT_TRUE(done((*node_)->read("plaza", wrong, 10, 1 << 20, rows)));
    EXPECT_EQ(rows.status, Rows::Status::does_not_fit);
    EXPECT_EQ(sequences(rows), "");
  }
  ASSERT_TRUE(done((*node_)->read("empty", start_of("empty"), 10, 1 << 20, rows)));
  EXPECT_EQ(rows.status, Rows::Status::ok);
  EXPECT_EQ(rows.head, start_of("empty"));
  ASSERT_TRUE(done((*node_)->read("empty", {1, all.head.chain}, 10, 1 << 20, rows)));
  EXPECT_EQ(rows.status, Rows::Status::does_not_fit);
}

TEST_P(LinkSuite, PagesEndAtRowsOrBytesAndHoldAtLeastOne) {
  std::vector<Message> messages;
  for (int i = 1; i <= 6; ++i) messages.push_back(text_message("u" + std::to_string(i), "ana", std::string(2000, 'x')));
  ASSERT_TRUE(done(append(*node_, "plaza", messages).failure));
  const size_t bytes = messages[0].bytes();
  const Position first = whole_log(*node_, "plaza").rows[0].position();
  struct Case {
    size_t limit, bytes;
    const char *from_start, *behind_first, *before_6, *behind_2;
  };
  const Case cases[] = {{10, 1 << 20, "1 2 3 4 5 6 ", "2 3 4 5 6 ", "1 2 3 4 5 ", "3 4 5 6 "},
                        {2, 1 << 20, "1 2 ", "2 3 ", "4 5 ", "3 4 "},
                        {10, 3 * bytes, "1 2 3 ", "2 3 4 ", "3 4 5 ", "3 4 5 "},
                        {10, 3 * bytes - 1, "1 2 ", "2 3 ", "4 5 ", "3 4 "},
                        {10, 1, "1 ", "2 ", "5 ", "3 "},
                        {1, 1, "1 ", "2 ", "5 ", "3 "}};
  for (const Case& each : cases) {
    Rows rows;
    ASSERT_TRUE(done((*node_)->read("plaza", start_of("plaza"), each.limit, each.bytes, rows)));
    EXPECT_EQ(sequences(rows), each.from_start) << each.limit << " " << each.bytes;
    EXPECT_EQ(rows.head.sequence, 6u);
    ASSERT_TRUE(done((*node_)->read("plaza", first, each.limit, each.bytes, rows)));
    EXPECT_EQ(sequences(rows), each.behind_first) << each.limit << " " << each.bytes;
    ASSERT_TRUE(done((*node_)->read_range("plaza", 6, true, each.limit, each.bytes, rows)));
    EXPECT_EQ(sequences(rows), each.before_6) << each.limit << " " << each.bytes;
    ASSERT_TRUE(done((*node_)->read_range("plaza", 2, false, each.limit, each.bytes, rows)));
    EXPECT_EQ(sequences(rows), each.behind_2) << each.limit << " " << each.bytes;
  }
  Rows rows;
  ASSERT_TRUE(done((*node_)->read_range("plaza", 100, true, 2, 1 << 20, rows)));
  EXPECT_EQ(sequences(rows), "5 6 ") << "what ends before a number beyond the head ends at the head";
  ASSERT_TRUE(done((*node_)->read_range("plaza", ~uint64_t{0}, true, 2, 1 << 20, rows)));
  EXPECT_EQ(sequences(rows), "5 6 ");
  ASSERT_TRUE(done((*node_)->read_range("plaza", 6, false, 2, 1 << 20, rows)));
  EXPECT_EQ(sequences(rows), "");
  ASSERT_TRUE(done((*node_)->read_range("plaza", ~uint64_t{0}, false, 2, 1 << 20, rows)));
  EXPECT_EQ(sequences(rows), "");
  ASSERT_TRUE(done((*node_)->read_range("plaza", 1, true, 2, 1 << 20, rows)));
  EXPECT_EQ(sequences(rows), "");
  ASSERT_TRUE(done((*node_)->read_range("plaza", 0, true, 2, 1 << 20, rows)));
  EXPECT_EQ(sequences(rows), "");
  ASSERT_TRUE(done((*node_)->read_range("empty", 10, true, 2, 1 << 20, rows)));
  EXPECT_EQ(rows.status, Rows::Status::ok);
  EXPECT_EQ(rows.head, start_of("empty"));
}

TEST_P(LinkSuite, ARowIsFoundByItsUuidInItsRoomOnly) {
  fill(*node_, "plaza", 3);
  fill(*node_, "patio", 1, "p");
  Rows rows;
  ASSERT_TRUE(done((*node_)->find("plaza", "u2", rows)));
  ASSERT_EQ(rows.rows.size(), 1u);
  EXPECT_EQ(rows.rows[0].sequence, 2u);
  EXPECT_EQ(rows.rows[0].message.text, "2");
  EXPECT_EQ(rows.head.sequence, 3u);
  for (const auto& [room, uuid] : {std::pair("plaza", "p1"), {"plaza", "U2"}, {"empty", "u2"}}) {
    ASSERT_TRUE(done((*node_)->find(room, uuid, rows)));
    EXPECT_EQ(rows.status, Rows::Status::ok);
    EXPECT_TRUE(rows.rows.empty());
  }
}

TEST_P(LinkSuite, HeadsComeInTheOrderAskedAndFiveHundredAtOnce) {
  fill(*node_, "plaza", 3);
  fill(*node_, "patio", 1);
  std::vector<std::string> rooms = {"patio", "empty", "plaza", "patio"};
  while (rooms.size() < 500) rooms.push_back("empty " + std::to_string(rooms.size()));
  std::vector<Position> heads;
  ASSERT_TRUE(done((*node_)->heads(rooms, heads)));
  ASSERT_EQ(heads.size(), 500u);
  EXPECT_EQ(heads[0], whole_log(*node_, "patio").head);
  EXPECT_EQ(heads[1], start_of("empty"));
  EXPECT_EQ(heads[2], whole_log(*node_, "plaza").head);
  EXPECT_EQ(heads[3], heads[0]);
  EXPECT_EQ(heads[499], start_of("empty 499"));
}

TEST_P(LinkSuite, RowsThatNothingLeadsToAreNeverShownAndTheirUuidsAreNotTakenForCommitted) {
  fill(*node_, "plaza", 3);
  const Position head = whole_log(*node_, "plaza").head;
  Row row;
  row.sequence = 5;
  row.previous.bytes[0] = 7;
  row.message = text_message("stray", "ana", "says stray");
  row.chain = chain_next(row.previous, 5, row.message);
  if (!under_test_->stray("plaza", row)) GTEST_SKIP() << "this kind cannot have such rows";
  Rows rows = whole_log(*node_, "plaza");
  EXPECT_EQ(sequences(rows), "1 2 3 ");
  EXPECT_EQ(rows.head, head);
  ASSERT_TRUE(done((*node_)->read_range("plaza", 100, true, 10, 1 << 20, rows)));
  EXPECT_EQ(sequences(rows), "1 2 3 ");
  ASSERT_TRUE(done((*node_)->read_range("plaza", 3, false, 10, 1 << 20, rows)));
  EXPECT_EQ(sequences(rows), "");
  ASSERT_TRUE(done((*node_)->read("plaza", row.position(), 10, 1 << 20, rows)));
  EXPECT_EQ(rows.status, Rows::Status::does_not_fit);
  ASSERT_TRUE(done((*node_)->find("plaza", "stray", rows)));
  EXPECT_TRUE(rows.rows.empty());
  std::vector<Position> heads;
  ASSERT_TRUE(done((*node_)->heads({"plaza"}, heads)));
  EXPECT_EQ(heads[0], head);
  EXPECT_FALSE(append(*node_, "plaza", row.position(), texts({"x"})).fits);
  // It is added, or it waits, or it is refused; but nobody is told that it is there already.
  const Outcome outcome = append(*node_, "plaza", {row.message});
  if (!outcome.failure) {
    EXPECT_TRUE(outcome.placed[0].added);
    EXPECT_EQ(outcome.placed[0].row.before(), head);
  }
}

// --- outcomes ---

TEST_P(LinkSuite, AReplyLostAfterTheCommitIsUnknownAndAskedAgainItIsARepeat) {
  CuttingProxy proxy(under_test_->port());
  auto far = node("far", under_test_->url_through(proxy.port()));
  ASSERT_TRUE(done(append(*far, "plaza", texts({"a"})).failure));
  const uint64_t connects = (*far)->connects();
  proxy.cut_next_reply();
  const Trouble trouble = append(*far, "plaza", texts({"b", "c"})).failure.trouble;
  EXPECT_TRUE(trouble == Trouble::unknown || (trouble == Trouble::none && under_test_->settles_lost_replies()));
  EXPECT_EQ(proxy.cuts(), 1);
  const Outcome again = append_surely(*far, "plaza", texts({"b", "c"}));
  ASSERT_TRUE(done(again.failure));
  EXPECT_FALSE(again.placed[0].added);
  EXPECT_EQ(again.placed[1].row.sequence, 3u);
  EXPECT_GT((*far)->connects(), connects);
  expect_whole(*node_, "plaza", 3);
}

TEST_P(LinkSuite, ARequestThatNeverArrivedIsDoneWhenItIsAskedAgain) {
  CuttingProxy proxy(under_test_->port());
  auto far = node("far", under_test_->url_through(proxy.port()));
  ASSERT_TRUE(done(append(*far, "plaza", texts({"a"})).failure));
  proxy.cut_next_request();
  const Trouble trouble = append(*far, "plaza", texts({"b"})).failure.trouble;
  const bool settled = trouble == Trouble::none && under_test_->settles_lost_replies();
  EXPECT_TRUE(trouble == Trouble::unknown || trouble == Trouble::not_now || settled);
  EXPECT_EQ(proxy.cuts(), 1);
  const Outcome again = append_surely(*far, "plaza", texts({"b"}));
  EXPECT_EQ(again.placed[0].added, !settled);
  expect_whole(*node_, "plaza", 2);
}

TEST_P(LinkSuite, APutWhoseReplyIsLostIsUnknown) {
  CuttingProxy proxy(under_test_->port());
  auto far = node("far", under_test_->url_through(proxy.port()));
  Record claim = record("plaza", "ana");
  claim.state = "1";
  bool won = false;
  ASSERT_TRUE(done(put_one(*far->link, claim, won, "far")));
  ASSERT_TRUE(won);
  claim.version = 1;
  claim.state = "2";
  proxy.cut_next_reply();
  const Trouble trouble = put_one(*far->link, claim, won, "far").trouble;
  const bool settled = trouble == Trouble::none && under_test_->settles_lost_replies();
  EXPECT_TRUE(trouble == Trouble::unknown || settled);
  EXPECT_EQ(won, settled);
  EXPECT_EQ(proxy.cuts(), 1);
}

TEST_P(LinkSuite, AMarkOnAConnectionMadeAnewSinceTheReadsProvesNothing) {
  CuttingProxy proxy(under_test_->port());
  auto far = node("far", under_test_->url_through(proxy.port()));
  ASSERT_TRUE(done(append(*far, "plaza", texts({"a"})).failure));
  Rows rows;
  ASSERT_TRUE(done((*far)->read("plaza", start_of("plaza"), 10, 1 << 20, rows)));
  EXPECT_TRUE(done((*far)->mark()));
  ASSERT_TRUE(done((*far)->read("plaza", start_of("plaza"), 10, 1 << 20, rows)));
  proxy.cut_next_reply();
  EXPECT_EQ((*far)->mark().trouble, Trouble::unknown);
  // The reads are still those of the connection that is gone.
  const Failure second = (*far)->mark();
  if ((*far)->reads_need_mark()) {
    EXPECT_EQ(second.trouble, Trouble::unknown);
  }
  ASSERT_TRUE(done((*far)->read("plaza", start_of("plaza"), 10, 1 << 20, rows)));
  EXPECT_TRUE(done((*far)->mark()));
}

TEST_P(LinkSuite, AStoreThatIsKilledInTheMiddleLosesNothingThatItAnsweredAndDoesNothingTwice) {
  // Several writers with batches of many messages, so that the kill hits some of them.
  std::vector<std::unique_ptr<Node>> nodes;
  for (int i = 0; i < 3; ++i) nodes.push_back(node("writer-" + std::to_string(i)));
  std::atomic<bool> end = false;
  std::atomic<int> written = 0, troubles = 0, writing = static_cast<int>(nodes.size());
  std::vector<std::map<std::string, Position>> told(nodes.size());
  std::vector<std::thread> writers;
  for (size_t n = 0; n < nodes.size(); ++n) {
    writers.emplace_back([&, n] {
      for (int i = 0; !end; ++i) {
        std::vector<std::string> uuids;
        for (int k = 0; k < 20; ++k) {
          uuids.push_back("w" + std::to_string(n) + "-" + std::to_string(i) + "-" + std::to_string(k));
        }
        const std::vector<Message> messages = texts(uuids);
        Outcome outcome;
        surely("append", [&] {
          outcome = append(*nodes[n], "plaza", messages);
          if (outcome.failure) ++troubles;
          return outcome.failure;
        });
        if (outcome.failure) break;
        for (size_t k = 0; k < uuids.size(); ++k) told[n][uuids[k]] = outcome.placed[k].row.position();
        ++written;
        if (i >= rows(3000) / 60) break;
      }
      --writing;
    });
  }
  const auto wait_for_more = [&] {
    const int before = written;
    EXPECT_TRUE(eventually([&] { return written >= before + 4 || writing == 0; }, kSurely));
  };
  bool killed = false;
  for (int round = 0; round < 2; ++round) {
    wait_for_more();
    killed = under_test_->kill_and_restart();
    if (!killed) break;
  }
  if (killed) wait_for_more();
  end = true;
  for (std::thread& writer : writers) writer.join();
  if (!killed) GTEST_SKIP() << "the server is not ours to kill";
  if (!under_test_->settles_lost_replies()) {
    EXPECT_GT(troubles, 0) << "the kills hit nobody";
  }
  const Rows rows = whole_log(*nodes[0], "plaza");
  testing_store::expect_whole_log("plaza", rows);
  std::map<std::string, Position> there;
  for (const Row& row : rows.rows) {
    EXPECT_TRUE(there.emplace(row.message.uuid, row.position()).second) << "twice: " << row.message.uuid;
  }
  for (const auto& each : told) {
    for (const auto& [uuid, position] : each) EXPECT_EQ(there[uuid], position) << uuid;
  }
}

TEST_P(LinkSuite, AStoreThatIsAwayIsSaidToBeAndServesAgainWhenItIsBack) {
  ASSERT_TRUE(done(append(*node_, "plaza", texts({"a"})).failure));
  const uint64_t connects = (*node_)->connects();
  if (!under_test_->kill()) GTEST_SKIP() << "the server is not ours to kill";
  Rows rows;
  for (int i = 0; i < 2; ++i) {
    // The first may still find a connection whose other end is just dying.
    const Trouble trouble = append(*node_, "plaza", texts({"b"})).failure.trouble;
    EXPECT_TRUE(trouble == Trouble::not_now || (i == 0 && trouble == Trouble::unknown));
    EXPECT_EQ((*node_)->read("plaza", start_of("plaza"), 10, 1 << 20, rows).trouble, Trouble::not_now);
  }
  EXPECT_EQ((*node_)->mark().trouble, Trouble::unknown);
  under_test_->restart();
  EXPECT_TRUE(append_surely(*node_, "plaza", texts({"b"})).placed[0].added);
  EXPECT_GT((*node_)->connects(), connects);
  expect_whole(*node_, "plaza", 2);
}

// --- several writers ---

TEST_P(LinkSuite, ProcessesThatAppendToOneRoomLeaveOneLogWithoutAGap) {
  constexpr int kProcesses = 4;
  const int each = rows(400) / kProcesses;
  std::vector<std::vector<std::string>> arguments;
  for (int i = 0; i < kProcesses; ++i) {
    const std::string name = "p" + std::to_string(i);
    arguments.push_back({name, "plaza", name + "-", std::to_string(each)});
  }
  std::map<std::string, std::string> told;
  for (const std::vector<std::string>& lines : in_processes("append", arguments)) {
    EXPECT_EQ(lines.size(), static_cast<size_t>(each));
    for (const std::string& line : lines) {
      std::istringstream words(line);
      std::string uuid, position;
      words >> uuid >> position;
      told[uuid] = position;
    }
  }
  const Rows rows = whole_log(*node_, "plaza");
  testing_store::expect_whole_log("plaza", rows);
  EXPECT_EQ(rows.rows.size(), static_cast<size_t>(each * kProcesses));
  std::map<char, int> last;
  for (const Row& row : rows.rows) {
    EXPECT_EQ(told[row.message.uuid], position_text(row.position()));
    // Each writer's messages stand in the order in which it sent them.
    const int number = std::stoi(row.message.uuid.substr(3));
    EXPECT_EQ(number, last[row.message.uuid[1]]++) << row.message.uuid;
  }
}

TEST_P(LinkSuite, ProcessesThatAppendTheSameUuidsAllHearOneOfThem) {
  constexpr int kProcesses = 4;
  const int count = rows(120);
  std::vector<std::vector<std::string>> arguments;
  for (int i = 0; i < kProcesses; ++i) {
    arguments.push_back({"p" + std::to_string(i), "plaza", "same", std::to_string(count)});
  }
  std::map<std::string, std::set<std::string>> positions;
  std::map<std::string, int> added;
  for (const std::vector<std::string>& lines : in_processes("append", arguments)) {
    for (const std::string& line : lines) {
      std::istringstream words(line);
      std::string uuid, position;
      int new_one = 0;
      words >> uuid >> position >> new_one;
      positions[uuid].insert(position);
      added[uuid] += new_one;
    }
  }
  EXPECT_EQ(positions.size(), static_cast<size_t>(count));
  for (const auto& [uuid, each] : positions) EXPECT_EQ(each.size(), 1u) << uuid;
  for (const auto& [uuid, times] : added) EXPECT_LE(times, 1) << uuid;
  expect_whole(*node_, "plaza", static_cast<size_t>(count));
}

TEST_P(LinkSuite, BatchesOfTheSameRoomsInOppositeOrdersDoNotStopEachOther) {
  std::vector<std::thread> writers;
  std::atomic<int> failures = 0;
  const int rounds = rows(600) / 60;
  for (int n = 0; n < 4; ++n) {
    writers.emplace_back([&, n] {
      auto own = node("writer " + std::to_string(n));
      for (int round = 0; round < rounds; ++round) {
        const std::vector<Message> messages = texts({std::to_string(n) + "-" + std::to_string(round)});
        std::vector<RoomBatch> batches;
        for (int i = 0; i < 15; ++i) {
          // New rooms every time, too.
          const int number = n % 2 == 0 ? i : 14 - i;
          const std::string room = "room " + std::to_string(number < 8 ? number : number + 100 * round);
          batches.push_back(batch_of(room, start_of(room), messages));
        }
        std::vector<RoomBatch*> all;
        for (RoomBatch& batch : batches) all.push_back(&batch);
        const Failure failure = (*own)->append(all, own->name);
        if (failure) {
          ++failures;
          ADD_FAILURE() << failure.reason;
        }
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(failures, 0);
  for (int i = 0; i < 8; ++i) expect_whole(*node_, "room " + std::to_string(i), static_cast<size_t>(4 * rounds));
}

// --- records ---

TEST_P(LinkSuite, ARecordIsMadeChangedAndNeverFromAnOldVersion) {
  Record none = load_one(*node_->link, "plaza", "ana");
  EXPECT_EQ(none.version, 0u);
  EXPECT_EQ(none.room, "plaza");
  EXPECT_EQ(none.name, "ana");
  EXPECT_FALSE(none.live);
  Record first = record("plaza", "ana");
  first.user = "~ana";
  first.nodes = {"node-1", "odd \"node\", \\ {}", ""};
  first.state = "{\"name\":\"An\xC3\xA1 '\\\"\"}";
  bool won = false;
  ASSERT_TRUE(done(put_one(*node_->link, first, won, node_->name)));
  EXPECT_TRUE(won);
  Record now = load_one(*node_->link, "plaza", "ana");
  EXPECT_EQ(now.version, 1u);
  EXPECT_TRUE(now.live);
  EXPECT_EQ(now.user, first.user);
  EXPECT_EQ(now.nodes, first.nodes);
  EXPECT_EQ(now.state, first.state);
  ASSERT_TRUE(done(put_one(*node_->link, first, won)));
  EXPECT_FALSE(won) << "it was made already";
  now.live = false;
  now.nodes.clear();
  now.state = "{}";
  ASSERT_TRUE(done(put_one(*node_->link, now, won)));
  EXPECT_TRUE(won);
  ASSERT_TRUE(done(put_one(*node_->link, now, won)));
  EXPECT_FALSE(won) << "version 1 is past";
  Record dead = load_one(*node_->link, "plaza", "ana");
  EXPECT_EQ(dead.version, 2u);
  EXPECT_FALSE(dead.live);
  EXPECT_TRUE(dead.nodes.empty());
  dead.version = 7;
  ASSERT_TRUE(done(put_one(*node_->link, dead, won)));
  EXPECT_FALSE(won) << "version 7 never was";
  ASSERT_TRUE(done(put_one(*node_->link, record("plaza", "ana"), won)));
  EXPECT_FALSE(won) << "a record that is not alive has a version all the same";
}

TEST_P(LinkSuite, ManyPutsAreEachWonOrLostOnTheirOwn) {
  std::vector<Put> puts;
  for (int i = 0; i < 50; ++i) puts.push_back({record("plaza", "n" + std::to_string(i))});
  ASSERT_TRUE(done((*node_)->put(puts, node_->name)));
  for (const Put& put : puts) EXPECT_TRUE(put.won);
  puts.clear();
  for (int i = 0; i < 60; ++i) {
    Record each = record("plaza", "n" + std::to_string(59 - i), i % 3 == 0 ? 1 : 0);
    each.state = "2";
    puts.push_back({each});
  }
  puts.push_back({record("patio", "n3")});
  ASSERT_TRUE(done((*node_)->put(puts, node_->name)));
  for (int i = 0; i < 60; ++i) {
    const int number = 59 - i;
    EXPECT_EQ(puts[static_cast<size_t>(i)].won, (i % 3 == 0) == (number < 50)) << number;
  }
  EXPECT_TRUE(puts.back().won);
}

TEST_P(LinkSuite, RecordsAreFoundByRoomUserAndNode) {
  struct Entry {
    const char *room, *name, *user;
    std::vector<std::string> nodes;
    bool live;
  };
  const std::vector<Entry> entries = {
      {"plaza", "ana", "~1", {"a", "b"}, true}, {"plaza", "Bea", "~2", {"b"}, true},
      {"plaza", "carl", "~1", {"a"}, false},    {"plaza", "\xC3\xA9va", "~3", {"a"}, true},
      {"patio", "ana", "~1", {"b", "c"}, true}, {"", "b", "", {}, true}};
  std::vector<Put> puts;
  for (const Entry& entry : entries) {
    Record each = record(entry.room, entry.name);
    each.user = entry.user;
    each.nodes = entry.nodes;
    each.live = entry.live;
    puts.push_back({each});
  }
  ASSERT_TRUE(done((*node_)->put(puts, node_->name)));
  std::vector<Record> found;
  ASSERT_TRUE(done((*node_)->list("plaza", "", 10, found)));
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].name, "Bea") << "by bytes";
  EXPECT_EQ(found[1].name, "ana");
  EXPECT_EQ(found[1].nodes, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(found[2].name, "\xC3\xA9va");
  ASSERT_TRUE(done((*node_)->list("plaza", "Bea", 1, found)));
  EXPECT_EQ(names(found), "ana ");
  ASSERT_TRUE(done((*node_)->list("plaza", "\xC3\xA9va", 1, found)));
  EXPECT_EQ(names(found), "");
  uint64_t count = 77;
  ASSERT_TRUE(done((*node_)->count("plaza", count)));
  EXPECT_EQ(count, 3u);
  ASSERT_TRUE(done((*node_)->count("empty", count)));
  EXPECT_EQ(count, 0u);
  ASSERT_TRUE(done((*node_)->of_user("plaza", "~1", found)));
  EXPECT_EQ(names(found), "ana carl ");
  ASSERT_TRUE(done((*node_)->of_user("plaza", "~4", found)));
  EXPECT_EQ(names(found), "");
  ASSERT_TRUE(done((*node_)->of_node("a", 10, found)));
  EXPECT_EQ(names(found), "ana \xC3\xA9va ") << "those that are alive, leases not among them";
  ASSERT_TRUE(done((*node_)->of_node("b", 10, found)));
  EXPECT_EQ(found.size(), 3u);
  ASSERT_TRUE(done((*node_)->of_node("b", 2, found)));
  EXPECT_EQ(found.size(), 2u);
  ASSERT_TRUE(done((*node_)->of_node("nobody", 2, found)));
  EXPECT_EQ(found.size(), 0u);
  std::vector<Record> loaded;
  ASSERT_TRUE(done((*node_)->load({{"patio", "ana"}, {"patio", "nobody"}, {"", "b"}, {"plaza", "carl"}}, loaded)));
  ASSERT_EQ(loaded.size(), 4u);
  EXPECT_EQ(loaded[0].nodes, (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(loaded[1].version, 0u);
  EXPECT_EQ(loaded[2].name, "b");
  EXPECT_TRUE(loaded[2].live);
  EXPECT_FALSE(loaded[3].live);
}

TEST_P(LinkSuite, EightThreadsRaceForTheSameNamesAndEachIsWonOnce) {
  const int names_count = rows(400) / 40;
  std::vector<std::vector<std::string>> won(8);
  std::vector<std::thread> racers;
  for (size_t i = 0; i < won.size(); ++i) {
    racers.emplace_back([&, i] {
      auto own = node("racer " + std::to_string(i));
      for (int n = 0; n < names_count; ++n) {
        Record claim = record("plaza", "name " + std::to_string(n));
        claim.user = own->name;
        claim.state = "\"" + own->name + "\"";
        if (put_surely(*own->link, claim, own->name)) won[i].push_back(claim.name);
      }
    });
  }
  for (std::thread& racer : racers) racer.join();
  std::map<std::string, int> times;
  for (size_t i = 0; i < won.size(); ++i) {
    for (const std::string& name : won[i]) {
      ++times[name];
      EXPECT_EQ(load_one(*node_->link, "plaza", name).user, "racer " + std::to_string(i));
    }
  }
  EXPECT_EQ(times.size(), static_cast<size_t>(names_count));
  for (const auto& [name, count] : times) EXPECT_EQ(count, 1) << name;
}

TEST_P(LinkSuite, EightProcessesRaceForTheSameNamesAndEachIsWonOnce) {
  const int names_count = rows(400) / 40;
  std::vector<std::vector<std::string>> arguments;
  for (int i = 0; i < 8; ++i) arguments.push_back({"p" + std::to_string(i), "plaza", std::to_string(names_count)});
  std::map<std::string, int> times;
  const auto won = in_processes("race", arguments);
  for (size_t i = 0; i < won.size(); ++i) {
    for (const std::string& name : won[i]) {
      ++times[name];
      EXPECT_EQ(load_one(*node_->link, "plaza", name).user, "p" + std::to_string(i));
    }
  }
  EXPECT_EQ(times.size(), static_cast<size_t>(names_count));
  for (const auto& [name, count] : times) EXPECT_EQ(count, 1) << name;
}

TEST_P(LinkSuite, EightProcessesThatCountInOneRecordMissNoNumber) {
  const int each = rows(200) / 20;
  std::vector<std::vector<std::string>> arguments;
  for (int i = 0; i < 8; ++i) {
    arguments.push_back({"p" + std::to_string(i), "plaza", "counter", std::to_string(each)});
  }
  std::set<std::string> versions;
  for (const std::vector<std::string>& lines : in_processes("count", arguments)) {
    for (const std::string& version : lines) EXPECT_TRUE(versions.insert(version).second) << version << " is won twice";
  }
  EXPECT_EQ(versions.size(), static_cast<size_t>(8 * each));
  const Record end = load_one(*node_->link, "plaza", "counter");
  if (under_test_->tells_all_winners()) {
    EXPECT_EQ(end.version, static_cast<uint64_t>(8 * each));
  }
  // Every version was made from the one before it.
  EXPECT_GE(end.version, static_cast<uint64_t>(8 * each));
  EXPECT_EQ(std::atoi(end.state.c_str()), static_cast<int>(end.version));
}

// --- read markers ---

TEST_P(LinkSuite, ReadMarkersMoveOnlyForwards) {
  fill(*node_, "plaza", 3);
  ASSERT_TRUE(
      done((*node_)->write_markers({{{"plaza", "ana"}, 2}, {{"plaza", "bea"}, 1}, {{"no such room", "ana"}, 1}})));
  ASSERT_TRUE(done((*node_)->write_markers({{{"plaza", "ana"}, 1}, {{"plaza", "bea"}, 3}})));
  ASSERT_TRUE(done((*node_)->write_markers({})));
  std::vector<Sequence> markers;
  ASSERT_TRUE(done((*node_)->read_markers("plaza", {"bea", "carl", "ana", "bea"}, markers)));
  EXPECT_EQ(markers, (std::vector<Sequence>{3, 0, 2, 3}));
  ASSERT_TRUE(done((*node_)->read_markers("empty", {"ana"}, markers)));
  EXPECT_EQ(markers, (std::vector<Sequence>{0}));
  ASSERT_TRUE(done((*node_)->read_markers("plaza", {}, markers)));
  EXPECT_TRUE(markers.empty());
}

// --- beginnings and ends ---

TEST_P(LinkSuite, ManyFirstStartsAtOnceMakeTheTablesOnce) {
  node_ = nullptr;
  under_test_ = GetParam().make();
  ASSERT_NE(under_test_, nullptr);
  in_processes("prepare", std::vector<std::vector<std::string>>(6));
  node_ = node("node-1");
  ASSERT_NE(node_, nullptr);
  EXPECT_TRUE(done(append(*node_, "plaza", texts({"a"})).failure));
}

TEST_P(LinkSuite, AServerThatDoesNotAnswerIsGivenUpWhenTheWorkerStops) {
  CuttingProxy silent(0);  // nobody listens there
  const std::string url = under_test_->url_through(silent.port());
  const std::unique_ptr<cluster::Database> database = GetParam().open(url, StoreOptions());
  CallersWorker worker;
  const std::unique_ptr<Link> link = database->link(worker);
  worker.stop();
  const auto began = std::chrono::steady_clock::now();
  Rows rows;
  EXPECT_EQ(link->read("plaza", start_of("plaza"), 1, 1, rows).trouble, Trouble::not_now);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(10));
}

}  // namespace tertulia
