#include "store/sqlite_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "store/store_testing.h"

namespace tertulia {
namespace {

using testing_store::Caller;
using testing_store::expect_whole_log;
using testing_store::one;
using testing_store::text_message;

// One data directory, served by one store at a time.
struct World {
  void start() {
    options.metrics = &metrics;
    OpenedStore opened = open_store("sqlite", directory / "data", options, clock);
    ASSERT_NE(opened.store, nullptr) << opened.error;
    store = std::move(opened.store);
    caller = std::make_unique<Caller>(*store);
  }
  void stop(bool empty = true) {
    store->stop(empty);
    store = nullptr;
    caller = nullptr;
  }

  TemporaryDirectory directory;
  testing_store::SharedManualClock clock;
  StoreMetrics metrics;
  StoreOptions options;
  std::unique_ptr<Store> store;
  std::unique_ptr<Caller> caller;
};

TEST(SqliteStore, WhatWasAppendedIsThereAfterARestart) {
  World w;
  w.start();
  for (int i = 0; i < 10; ++i) {
    AppendResult result = w.caller->says("plaza", "u" + std::to_string(i), "hello " + std::to_string(i));
    ASSERT_EQ(result.status, AppendResult::Status::done) << result.reason;
    EXPECT_EQ(result.each[0].kind, Appended::Kind::added);
    EXPECT_EQ(result.each[0].position.sequence, static_cast<Sequence>(i + 1));
  }
  w.stop();
  w.start();
  Rows rows = w.caller->read_all("plaza");
  EXPECT_EQ(rows.rows.size(), 10u);
  expect_whole_log("plaza", rows);
  AppendResult again = w.caller->says("plaza", "u3", "hello 3");
  EXPECT_EQ(again.each[0].kind, Appended::Kind::repeated);
  EXPECT_EQ(again.each[0].position, rows.rows[3].position());
  EXPECT_EQ(w.caller->says("plaza", "u3", "another text").each[0].kind, Appended::Kind::conflict);
  EXPECT_EQ(w.caller->says("plaza", "u10", "more").each[0].position.sequence, 11u);
}

TEST(SqliteStore, TheDirectoryIsForItsOwnerOnly) {
  World w;
  w.start();
  struct stat status {};
  ASSERT_EQ(::stat((w.directory / "data").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST(SqliteStore, ASecondOneOnTheSameDirectorySaysSo) {
  World w;
  w.start();
  OpenedStore second = open_store("sqlite", w.directory / "data", w.options, w.clock);
  EXPECT_EQ(second.store, nullptr);
  EXPECT_NE(second.error.find("is in use by process " + std::to_string(::getpid())), std::string::npos) << second.error;
  EXPECT_EQ(w.caller->says("plaza", "u", "the first one goes on").status, AppendResult::Status::done);
}

TEST(SqliteStore, AfterARunThatDidNotEndEmptyNamesWaitForThoseWhoReturn) {
  World w;
  w.start();
  EXPECT_EQ(w.caller->claim("plaza", "ana", "a").status, ClaimResult::Status::granted);
  w.stop(false);
  w.start();
  EXPECT_EQ(w.caller->claim("plaza", "eve", "a").status, ClaimResult::Status::waiting);
  EXPECT_EQ(w.caller->claim("plaza", "ana", "a", true).status, ClaimResult::Status::granted);
  w.clock.advance_ms(10'000);
  EXPECT_TRUE(w.caller->release("plaza", "ana", true).left);
  w.stop(true);
  w.start();
  EXPECT_EQ(w.caller->claim("plaza", "eve", "a").status, ClaimResult::Status::granted);
}

TEST(SqliteStore, WhomTheEndCutsOffFindsHisNameAgain) {
  World w;
  w.start();
  EXPECT_EQ(w.caller->claim("plaza", "ana", "a").status, ClaimResult::Status::granted);
  // As a drain ends: nobody is present any more.
  EXPECT_FALSE(w.caller->release("plaza", "ana", false).left);
  w.stop(true);
  w.start();
  EXPECT_EQ(w.caller->claim("plaza", "eve", "a").status, ClaimResult::Status::waiting);
  EXPECT_EQ(w.caller->claim("plaza", "ana", "a", true).status, ClaimResult::Status::granted);
}

TEST(SqliteStore, ReadMarkersOutliveTheStore) {
  World w;
  w.start();
  w.caller->says("plaza", "u1", "one");
  w.store->mark_read("plaza", "ana", 7);
  w.store->mark_read("plaza", "ana", 5);
  EXPECT_EQ(w.caller->marker("plaza", "ana"), 7u);
  w.stop();
  w.start();
  EXPECT_EQ(w.caller->marker("plaza", "ana"), 7u);
  w.store->mark_read("plaza", "ana", 6);
  w.stop();
  w.start();
  EXPECT_EQ(w.caller->marker("plaza", "ana"), 7u);
}

}  // namespace
}  // namespace tertulia
