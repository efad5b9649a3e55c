#include "store/cluster/lease.h"

#include <gtest/gtest.h>

namespace tertulia::cluster {
namespace {

constexpr int64_t second = 1'000'000;

// One node's lease over a record that is put and looked at by hand.
struct Node {
  explicit Node(std::string name = "n1") : lease(LeaseTimes(6'000, 2'000), std::move(name)) {}

  Put begin() {
    EXPECT_EQ(lease.step(now_us), OwnLease::Step::renew);
    return lease.attempt(now_us);
  }
  // What a database does with it.
  void land(Put& put) {
    if (put.record.version != stands.version) return;
    stands = put.record;
    ++stands.version;
    put.won = true;
  }
  void renew() {
    Put put = begin();
    land(put);
    lease.attempted(put, {}, now_us);
  }
  void declare_dead() {
    ++stands.version;
    stands.live = false;
    stands.state = "{\"ended\":\"declared dead\"}";
  }

  int64_t now_us = 100 * second;
  Record stands;
  OwnLease lease;
};

TEST(OwnLease, HoldsFromTheBeginningOfItsRenewalAndAShareLessThanPeersWait) {
  Node n;
  EXPECT_FALSE(n.lease.holds(n.now_us));
  Put put = n.begin();
  const int64_t began_us = n.now_us;
  n.now_us += 3 * second;  // the database takes its time
  n.land(put);
  n.lease.attempted(put, {}, n.now_us);
  EXPECT_TRUE(n.lease.holds(n.now_us));
  EXPECT_LT(n.lease.holds_until_us(), began_us + 6 * second);
  EXPECT_GT(n.lease.holds_until_us(), began_us + 5 * second);
}

TEST(OwnLease, ARenewalThatTookLongerThanTheLeaseDoesNotHold) {
  Node n;
  Put put = n.begin();
  n.now_us += 7 * second;
  n.land(put);
  n.lease.attempted(put, {}, n.now_us);
  EXPECT_FALSE(n.lease.holds(n.now_us));
  EXPECT_EQ(n.lease.step(n.now_us), OwnLease::Step::renew) << "it stands, so it is renewed";
  n.renew();
  EXPECT_TRUE(n.lease.holds(n.now_us));
  EXPECT_FALSE(n.lease.lost());
}

TEST(OwnLease, IsRenewedInTimeAndNotBefore) {
  Node n;
  n.renew();
  EXPECT_EQ(n.lease.step(n.now_us + 2 * second - 1), OwnLease::Step::none);
  EXPECT_EQ(n.lease.step(n.now_us + 2 * second), OwnLease::Step::renew);
}

TEST(OwnLease, OneThatCouldNotBeRenewedAndWasNotDeclaredDeadHoldsAgain) {
  Node n;
  n.renew();
  n.now_us += 2 * second;
  for (int i = 0; i < 40; ++i) {
    if (n.lease.step(n.now_us) == OwnLease::Step::renew) {
      n.lease.attempted(n.begin(), {Trouble::not_now, "away"}, n.now_us);
    }
    n.now_us += second / 4;
  }
  EXPECT_FALSE(n.lease.holds(n.now_us));
  n.renew();
  EXPECT_TRUE(n.lease.holds(n.now_us));
}

TEST(OwnLease, OneThatWasDeclaredDeadIsLostForGood) {
  Node n;
  n.renew();
  n.now_us += 10 * second;
  n.declare_dead();
  Put put = n.begin();
  n.land(put);
  EXPECT_FALSE(put.won);
  n.lease.attempted(put, {}, n.now_us);
  ASSERT_EQ(n.lease.step(n.now_us), OwnLease::Step::look);
  n.lease.looked(n.stands);
  EXPECT_TRUE(n.lease.lost());
  EXPECT_FALSE(n.lease.holds(n.now_us));
  EXPECT_EQ(n.lease.step(n.now_us), OwnLease::Step::none);
}

TEST(OwnLease, ARenewalWhoseReplyWasLostCountsFromItsOwnBeginning) {
  Node n;
  n.renew();
  n.now_us += 2 * second;
  const int64_t began_us = n.now_us;
  Put put = n.begin();
  n.land(put);
  n.lease.attempted(put, {Trouble::unknown, "reply lost"}, n.now_us);
  n.now_us += 3 * second;
  ASSERT_EQ(n.lease.step(n.now_us), OwnLease::Step::look);
  n.lease.looked(n.stands);
  EXPECT_LT(n.lease.holds_until_us(), began_us + 6 * second) << "not from when it was looked at";
  EXPECT_GT(n.lease.holds_until_us(), began_us + 5 * second);
}

TEST(OwnLease, AnOldRenewalThatLandsLateCountsFromItsOwnBeginningToo) {
  Node n;
  n.renew();
  n.now_us += 2 * second;
  Put early = n.begin();
  n.lease.attempted(early, {Trouble::unknown, "reply lost"}, n.now_us);
  n.lease.looked(n.stands);  // it has not landed yet
  const int64_t early_us = n.now_us;
  n.now_us += 3 * second;
  Put second_try = n.begin();
  n.land(early);
  n.land(second_try);
  EXPECT_FALSE(second_try.won);
  n.lease.attempted(second_try, {}, n.now_us);
  n.lease.looked(n.stands);
  EXPECT_FALSE(n.lease.lost());
  EXPECT_LT(n.lease.holds_until_us(), early_us + 6 * second);
}

TEST(OwnLease, AStoreThatWentBackIsALossForTheNamesWentBackToo) {
  Node n;
  n.renew();
  const Record old = n.stands;
  n.now_us += 2 * second;
  n.renew();
  n.lease.doubt();
  ASSERT_EQ(n.lease.step(n.now_us), OwnLease::Step::look);
  n.lease.looked(old);
  EXPECT_TRUE(n.lease.lost());
}

TEST(OwnLease, GivingItBackMakesEveryRenewalFail) {
  Node n;
  n.renew();
  Put back = n.lease.give_back();
  Put late = n.lease.attempt(n.now_us);
  n.land(back);
  EXPECT_TRUE(back.won);
  EXPECT_FALSE(n.stands.live);
  n.land(late);
  EXPECT_FALSE(late.won);
}

// What one node sees of another, which renews unless told otherwise.
struct Sight {
  explicit Sight(std::string name = "peer") {
    peer.name = std::move(name);
    peer.version = 1;
    peer.live = true;
  }

