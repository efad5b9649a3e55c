#include "store/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "store/open_store.h"
#include "store/sqlite.h"
#include "store/store_testing.h"

namespace tertulia {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_store::Caller;

// A data directory with two rooms, which a test may damage.
struct World {
  World() {
    OpenedStore opened = open_store("sqlite", directory / "data", options, clock);
    EXPECT_NE(opened.store, nullptr) << opened.error;
    store = std::move(opened.store);
    Caller caller(*store);
    for (int i = 1; i <= 5; ++i) caller.says("plaza", "p" + std::to_string(i), "text " + std::to_string(i));
    for (int i = 1; i <= 3; ++i) caller.says("Salón", "s" + std::to_string(i), "text " + std::to_string(i));
  }
  ~World() {
    if (store) store->stop(true);
  }
  void stops() {
    store->stop(true);
    store.reset();
  }
  void damage(const char* sql) {
    sqlite::Connection connection;
    ASSERT_EQ(connection.open(directory / "data/tertulia.db", SQLITE_OPEN_READWRITE, ""), SQLITE_OK);
    ASSERT_EQ(connection.run(sql), SQLITE_OK) << connection.error();
  }
  std::vector<std::string> verified() {
    std::vector<std::string> lines;
    OpenedLogSource opened = open_log_source("sqlite", directory / "data", options);
    EXPECT_NE(opened.source, nullptr) << opened.error;
    if (!opened.source) return {opened.error};
    result = verify(
        *opened.source, [&](const Misfit& each) { lines.push_back(misfit_text(each)); }, [](const Verified&) {});
    EXPECT_EQ(result.error, "");
    return lines;
  }

  TemporaryDirectory directory;
  testing_store::SharedManualClock clock;
  StoreOptions options;
  std::unique_ptr<Store> store;
  Verified result;
};

TEST(Verify, EveryChainFitsAlsoWhileTheStoreIsServed) {
  World w;
  EXPECT_THAT(w.verified(), IsEmpty());
  EXPECT_EQ(w.result.rooms, 2u);
  EXPECT_EQ(w.result.messages, 8u);
  w.stops();
  EXPECT_THAT(w.verified(), IsEmpty());
  EXPECT_EQ(w.result.messages, 8u);
}

TEST(Verify, AChangedTextIsOneFindingAndNamedByRoomAndSequence) {
  World w;
  w.stops();
  w.damage("UPDATE messages SET text = 'another' WHERE uuid = 'p3'");
  EXPECT_THAT(w.verified(),
              ElementsAre(AllOf(HasSubstr("room \"plaza\", sequence 3: has the chain"), HasSubstr("is computed"))));
  EXPECT_EQ(w.result.misfits, 1u);
  EXPECT_EQ(w.result.messages, 8u) << "what stands behind it is read all the same";
}

TEST(Verify, AMissingMessageIsFoundBetweenOthersButNotAtTheEnd) {
  World w;
  w.stops();
  w.damage("DELETE FROM messages WHERE uuid IN ('s2', 'p5')");
  EXPECT_THAT(w.verified(),
              ElementsAre(HasSubstr("room \"Salón\", sequence 2: there is no such message; the next one is 3")));
}

TEST(Verify, AMessageOfAnotherPastIsFoundWhereItBegins) {
  World w;
  w.stops();
  w.damage("UPDATE messages SET previous = zeroblob(12) WHERE uuid = 'p4'");
  EXPECT_THAT(w.verified(), ElementsAre(HasSubstr("room \"plaza\", sequence 4: continues the chain AAAAAAAAAAAAAAAA"),
                                        HasSubstr("room \"plaza\", sequence 4: has the chain")));
}

TEST(Verify, OneBadRoomDoesNotDrownTheOthersInLines) {
  World w;
  Caller caller(*w.store);
  for (int i = 6; i <= 60; ++i) caller.says("plaza", "p" + std::to_string(i), "text");
  w.stops();
  w.damage("UPDATE messages SET date = 'x' WHERE uuid LIKE 'p%'");
  EXPECT_EQ(w.verified().size(), misfits_told_max);
  EXPECT_EQ(w.result.misfits, 60u);
}

TEST(Verify, ADirectoryThatIsNoneAndAStoreThatKeepsNothingAreSaid) {
  World w;
  EXPECT_THAT(open_log_source("sqlite", w.directory / "elsewhere", w.options).error, HasSubstr("--data-dir"));
  EXPECT_THAT(open_log_source("memory", "", w.options).error, HasSubstr("keeps nothing"));
}

// A log whose head is elsewhere than its rows end, as a database of several nodes may have after a bad restore.
TEST(Verify, AHeadThatItsRowsDoNotReachIsFound) {
  struct Source final : LogSource {
    std::string rooms(const std::string& after, size_t, std::vector<std::string>& names) override {
      if (after.empty()) names = {"plaza"};
      return "";
    }
    std::string rows(const std::string&, Sequence, Rows& rows) override {
      rows.head = {7, chain_start("x")};
      return "";
    }
    std::string newest(const std::string&, Sequence& sequence) override {
      sequence = 0;
      return "";
    }
  } source;
  std::vector<std::string> lines;
  const Verified result = verify(
      source, [&](const Misfit& each) { lines.push_back(misfit_text(each)); }, [](const Verified&) {});
  EXPECT_THAT(lines, ElementsAre(HasSubstr("here the log ends, at 0-")));
  EXPECT_EQ(result.misfits, 1u);
}

// A database without heads, where a log ends where nothing continues it: what stands behind a hole is then not read.
TEST(Verify, RowsBehindAHoleAreFoundAndWhatAServerHasJustAddedIsNone) {
  struct Source final : LogSource {
    std::string rooms(const std::string& after, size_t, std::vector<std::string>& names) override {
      if (after.empty()) names = {"plaza"};
      return "";
    }
    std::string rows(const std::string& room, Sequence after, Rows& rows) override {
      Row row;
      row.sequence = after + 1;
      row.previous = after == 0 ? chain_start(room) : last;
      row.chain = chain_next(row.previous, row.sequence, row.message);
      if (after < led) {
        last = row.chain;
        rows.rows.push_back(row);
      }
      rows.head = {after == 0 && led == 0 ? 0 : led, after == 0 && led == 0 ? chain_start(room) : last};
      return "";
    }
    std::string newest(const std::string&, Sequence& sequence) override {
      if (asked++ == 0) led += growth;
      sequence = std::max(led, unled);
      return "";
    }
    Sequence led = 2, unled = 0, growth = 0;
    int asked = 0;
    Chain last{};
  };
  std::vector<std::string> lines;
  const auto all = [&](Source source) {
    lines.clear();
    return verify(
        source, [&](const Misfit& each) { lines.push_back(misfit_text(each)); }, [](const Verified&) {});
  };
  Source grows;
  grows.growth = 3;
  EXPECT_EQ(all(grows).messages, 5u);
  EXPECT_THAT(lines, IsEmpty());

  Source holed;
  holed.unled = 9;
  EXPECT_EQ(all(holed).misfits, 1u);
  EXPECT_THAT(lines, ElementsAre(HasSubstr("sequence 9: nothing leads to this message, for the log ends at 2-")));

  Source headless;
  headless.led = 0;
  headless.unled = 4;
  EXPECT_EQ(all(headless).misfits, 1u);
  EXPECT_THAT(lines, ElementsAre(HasSubstr("sequence 4: nothing leads to this message, for the log ends at 0-")));
}

}  // namespace
}  // namespace tertulia
