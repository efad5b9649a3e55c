#include "node/bus_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tertulia {
namespace {

// One line of a story: what happens at a time (ms), and what the step after it says.
struct Moment {
  int64_t at_ms;
  std::vector<std::string> heard = {};
  bool returned = false;
  std::vector<std::string> peers = {"b"};
  bool beats = false, compares = false;
};

void expect_story(const std::vector<Moment>& story, const std::string& self = "a") {
  BusWatch watch;
  for (const Moment& moment : story) {
    SCOPED_TRACE(moment.at_ms);
    const int64_t now_us = 1'000'000'000 + moment.at_ms * 1000;
    for (const std::string& node : moment.heard) watch.heard(node, now_us);
    if (moment.returned) watch.returned();
    const BusWatch::Effects effects = watch.step(self, moment.peers, now_us);
    EXPECT_EQ(effects.beat, moment.beats) << "beat";
    EXPECT_EQ(effects.compare, moment.compares) << "compare";
    EXPECT_GT(effects.next_us, now_us);
    EXPECT_LE(effects.next_us, now_us + 500'000);
  }
}

TEST(BusWatch, BeatsEveryHalfSecond) {
  expect_story({{.at_ms = 0, .peers = {}, .beats = true},
                {.at_ms = 499, .peers = {}},
                {.at_ms = 500, .peers = {}, .beats = true},
                {.at_ms = 900, .peers = {}},
                {.at_ms = 5'000, .peers = {}, .beats = true},
                {.at_ms = 5'499, .peers = {}}});
}

TEST(BusWatch, NothingIsComparedWhileEveryPeerIsHeard) {
  std::vector<Moment> story;
  for (int64_t ms = 0; ms <= 10'000; ms += 500) story.push_back({.at_ms = ms, .heard = {"b"}, .beats = true});
  expect_story(story);
}

TEST(BusWatch, APeerThatIsNotHeardForASecondIsAReasonToCompareEachSecondUntilItIsHeardOnceMore) {
  expect_story({{.at_ms = 0, .heard = {"b"}, .beats = true},
                {.at_ms = 999, .beats = true},
                {.at_ms = 1'000, .compares = true},
                {.at_ms = 1'999, .beats = true},
                {.at_ms = 2'000, .compares = true},
                {.at_ms = 2'500, .beats = true},
                {.at_ms = 3'100, .beats = true, .compares = true},
                {.at_ms = 3'200, .heard = {"b"}, .compares = true},  // what it told just before is lost
                {.at_ms = 4'100, .heard = {"b"}, .beats = true},
                {.at_ms = 4'900, .beats = true}});
}

TEST(BusWatch, APeerThatWasNeverHeardHasASecondToo) {
  expect_story({{.at_ms = 0, .peers = {}, .beats = true},
                {.at_ms = 5'000, .beats = true},
                {.at_ms = 5'900, .beats = true},
                {.at_ms = 6'000, .compares = true}});
}

TEST(BusWatch, WhatADeadPeerLeftIsLookedForOnceMoreAndNeverAgain) {
  expect_story({{.at_ms = 0, .heard = {"b"}, .beats = true},
                {.at_ms = 1'000, .beats = true, .compares = true},
                {.at_ms = 1'300, .peers = {}, .compares = true},
                {.at_ms = 2'300, .peers = {}, .beats = true},
                {.at_ms = 9'000, .peers = {}, .beats = true}});
}

TEST(BusWatch, APeerThatLeavesWhileItIsHeardIsNoReason) {
  expect_story({{.at_ms = 0, .heard = {"b"}, .beats = true},
                {.at_ms = 500, .peers = {}, .beats = true},
                {.at_ms = 3'000, .peers = {}, .beats = true}});
}

TEST(BusWatch, WhoIsHeardBeforeItsLeaseIsKnownIsNotTakenForSilent) {
  expect_story({{.at_ms = 0, .heard = {"b"}, .peers = {}, .beats = true},
                {.at_ms = 900, .heard = {"b"}, .beats = true},
                {.at_ms = 1'800, .beats = true},
                {.at_ms = 1'900, .compares = true}});
}

TEST(BusWatch, AfterAReturnHeadsAreComparedAtOnceAlsoWithoutPeers) {
  expect_story({{.at_ms = 0, .peers = {}, .beats = true},
                {.at_ms = 100, .returned = true, .peers = {}, .compares = true},
                {.at_ms = 200, .peers = {}},
                {.at_ms = 300, .returned = true, .peers = {}, .compares = true}});
}

TEST(BusWatch, AStoreThatOneNodeHasAloneNeedsNothing) {
  expect_story({{.at_ms = 0, .peers = {}}, {.at_ms = 2'000, .returned = true, .peers = {}}}, "");
}

// Between two steps the process was stopped: then nobody was heard, whatever they told.
TEST(BusWatch, AfterAPauseOfItsOwnItComparesOnce) {
  expect_story({{.at_ms = 0, .heard = {"b"}, .beats = true},
                {.at_ms = 30'000, .beats = true, .compares = true},
                {.at_ms = 30'001, .heard = {"b"}, .compares = true},
                {.at_ms = 30'002, .heard = {"b"}}});
}

}  // namespace
}  // namespace tertulia