  // A look that takes `took_us`.
  void look(int64_t took_us = 1'000) {
    const int64_t began_us = now_us;
    now_us += took_us;
    std::vector<Record> leases;
    if (listed) leases.push_back(peer);
    for (const std::string& node : peers.missing(leases)) {
      leases.push_back(peer);
      leases.back().name = node;
    }
    peers.looked(leases, "me", began_us, now_us, connects);
  }
  void pass(int64_t us, bool renewing = false) {
    const int64_t until_us = now_us + us;
    while (now_us < until_us) {
      now_us += second / 2;
      if (renewing) ++peer.version;
      look();
    }
  }
  bool overdue() const { return !peers.overdue("me").empty(); }

  int64_t now_us = 100 * second;
  Record peer;
  bool listed = true;
  uint64_t connects = 1;
  Peers peers{LeaseTimes(6'000, 2'000)};
};

TEST(Peers, OneThatDoesNotRenewIsOverdueAfterItsLeaseAndNotBefore) {
  Sight s;
  s.look();
  s.pass(5 * second);
  EXPECT_FALSE(s.overdue());
  s.pass(2 * second);
  ASSERT_TRUE(s.overdue());
  const Put put = s.peers.overdue("me").front();
  EXPECT_EQ(put.record.name, "peer");
  EXPECT_EQ(put.record.version, s.peer.version) << "so that a renewal meanwhile makes it fail";
  EXPECT_FALSE(put.record.live);
}

// While an operator changes the lease, node by node.
TEST(Peers, OneIsCountedByItsOwnLeaseAndNotByWhoeverCounts) {
  Sight s;
  OwnLease lease(LeaseTimes(30'000, 10'000), "peer");
  s.peer.state = lease.attempt(s.now_us).record.state;
  s.look();
  for (int i = 0; i < 5; ++i) {
    s.pass(10 * second);
    EXPECT_FALSE(s.overdue()) << "it renews as often as it says";
    s.peer.state = lease.attempt(s.now_us).record.state;
    ++s.peer.version;
    s.look();
  }
  s.pass(29 * second);
  EXPECT_FALSE(s.overdue());
  s.pass(2 * second);
  EXPECT_TRUE(s.overdue());
}

TEST(Peers, OneThatRenewsIsNeverOverdue) {
  Sight s;
  s.look();
  for (int i = 0; i < 20; ++i) {
    s.pass(2 * second);
    ++s.peer.version;
    EXPECT_FALSE(s.overdue());
  }
}

TEST(Peers, AGapInOurOwnReadingRestartsTheCount) {
  // Each of them lasts 5 s of a peer that does not renew, and ends with a look.
  const std::vector<std::pair<const char*, std::function<void(Sight&)>>> gaps = {
      {"we were paused", [](Sight& s) { s.now_us += 5 * second; }},
      {"a look failed",
       [](Sight& s) {
         s.pass(4 * second);
         s.peers.look_failed();
       }},
      {"a look took long", [](Sight& s) { s.look(5 * second); }},
      {"we connected anew",
       [](Sight& s) {
         s.pass(4 * second);
         ++s.connects;
       }},
  };
  for (const auto& [name, gap] : gaps) {
    SCOPED_TRACE(name);
    Sight s;
    s.look();
    s.pass(3 * second);
    gap(s);
    s.look();
    EXPECT_FALSE(s.overdue());
    s.pass(5 * second);
    EXPECT_FALSE(s.overdue()) << "the count began again";
    s.pass(2 * second);
    EXPECT_TRUE(s.overdue());
  }
}

TEST(Peers, ARecordThatIsMissingIsNobodysDeathAndIsCountedLikeOneThatDoesNotChange) {
  Sight s;
  s.look();
  s.listed = false;
  s.peer.version = 0;
  s.peer.live = false;
  s.pass(4 * second);
  EXPECT_TRUE(s.peers.gone().empty());
  EXPECT_FALSE(s.overdue());
  s.pass(4 * second);
  EXPECT_TRUE(s.overdue());
}

TEST(Peers, OneWhoseLeaseHasEndedIsGoneAtOnce) {
  Sight s;
  s.look();
  s.listed = false;
  s.peer.live = false;
  ++s.peer.version;
  s.pass(second / 2);
  EXPECT_EQ(s.peers.gone(), std::vector<std::string>{"peer"});
  EXPECT_TRUE(s.peers.alive().empty());
  EXPECT_FALSE(s.overdue());
}

TEST(Peers, OneselfIsNobodysPeer) {
  Sight s("me");
  s.look();
  s.pass(10 * second);
  EXPECT_FALSE(s.overdue());
  EXPECT_TRUE(s.peers.alive().empty());
}

TEST(Peers, ADeclarationLosesAgainstARenewal) {
  Sight s;
  s.look();
  s.pass(7 * second);
  const Put put = s.peers.overdue("me").front();
  ++s.peer.version;
  EXPECT_NE(put.record.version, s.peer.version);
}

TEST(Estate, IsToldFromALease) {
  EXPECT_EQ(estate_node(estate_name("n1")), "n1");
  EXPECT_EQ(estate_node("n1"), "");
}

}  // namespace
}  // namespace tertulia::cluster
