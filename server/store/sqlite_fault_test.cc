// What the SQLite store does when the database or the disk says no.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "base/failpoint.h"
#include "store/open_store.h"
#include "store/sqlite.h"
#include "store/store_testing.h"

namespace tertulia {
namespace {

using testing_store::Caller;
using testing_store::expect_whole_log;
using testing_store::one;
using testing_store::text_message;
using Kind = Appended::Kind;

constexpr auto kDone = AppendResult::Status::done;
constexpr auto kNotNow = AppendResult::Status::not_now;

// One data directory, whose store can be stopped, looked into, and made to fail.
struct World {
  World() {
    options.metrics = &metrics;
    options.wal_checkpoint_bytes = 64 << 10;
#ifdef TERTULIA_FAILPOINTS
    failpoint_disarm_all();
#endif
  }
  ~World() {
#ifdef TERTULIA_FAILPOINTS
    failpoint_disarm_all();
#endif
  }
  std::string path() const {
    return place.empty() ? directory / "data" : place;
  }
  std::string disk() const {
    return std::filesystem::path(place).parent_path();
  }
  void start() {
    OpenedStore opened = open_store("sqlite", path(), options, clock);
    ASSERT_NE(opened.store, nullptr) << opened.error;
    store = std::move(opened.store);
    caller = std::make_unique<Caller>(*store);
  }
  void stop() {
    store->stop(true);
    store = nullptr;
  }
  void sql(const std::string& text) {
    sqlite::Connection connection;
    ASSERT_EQ(connection.open(path() + "/tertulia.db", SQLITE_OPEN_READWRITE, ""), SQLITE_OK);
    ASSERT_EQ(connection.run(text.c_str()), SQLITE_OK) << connection.error();
  }
  // An append that is not waited for; its answer comes into `later`.
  void starts_to_say(const std::string& room, const std::string& uuid, const std::string& text) {
    store->append(room, {0, chain_start(room)}, one(text_message(uuid, "ana", text)), caller->loop(),
                  [this](AppendResult result) { later.push_back(std::move(result)); });
  }
  bool answered(size_t count) {
    return caller->loop().run_until([&] { return later.size() >= count; });
  }

