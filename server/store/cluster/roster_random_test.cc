// Nodes that come, go, are paused, are killed and lose replies, and users who contend for names, at random. At every
// moment a name has at most one user who may speak under it; whoever joined leaves once; in the end nothing is left.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "store/cluster/claim_record.h"
#include "store/cluster/lease.h"
#include "store/cluster/roster_world.h"

namespace tertulia::cluster {
namespace {

using testing_roster::Node;
using testing_roster::World;
using How = World::How;
using Status = ClaimResult::Status;

class Tale {
 public:
  Tale(uint64_t seed, bool kills)
      : random_(seed),
        kills_(kills),
        w_(0, {.reads_need_mark = random_.below(2) == 0, .judges_leases = random_.below(2) == 0}, seed) {
    for (int i = 0; i < 3; ++i) begin_node();
  }

  void run() {
    for (int step = 0; step < 150 && !testing::Test::HasFailure(); ++step) {
      act();
      w_.pass_ms(static_cast<int64_t>(random_.below(4) == 0 ? random_.below(4'000) : random_.below(300)) + 1);
      check();
    }
    heal();
  }

  uint64_t granted = 0, deaths = 0, lost = 0, nested = 0;  // that it really happened

 private:
  struct Session {
    size_t node;
    std::string user, name;
  };

  void begin_node() {
    Node& node = w_.start_node();
    const size_t index = w_.nodes.size() - 1;
    node.on_departed = [this](const std::string&, const std::string& user) { --balance_[user]; };
    node.on_arrived = [this](const std::string&, const std::string& user) { ++balance_[user]; };
    node.on_name_lost = [this, index](const std::string&, const std::string& name, const std::string& user) {
      ++lost;
      for (size_t i = sessions_.size(); i-- > 0;) {
        const Session session = sessions_[i];
        if (session.node == index && session.user == user && session.name == name) close(i, How::unclean);
      }
    };
    node.database.on_step([this, index](const ModelStep& step) { return trouble(index, step); });
  }

  ModelFault trouble(size_t index, const ModelStep& step) {
    if (healing_) return ModelFault::none;
    // A pause in the middle of a call, in which the others go on.
    if (nested_ == 0 && random_.below(400) == 0) {
      ++nested;
      ++nested_;
      w_[index].paused = true;
      w_.pass_ms(static_cast<int64_t>(random_.below(25'000)) + 1, 250);
      check();
      w_[index].paused = false;
      --nested_;
    }
    if (step.after) return ModelFault::none;
    if (random_.below(4) == 0) w_.clock.advance_us(static_cast<int64_t>(random_.below(30'000)));
    if (random_.below(25) != 0) return ModelFault::none;
    constexpr ModelFault faults[] = {ModelFault::not_now,   ModelFault::lost_before, ModelFault::lost_after,
                                     ModelFault::lost_half, ModelFault::warning,     ModelFault::late};
    return faults[random_.below(std::size(faults))];
  }

  size_t any_node() { return random_.below(w_.nodes.size()); }

  void act() {
    switch (random_.below(14)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4: come(); break;
      case 5:
      case 6:
      case 7:
        if (!sessions_.empty()) close(random_.below(sessions_.size()), static_cast<How>(random_.below(3)));
        break;
      case 8: {
        Node& node = w_[any_node()];
        node.paused = !node.paused && random_.below(2) == 0;
        break;
      }
      case 9: w_.servers->land_one(); break;
      case 10: {
        Node& node = w_[any_node()];
        node.database.be_away(random_.below(3) == 0);
        break;
      }
      case 11: w_[any_node()].paused = false; break;
      case 12:
        if (kills_ && random_.below(3) == 0) {
          const size_t dead = any_node();
          if (!w_[dead].killed) {
            w_.kill(dead);
            ++deaths;
            std::erase_if(sessions_, [&](const Session& session) { return session.node == dead; });
            begin_node();
          }
        }
        break;
      default: break;
    }
  }

  void come() {
    const size_t node = any_node();
    if (w_[node].killed) return;
    const uint64_t number = random_.below(7);
    const std::string user = "user" + std::to_string(number), name = "name" + std::to_string(number % 3);
    w_.roster(node).claim({w_.room, name, name, user, false}, w_[node].executor,
                          [this, node, user, name](ClaimResult result) {
                            if (result.status != Status::granted) return;
                            ++granted;
                            if (result.first) ++balance_[user];
                            sessions_.push_back({node, user, name});
                          });
  }

  void close(size_t index, How how) {
    const Session session = sessions_[index];
    sessions_.erase(sessions_.begin() + static_cast<ptrdiff_t>(index));
    Callback<ReleaseResult> done = [this, session](ReleaseResult result) {
      if (result.left) --balance_[session.user];
      if (result.last && !result.left) {
        expires_.emplace(w_.clock.now_us() + w_.options.claims.name_grace_ms * 1000, session);
      }
    };
    if (how == How::reloading) {
      w_.roster(session.node).release_reloading(w_.room, session.user, w_[session.node].executor, std::move(done));
    } else {
      w_.roster(session.node)
          .release(w_.room, session.user, how == How::clean, w_[session.node].executor, std::move(done));
    }
  }

  void call_due_expires() {
    while (!expires_.empty() && expires_.begin()->first <= w_.clock.now_us()) {
      const Session session = expires_.begin()->second;
      expires_.erase(expires_.begin());
      if (w_[session.node].killed) continue;
      w_.roster(session.node)
          .expire(w_.room, session.user, w_[session.node].executor, [this, session](ReleaseResult result) {
            if (result.left) --balance_[session.user];
          });
    }
  }

  void check() {
    call_due_expires();
    std::map<std::string, std::string> holders;
    for (const Session& session : sessions_) {
      if (w_[session.node].killed || !w_.roster(session.node).lease_holds()) continue;
      const auto [holder, fresh] = holders.emplace(session.name, session.user);
      EXPECT_EQ(holder->second, session.user) << "both may speak as " << session.name;
    }
  }

  void quiet(int64_t ms) {
    for (; ms > 0; ms -= 500) {
      w_.pass_ms(500, 250);
      check();
    }
  }

  void heal() {
    healing_ = true;
    for (auto& node : w_.nodes) {
      node->paused = false;
      node->database.be_away(false);
    }
    quiet(30'000);
    for (size_t i = 0; i < w_.nodes.size(); ++i) {
      if (!w_[i].killed) {
        EXPECT_TRUE(w_.roster(i).lease_holds()) << i << ": " << w_.roster(i).trouble();
      }
    }
    while (!sessions_.empty()) close(sessions_.size() - 1, static_cast<How>(random_.below(3)));
    quiet(20'000);
    // What was sent long ago lands only now.
    while (w_.servers->land_one()) {
    }
    quiet(150'000);
    for (const Record& record : w_.servers->records()) {
      if (!record.room.empty()) {
        EXPECT_FALSE(record.live) << record.name << " " << record.state;
      }
    }
    size_t alive = 0;
    for (size_t i = 0; i < w_.nodes.size(); ++i) alive += w_[i].killed ? 0u : 1u;
    for (size_t i = 0; i < w_.nodes.size(); ++i) {
      if (!w_[i].killed) {
        EXPECT_EQ(w_.roster(i).peers().size(), alive - 1);
      }
    }
    // A node that is killed takes with it what it was about to say.
    if (deaths > 0) return;
    // A claim that was under way when its node was declared dead has not been told of; that its user left, has.
    int declared_dead = 0;
    for (const Record& record : w_.servers->records()) {
      declared_dead += record.state.find("declared dead") != std::string::npos ? 1 : 0;
    }
    for (const auto& [user, balance] : balance_) {
      EXPECT_LE(balance, 0) << user << ": joined less left";
      EXPECT_GE(balance, -declared_dead) << user << ": joined less left";
    }
  }

  SeededRandom random_;
  const bool kills_;
  World w_;
  bool healing_ = false;
  int nested_ = 0;
  std::vector<Session> sessions_;
  std::multimap<int64_t, Session> expires_;
  std::map<std::string, int> balance_;  // how often he was said to have joined, less how often to have left
};

void tell_tales(bool kills) {
  const char* one = std::getenv("TERTULIA_SEED");
  const char* many = std::getenv("TERTULIA_SEEDS");
  const uint64_t first = one == nullptr ? 1 : std::strtoull(one, nullptr, 10);
  const uint64_t count = one != nullptr ? 1 : many == nullptr ? 60 : std::strtoull(many, nullptr, 10);
  std::printf("seeds %llu to %llu\n", static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(first + count - 1));
  uint64_t granted = 0, deaths = 0, lost = 0, nested = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("TERTULIA_SEED=" + std::to_string(seed));
    Tale tale(seed, kills);
    tale.run();
    granted += tale.granted;
    deaths += tale.deaths;
    lost += tale.lost;
    nested += tale.nested;
    if (testing::Test::HasFailure()) return;
  }
  std::printf("%llu granted, %llu killed, %llu names lost, %llu paused in a call\n",
              static_cast<unsigned long long>(granted), static_cast<unsigned long long>(deaths),
              static_cast<unsigned long long>(lost), static_cast<unsigned long long>(nested));
  if (one != nullptr) return;
  EXPECT_GT(granted, count);
  EXPECT_GT(nested, count / 4);
  EXPECT_EQ(deaths > 0, kills);
}

TEST(RosterAtRandom, ANameHasOneUserAndWhoeverJoinedLeavesOnce) {
  tell_tales(false);
}

TEST(RosterAtRandom, ANameHasOneUserThoughNodesAreKilled) {
  tell_tales(true);
}

}  // namespace
}  // namespace tertulia::cluster
