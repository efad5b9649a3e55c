#include "store/postgres/reply.h"

#include <gtest/gtest.h>

namespace tertulia::postgres {
namespace {

using cluster::Trouble;

Reply error(const std::string& severity, const std::string& sqlstate, bool ended = false) {
  return {.ended = ended, .ready = severity == "ERROR", .severity = severity, .sqlstate = sqlstate};
}

TEST(Reply, OnlyAServerThatIsReadyAgainHasCommitted) {
  EXPECT_EQ(trouble_of({.ended = true, .ready = true}), Trouble::none);
  EXPECT_EQ(trouble_of({.ended = true}), Trouble::unknown) << "the end of the statement is told before its commit";
  EXPECT_EQ(trouble_of({}), Trouble::unknown) << "the connection was lost";
  EXPECT_EQ(trouble_of({.ready = true}), Trouble::unknown);
}

TEST(Reply, ACommitWithAWarningIsUnknownAndItsConnectionIsKeptForTheMark) {
  EXPECT_EQ(trouble_of({.ended = true, .ready = true, .warned = true}), Trouble::unknown);
  EXPECT_FALSE(connection_is_useless({.ended = true, .ready = true, .warned = true}));
}

TEST(Reply, AnErrorAboutAMessageIsToldAsSuch) {
  for (const char* code : {"22021", "22P02", "22001", "23505", "23514", "23000", "P0001", "54000"}) {
    EXPECT_EQ(trouble_of(error("ERROR", code)), Trouble::message) << code;
    EXPECT_EQ(trouble_of(error("ERROR", code, true)), Trouble::message) << code << " at the commit";
    EXPECT_FALSE(connection_is_useless(error("ERROR", code))) << code;
  }
}

TEST(Reply, AnyOtherErrorHasDoneNothing) {
  for (const char* code : {"55P03", "40P01", "40001", "25006", "53100", "53200", "53300", "57014", "57P01", "42P01",
                           "42501", "26000", "XX000", "58030", "P0002"}) {
    EXPECT_EQ(trouble_of(error("ERROR", code)), Trouble::not_now) << code;
  }
  EXPECT_EQ(trouble_of(error("ERROR", "40003")), Trouble::unknown);
  EXPECT_EQ(trouble_of(error("ERROR", "08006")), Trouble::unknown);
}

TEST(Reply, ASessionThatEndsBeforeItsStatementHasDoneNothingAndLaterNobodyKnows) {
  EXPECT_EQ(trouble_of(error("FATAL", "57P01")), Trouble::not_now);
  EXPECT_EQ(trouble_of(error("FATAL", "57P01", true)), Trouble::unknown);
  Reply warned = error("FATAL", "57P01");
  warned.warned = true;
  EXPECT_EQ(trouble_of(warned), Trouble::unknown);
  EXPECT_EQ(trouble_of(error("PANIC", "58030")), Trouble::unknown);
}

TEST(Reply, AStandbyOrAnotherServersPreparedStatementsNeedANewConnection) {
  for (const char* code : {"25006", "26000", "0A000", "57P01", "57P03", "08006"}) {
    EXPECT_TRUE(connection_is_useless(error("ERROR", code))) << code;
  }
  EXPECT_TRUE(connection_is_useless(error("FATAL", "57P01")));
  EXPECT_TRUE(connection_is_useless({.ended = true}));
  for (const char* code : {"55P03", "40P01", "53100"})
    EXPECT_FALSE(connection_is_useless(error("ERROR", code))) << code;
}

}  // namespace
}  // namespace tertulia::postgres
