#include "store/backup.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "store/open_store.h"
#include "store/store_testing.h"

namespace tertulia {
namespace {

using testing_store::Caller;
using testing_store::expect_whole_log;
using testing_store::one;
using testing_store::text_message;

struct World {
  std::unique_ptr<Store> open(const std::string& name) {
    OpenedStore opened = open_store("sqlite", directory / name, options, clock);
    EXPECT_NE(opened.store, nullptr) << opened.error;
    return std::move(opened.store);
  }
  TemporaryDirectory directory;
  testing_store::SharedManualClock clock;
  StoreOptions options;
};

// The copy is made by another process, as an operator does: opening the database twice in one process would prove less.
std::string backup_by_another_process(const std::string& from, const std::string& to) {
  int answer[2];
  EXPECT_EQ(::pipe(answer), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    std::string error = backup(from, to, nullptr);
    const ssize_t written = ::write(answer[1], error.data(), error.size());
    ::_exit(written == static_cast<ssize_t>(error.size()) ? 0 : 1);
  }
  ::close(answer[1]);
  std::string error;
  char piece[512];
  for (ssize_t got; (got = ::read(answer[0], piece, sizeof piece)) > 0;) error.append(piece, static_cast<size_t>(got));
  ::close(answer[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  return error;
}

TEST(Backup, OfALiveStoreIsWholeAndOpensAsADataDirectoryInWhichNamesWait) {
  World w;
  w.options.wal_checkpoint_bytes = 64 << 10;
  auto store = w.open("live");
  Caller caller(*store);
  const std::string padding(500, 'x');
  for (int i = 0; i < 200; ++i) caller.says("plaza", "before" + std::to_string(i), padding);
  std::atomic<bool> writing = true;
  std::thread writer([&] {
    Caller mine(*store);
    for (int i = 0; writing; ++i) {
      ASSERT_EQ(mine.says("plaza", "during" + std::to_string(i), padding).status, AppendResult::Status::done);
    }
  });
  const std::string error = backup_by_another_process(w.directory / "live", w.directory / "copy");
  writing = false;
  writer.join();
  EXPECT_EQ(error, "");
  for (int i = 0; i < 100; ++i) caller.says("plaza", "after" + std::to_string(i), padding);
  Rows live = caller.read_all("plaza");
  expect_whole_log("plaza", live);
  store->stop(true);

  auto copy = w.open("copy");
  Caller reader(*copy);
  Rows rows = reader.read_all("plaza");
  expect_whole_log("plaza", rows);
  ASSERT_GE(rows.rows.size(), 200u);
  ASSERT_LT(rows.rows.size(), live.rows.size());
  EXPECT_EQ(rows.rows.back().position(), live.rows[rows.rows.size() - 1].position()) << "the same past";
  EXPECT_EQ(reader.claim("plaza", "eve", "e").status, ClaimResult::Status::waiting);
  EXPECT_EQ(reader.says("plaza", "new", "goes on").each[0].position.sequence, rows.rows.size() + 1);
}

TEST(Backup, OfAStoreWhoseServerWasKilledHoldsWhatItsLogHolds) {
  World w;
  const pid_t child = ::fork();
  if (child == 0) {
    auto store = w.open("live");
    Caller caller(*store);
    for (int i = 0; i < 20; ++i) caller.says("plaza", "u" + std::to_string(i), "x");
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(backup_by_another_process(w.directory / "live", w.directory / "copy"), "");
  auto copy = w.open("copy");
  Caller reader(*copy);
  EXPECT_EQ(reader.read_all("plaza").rows.size(), 20u);
  auto live = w.open("live");
  Caller original(*live);
  EXPECT_EQ(original.read_all("plaza").rows.size(), 20u) << "the original is as it was";
}

TEST(Backup, OverwritesNothing) {
  World w;
  auto store = w.open("live");
  std::filesystem::create_directory(w.directory / "full");
  std::ofstream(w.directory / "full/precious") << "x";
  const std::string error = backup(w.directory / "live", w.directory / "full", nullptr);
  EXPECT_NE(error.find("not empty"), std::string::npos) << error;
  EXPECT_FALSE(std::filesystem::exists(w.directory / "full/tertulia.db"));
  EXPECT_TRUE(std::filesystem::exists(w.directory / "full/precious"));
  std::filesystem::create_directory(w.directory / "empty");
  EXPECT_EQ(backup_by_another_process(w.directory / "live", w.directory / "empty"), "");
}

TEST(Backup, ThatIsCancelledLeavesNothing) {
  World w;
  auto store = w.open("live");
  uint64_t total = 0;
  const std::string error = backup(w.directory / "live", w.directory / "copy", [&](uint64_t, uint64_t bytes_total) {
    total = bytes_total;
    return false;
  });
  EXPECT_NE(error.find("cancelled"), std::string::npos);
  EXPECT_GT(total, 0u);
  EXPECT_FALSE(std::filesystem::exists(w.directory / "copy"));
}

TEST(Backup, OfSomethingElseSaysSo) {
  World w;
  const std::string error = backup(w.directory / "nowhere", w.directory / "copy", nullptr);
  EXPECT_NE(error.find("--data-dir"), std::string::npos) << error;
  EXPECT_FALSE(std::filesystem::exists(w.directory / "copy"));
}

}  // namespace
}  // namespace tertulia