  TemporaryDirectory directory{true};
  std::string place;
  SystemClock clock;
  StoreMetrics metrics;
  StoreOptions options;
  std::unique_ptr<Store> store;
  std::unique_ptr<Caller> caller;
  std::vector<AppendResult> later;
};

class SqlitePoison : public testing::TestWithParam<const char*> {};

// Of 100 messages over 10 rooms the database rejects one: 99 commit within a second, whatever the trigger does.
TEST_P(SqlitePoison, OneOfAHundredIsRefusedAndTheOthersCommitWithinASecond) {
  World w;
  w.start();
  w.stop();
  w.sql(std::string("CREATE TRIGGER poison ") + GetParam());
  w.start();
  const uint64_t commits_before = w.metrics.commits;
  const int64_t began_us = w.clock.now_us();
  std::vector<AppendResult> answers(10);
  size_t answers_count = 0;
  for (int room = 0; room < 10; ++room) {
    std::vector<Message> batch;
    for (int i = 0; i < 10; ++i) {
      const bool bad = room == 4 && i == 6;
      batch.push_back(text_message(std::to_string(i), "ana", bad ? "poison" : std::to_string(i)));
    }
    const std::string name = "room" + std::to_string(room);
    w.store->append(name, {0, chain_start(name)}, std::move(batch), w.caller->loop(), [&, room](AppendResult result) {
      answers[static_cast<size_t>(room)] = std::move(result);
      ++answers_count;
    });
  }
  ASSERT_TRUE(w.caller->loop().run_until([&] { return answers_count == 10; }));
  EXPECT_LT(w.clock.now_us() - began_us, 1'000'000);
  EXPECT_LE(w.metrics.commits - commits_before, 10u) << "no append is made to pay more than one sync";
  for (int room = 0; room < 10; ++room) {
    AppendResult& result = answers[static_cast<size_t>(room)];
    ASSERT_EQ(result.status, kDone) << result.reason;
    Sequence expected = 0;
    for (int i = 0; i < 10; ++i) {
      const Appended& each = result.each[static_cast<size_t>(i)];
      if (room == 4 && i == 6) {
        EXPECT_EQ(each.kind, Kind::refused);
        EXPECT_FALSE(each.reason.empty());
      } else {
        EXPECT_EQ(each.kind, Kind::added);
        EXPECT_EQ(each.position.sequence, ++expected);
      }
    }
    Rows rows = w.caller->read_all("room" + std::to_string(room));
    expect_whole_log("room" + std::to_string(room), rows);
    EXPECT_EQ(rows.rows.size(), room == 4 ? 9u : 10u);
  }
  EXPECT_EQ(w.metrics.refused, 1u);
}

INSTANTIATE_TEST_SUITE_P(
    , SqlitePoison,
    testing::Values("BEFORE INSERT ON messages WHEN NEW.text = 'poison' BEGIN SELECT RAISE(ABORT, 'no'); END",
                    "AFTER INSERT ON messages WHEN NEW.text = 'poison' BEGIN SELECT RAISE(ABORT, 'no'); END",
                    "AFTER INSERT ON messages WHEN NEW.text = 'poison' BEGIN SELECT RAISE(FAIL, 'no'); END",
                    "AFTER INSERT ON messages WHEN NEW.text = 'poison' BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
                    "BEFORE INSERT ON messages WHEN NEW.text = 'poison' BEGIN SELECT RAISE(IGNORE); END"));

TEST(SqliteFault, ATextBeyondWhatSqliteTakesIsRefusedAlone) {
  World w;
  w.start();
  std::vector<Message> batch;
  batch.push_back(text_message("a", "ana", "one"));
  batch.push_back(text_message("b", "ana", std::string(33 << 20, 'x')));
  batch.push_back(text_message("c", "ana", "two"));
  AppendResult result = w.caller->append("plaza", std::move(batch));
  ASSERT_EQ(result.status, kDone) << result.reason;
  EXPECT_EQ(result.each[0].position.sequence, 1u);
  EXPECT_EQ(result.each[1].kind, Kind::refused);
  EXPECT_EQ(result.each[2].position.sequence, 2u);
}

TEST(SqliteFault, ADatabaseOfANewerVersionIsLeftAlone) {
  World w;
  w.start();
  w.stop();
  w.sql("PRAGMA user_version = 2");
  OpenedStore opened = open_store("sqlite", w.path(), w.options, w.clock);
  EXPECT_EQ(opened.store, nullptr);
  EXPECT_NE(opened.error.find("newer Tertulia (schema 2"), std::string::npos) << opened.error;
}

TEST(SqliteFault, ADamagedDatabaseIsSaidToBeSo) {
  World w;
  w.start();
  w.stop();
  std::ofstream(w.path() + "/tertulia.db") << std::string(100'000, 'x');
  OpenedStore opened = open_store("sqlite", w.path(), w.options, w.clock);
  EXPECT_EQ(opened.store, nullptr);
  EXPECT_NE(opened.error.find("Restore a backup"), std::string::npos) << opened.error;
}

TEST(SqliteFault, ADirectoryThatCannotBeMadeIsSaidSo) {
  World w;
  std::ofstream(w.directory / "file") << "x";
  w.place = w.directory / "file/data";
  OpenedStore opened = open_store("sqlite", w.path(), w.options, w.clock);
  EXPECT_EQ(opened.store, nullptr);
  EXPECT_NE(opened.error.find("--data-dir"), std::string::npos) << opened.error;
}

// --- a full disk, a real one: a tmpfs of 4 MiB in a mount namespace of this thread's own ---

// False where mounting is not allowed.
bool mount_small_disk(const std::string& path) {
  if (::unshare(CLONE_NEWNS) != 0) {
    const uid_t user = ::getuid();
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    std::ofstream("/proc/self/uid_map") << "0 " << user << " 1";
  }
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  return ::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=4m") == 0;
}

// Takes all the room that is left. To be given back by removing the file.
void fill_disk(const std::string& file) {
  int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const std::string piece(4096, 'x');
  while (::write(fd, piece.data(), piece.size()) > 0) {
  }
  ::close(fd);
}

// In a process of its own, so that the namespace ends with it. 0: all was well; 77: not possible here.
int on_a_small_disk(void (*test)(World&)) {
  TemporaryDirectory mount_point;
  const pid_t child = ::fork();
  if (child == 0) {
    if (!mount_small_disk(mount_point.path())) ::_exit(77);
    {
      World w;
      w.place = mount_point / "data";
      test(w);
    }
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

#define EXPECT_WELL_ON_A_SMALL_DISK(test)                                    \
  do {                                                                       \
    const int ended = on_a_small_disk(test);                                 \
    if (ended == 77) GTEST_SKIP() << "mounting a tmpfs is not allowed here"; \
    EXPECT_EQ(ended, 0);                                                     \
  } while (false)

// Says until the disk is full. The texts that were taken are "0", "1", … padded.
int say_until_full(World& w, int from) {
  const std::string padding(2'000, 'x');
  for (int i = from; i < 5'000; ++i) {
    AppendResult result = w.caller->says("plaza", "u" + std::to_string(i), std::to_string(i) + padding);
    if (result.status == kNotNow) return i;
    EXPECT_EQ(result.each.at(0).kind, Kind::added);
  }
  ADD_FAILURE() << "4 MiB hold no 10 MB";
  return 0;
}

TEST(SqliteFullDisk, AppendsWaitWhileReadsAndClaimsGoOnAndThenEverythingGoesOn) {
  EXPECT_WELL_ON_A_SMALL_DISK([](World& w) {
    w.start();
    const int taken = say_until_full(w, 0);
    EXPECT_GT(taken, 100);
    Rows rows = w.caller->read_all("plaza");
    expect_whole_log("plaza", rows);
    EXPECT_EQ(rows.rows.size(), static_cast<size_t>(taken));
    EXPECT_EQ(w.caller->claim("plaza", "ana", "a").status, ClaimResult::Status::granted);
    EXPECT_EQ(w.caller->says("plaza", "u0", "0" + std::string(2'000, 'x')).each.at(0).kind, Kind::repeated)
        << "what is there is known on a full disk too";
    EXPECT_EQ(w.metrics.io_errors, 0u);
    ASSERT_EQ(::mount(nullptr, w.disk().c_str(), nullptr, MS_REMOUNT, "size=32m"), 0);
    AppendResult result = w.caller->says("plaza", "more", "more");
    ASSERT_EQ(result.status, kDone) << result.reason;
    EXPECT_EQ(result.each[0].position.sequence, static_cast<Sequence>(taken + 1));
    expect_whole_log("plaza", w.caller->read_all("plaza"));
  });
}

TEST(SqliteFullDisk, AKillAndARestartWhileItIsFullLoseNothing) {
  EXPECT_WELL_ON_A_SMALL_DISK([](World& w) {
    const std::string filler = w.disk() + "/filler";
    const std::string count_file = w.disk() + "/count";
    std::ofstream(count_file) << "        ";
    const pid_t child = ::fork();
    if (child == 0) {
      w.start();
      const int taken = say_until_full(w, 0);
      std::fstream(count_file, std::ios::in | std::ios::out) << taken;
      fill_disk(filler);
      ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    int taken = 0;
    std::ifstream(count_file) >> taken;
    ASSERT_GT(taken, 100);
    fill_disk(filler);
    w.start();
    ASSERT_NE(w.store, nullptr);
    Rows rows = w.caller->read_all("plaza");
    expect_whole_log("plaza", rows);
    EXPECT_EQ(rows.rows.size(), static_cast<size_t>(taken));
    EXPECT_EQ(w.caller->claim("plaza", "ana", "a", true).status, ClaimResult::Status::granted);
    // A stop on the full disk, a start without the shared memory file: this is what the ballast is for.
    w.stop();
    ::unlink((w.place + "/tertulia.db-shm").c_str());
    fill_disk(filler);
    w.start();
    ASSERT_NE(w.store, nullptr);
    EXPECT_EQ(w.caller->read_all("plaza").rows.size(), static_cast<size_t>(taken));
    fill_disk(filler);
    say_until_full(w, taken);
    const size_t now = w.caller->read_all("plaza").rows.size();
    ::unlink(filler.c_str());
    ASSERT_EQ(::mount(nullptr, w.disk().c_str(), nullptr, MS_REMOUNT, "size=32m"), 0);
    AppendResult result = w.caller->says("plaza", "more", "more");
    ASSERT_EQ(result.status, kDone) << result.reason;
    EXPECT_EQ(result.each[0].position.sequence, now + 1);
    expect_whole_log("plaza", w.caller->read_all("plaza"));
  });
}

// --- a failing disk ---

#ifdef TERTULIA_FAILPOINTS

class SqliteDisk : public testing::TestWithParam<const char*> {};

// Whatever fails once, or for a while: every append is answered in the end, once, with its place; nothing is lost,
// repeated or reordered.
TEST_P(SqliteDisk, AFailureIsMendedAndEveryMessageIsAnsweredWithItsPlace) {
  World w;
  w.start();
  const std::string padding(1'000, 'x');
  for (int i = 0; i < 20; ++i) w.caller->says("plaza", "early" + std::to_string(i), padding);
  failpoint_arm(GetParam());
  constexpr size_t kMessages = 200;
  for (size_t i = 0; i < kMessages; ++i) {
    w.starts_to_say("plaza", "u" + std::to_string(i), padding);
    // In small groups, so that the failure finds batches of several sizes and a checkpoint in between.
    if (i % 10 == 9) {
      ASSERT_TRUE(w.answered(i + 1));
    }
  }
  ASSERT_TRUE(w.answered(kMessages));
  for (size_t i = 0; i < kMessages; ++i) {
    ASSERT_EQ(w.later[i].status, kDone) << w.later[i].reason;
    EXPECT_EQ(w.later[i].each[0].kind, Kind::added);
    EXPECT_EQ(w.later[i].each[0].position.sequence, 20 + i + 1);
  }
  EXPECT_GE(w.metrics.io_errors, 1u) << "the failure did not happen";
  EXPECT_EQ(w.metrics.io_errors, w.metrics.reopens);
  Rows rows = w.caller->read_all("plaza");
  EXPECT_EQ(rows.rows.size(), 20 + kMessages);
  expect_whole_log("plaza", rows);
  w.stop();
  w.start();
  expect_whole_log("plaza", w.caller->read_all("plaza"));
}

INSTANTIATE_TEST_SUITE_P(, SqliteDisk,
                         testing::Values("in_wal_sync:3=error", "in_checkpoint=error", "before_commit:2=error",
                                         "after_commit_before_answer:2=error", "disk_broken:7=error",
                                         "disk_broken:4=error_for_700", "in_wal_sync:2=error_for_700",
                                         "after_commit_before_answer=error,while_opening=error_for_300"));

TEST(SqliteFault, WhileTheDiskIsBrokenOnlyWhatWasProvenDurableIsShown) {
  World w;
  w.start();
  for (int i = 0; i < 5; ++i) w.caller->says("plaza", "early" + std::to_string(i), "x");
  w.caller->says("patio", "elsewhere", "x");
  w.stop();
  w.start();
  w.caller->says("plaza", "early5", "x");
  // Committed, but then the disk fails and stays broken: the row is in the log, and nobody can know for how long.
  failpoint_arm("after_commit_before_answer=error,while_opening:1+=error");
  w.starts_to_say("plaza", "late", "x");
  w.starts_to_say("new room", "first", "x");
  ASSERT_TRUE(eventually([&] { return failpoint_passes("while_opening") >= 2; }));
  Rows rows = w.caller->read_all("plaza");
  expect_whole_log("plaza", rows);
  EXPECT_EQ(rows.rows.size(), 6u) << "what was durable before is still served, and no more";
  EXPECT_TRUE(w.caller->find("plaza", "late").rows.empty());
  EXPECT_EQ(w.caller->last("plaza", 1).rows.at(0).message.uuid, "early5");
  EXPECT_EQ(w.caller->read_all("patio").rows.size(), 1u) << "rooms of before the start too";
  EXPECT_EQ(w.caller->read_all("new room").rows.size(), 0u);
  EXPECT_EQ(w.caller->claim("plaza", "ana", "a").status, ClaimResult::Status::granted);
  EXPECT_TRUE(w.later.empty()) << "nobody is told a guess";
  failpoint_disarm_all();
  ASSERT_TRUE(w.answered(2));
  EXPECT_EQ(w.later[0].each.at(0).kind, Kind::added);
  EXPECT_EQ(w.later[0].each.at(0).position.sequence, 7u);
  EXPECT_EQ(w.caller->read_all("plaza").rows.size(), 7u);
  expect_whole_log("plaza", w.caller->read_all("plaza"));
}

TEST(SqliteFault, ADiskThatCannotBeReadIsNotNowAndThenGoesOn) {
  World w;
  w.start();
  for (int i = 0; i < 5; ++i) w.caller->says("plaza", "u" + std::to_string(i), "x");
  w.stop();
  w.start();
  failpoint_arm("disk_unreadable:1+=error");
  EXPECT_EQ(w.caller->last("plaza", 10).status, Rows::Status::not_now);
  failpoint_disarm_all();
  EXPECT_EQ(w.caller->last("plaza", 10).rows.size(), 5u);
}

TEST(SqliteFault, AFullDiskIsNotNowForTheWholeBatchAndNothingOfItIsThere) {
  World w;
  w.start();
  w.caller->says("plaza", "u1", "one");
  failpoint_arm("disk_full:1+=error");
  std::vector<Message> batch;
  for (int i = 2; i < 50; ++i) batch.push_back(text_message("u" + std::to_string(i), "ana", "x"));
  AppendResult result = w.caller->append("plaza", batch);
  EXPECT_EQ(result.status, kNotNow);
  EXPECT_FALSE(result.reason.empty());
  EXPECT_EQ(w.caller->read_all("plaza").rows.size(), 1u);
  failpoint_disarm_all();
  result = w.caller->append("plaza", batch);
  ASSERT_EQ(result.status, kDone);
  EXPECT_EQ(result.each[0].kind, Kind::added);
  expect_whole_log("plaza", w.caller->read_all("plaza"));
  EXPECT_EQ(w.metrics.io_errors, 0u);
}

TEST(SqliteFault, AStopWhileTheDiskIsBrokenEndsAndTheNextStartIsWhole) {
  World w;
  w.start();
  w.caller->says("plaza", "u1", "one");
  failpoint_arm("disk_broken:1+=error");
  w.starts_to_say("plaza", "u2", "two");
  ASSERT_TRUE(eventually([&] { return w.metrics.io_errors >= 1; }));
  w.stop();
  EXPECT_TRUE(w.later.empty()) << "undecided is not answered";
  failpoint_disarm_all();
  w.start();
  Rows rows = w.caller->read_all("plaza");
  expect_whole_log("plaza", rows);
  EXPECT_GE(rows.rows.size(), 1u);
  EXPECT_EQ(w.caller->claim("plaza", "eve", "e").status, ClaimResult::Status::waiting) << "it did not end empty";
}

TEST(SqliteFault, ASlowDiskSlowsAppendsAndNotReads) {
  World w;
  w.start();
  w.caller->says("plaza", "u1", "one");
  failpoint_arm("in_wal_sync=sleep_400");
  const int64_t began_us = w.clock.now_us();
  w.starts_to_say("plaza", "u2", "two");
  ASSERT_TRUE(eventually([&] { return failpoint_passes("in_wal_sync") >= 1; }));
  EXPECT_EQ(w.caller->read_all("plaza").rows.size(), 1u) << "not visible before it is durable";
  EXPECT_LT(w.clock.now_us() - began_us, 350'000);
  ASSERT_TRUE(w.answered(1));
  EXPECT_GE(w.clock.now_us() - began_us, 400'000);
  EXPECT_EQ(w.caller->read_all("plaza").rows.size(), 2u);
}

#endif

}  // namespace
}  // namespace tertulia
