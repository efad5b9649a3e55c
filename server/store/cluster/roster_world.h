// For tests of the roster: several nodes on one model database, in one thread and on one clock that stands still until
// told. A node runs only when the world is pumped, so a pause is not pumping it, and a kill is never pumping it again.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/cluster/model_database.h"
#include "store/cluster/roster.h"

namespace tertulia::cluster::testing_roster {

// Its wall clock goes where it likes.
class WorldClock final : public Clock {
 public:
  int64_t now_us() const override { return now_us_; }
  int64_t unix_ms() const override { return unix_ms_; }
  void advance_us(int64_t us) { now_us_ += us; }
  void set_wall_ms(int64_t ms) { unix_ms_ = ms; }

 private:
  int64_t now_us_ = 1'000'000'000;
  int64_t unix_ms_ = 1'700'000'000'000;
};

class HandWorker final : public Worker {
 public:
  HandWorker(const Clock& clock, const bool& killed) : clock_(clock), killed_(killed) {}
  void post(Function<void()> task) override {
    if (!stopping_) tasks_.push_back(std::move(task));
  }
  void post_after(int64_t us, Function<void()> task) override {
    if (!stopping_) later_.emplace(clock_.now_us() + us, std::move(task));
  }
  bool pause_us(int64_t) override { return !stopping_; }
  bool stopping() const override { return stopping_; }
  void stop() override {
    stopping_ = true;
    if (killed_) tasks_.clear();
    while (run_one()) {
    }
  }
  bool run_one() {
    if (!stopping_ && !later_.empty() && later_.begin()->first <= clock_.now_us()) {
      tasks_.push_back(std::move(later_.begin()->second));
      later_.erase(later_.begin());
    }
    if (tasks_.empty()) return false;
    Function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
    return true;
  }

 private:
  const Clock& clock_;
  const bool& killed_;
  std::deque<Function<void()>> tasks_;
  std::multimap<int64_t, Function<void()>> later_;
  bool stopping_ = false;
};

class HandExecutor final : public Executor {
 public:
  void post(Function<void()> task) override { tasks_.push_back(std::move(task)); }
  bool run_one() {
    if (tasks_.empty()) return false;
    Function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
    return true;
  }

 private:
  std::deque<Function<void()>> tasks_;
};

struct Node final : Workers, StoreWatcher {
  Node(std::shared_ptr<ModelServers> servers, const StoreOptions& options, const Clock& clock_of_all, uint64_t seed,
       std::string its_label)
      : label(std::move(its_label)), clock(clock_of_all), random(seed), database(std::move(servers)) {
    roster = std::make_unique<Roster>(database, *this, options, clock, random);
    roster->watch(this, &executor);
    roster->start();
  }

  std::unique_ptr<Worker> make(const std::string&) override {
    auto made = std::make_unique<HandWorker>(clock, killed);
    worker = made.get();
    return made;
  }
  void store_returned() override {}
  void departed(const std::string& room, const std::string& user, const std::string& name, uint64_t count) override {
    told.push_back("departed " + room + " " + user + " " + name + " " + std::to_string(count));
    if (on_departed) on_departed(room, user);
  }
  void arrived(const std::string& room, const std::string& user, const std::string& name, uint64_t) override {
    told.push_back("arrived " + room + " " + user + " " + name);
    if (on_arrived) on_arrived(room, user);
  }
  void name_lost(const std::string& room, const std::string& name, const std::string& user) override {
    EXPECT_FALSE(roster->lease_holds()) << "nothing is said under a name that is lost";
    told.push_back("name_lost " + room + " " + name + " " + user);
    if (on_name_lost) on_name_lost(room, name, user);
  }
  bool run_one() {
    if (killed || paused) return false;
    return worker->run_one() || executor.run_one();
  }

  const std::string label;
  const Clock& clock;
  bool killed = false, paused = false;
  SeededRandom random;
  ModelDatabase database;
  HandExecutor executor;
  HandWorker* worker = nullptr;
  std::vector<std::string> told;
  std::function<void(const std::string&, const std::string&)> on_departed, on_arrived;
  std::function<void(const std::string&, const std::string&, const std::string&)> on_name_lost;
  std::unique_ptr<Roster> roster;
};

struct World {
  explicit World(size_t nodes_count = 1, ModelServers::Traits traits = {}, uint64_t its_seed = 1)
      : seed(its_seed), servers(std::make_shared<ModelServers>(traits)) {
    for (size_t i = 0; i < nodes_count; ++i) start_node();
    pump();
  }
  ~World() {
    for (auto& node : nodes) node->killed = true;
  }

  Node& start_node() {
    nodes.push_back(std::make_unique<Node>(servers, options, clock, seed * 1000 + nodes.size(),
                                           "n" + std::to_string(nodes.size())));
    return *nodes.back();
  }
  Node& operator[](size_t i) { return *nodes[i]; }
  Roster& roster(size_t i) { return *nodes[i]->roster; }

  void pump() {
    for (bool ran = true; ran;) {
      ran = false;
      for (auto& node : nodes) {
        while (node->run_one()) ran = true;
      }
    }
  }
  void pass_ms(int64_t ms, int64_t step_ms = 100) {
    for (; ms > 0; ms -= step_ms) {
      clock.advance_us(std::min(ms, step_ms) * 1000);
      pump();
    }
  }
  void kill(size_t i) { nodes[i]->killed = true; }

  // Calls; nothing while there is no answer.
  template <class T>
  using Answer = std::shared_ptr<std::optional<T>>;
  Answer<ClaimResult> asks(size_t i, const std::string& user, const std::string& name) {
    auto result = std::make_shared<std::optional<ClaimResult>>();
    roster(i).claim({room, name, name, user, false}, nodes[i]->executor, [result](ClaimResult r) { *result = r; });
    return result;
  }
  ClaimResult comes(size_t i, const std::string& user, const std::string& name) {
    auto result = asks(i, user, name);
    pump();
    EXPECT_TRUE(result->has_value()) << "no answer";
    return result->value_or(ClaimResult{});
  }
  enum class How { clean, unclean, reloading };
  Answer<ReleaseResult> leaves(size_t i, const std::string& user, How how) {
    auto result = std::make_shared<std::optional<ReleaseResult>>();
    Callback<ReleaseResult> done = [result](ReleaseResult r) { *result = r; };
    if (how == How::reloading) {
      roster(i).release_reloading(room, user, nodes[i]->executor, std::move(done));
    } else {
      roster(i).release(room, user, how == How::clean, nodes[i]->executor, std::move(done));
    }
    return result;
  }
  ReleaseResult goes(size_t i, const std::string& user, How how) {
    auto result = leaves(i, user, how);
    pump();
    EXPECT_TRUE(result->has_value()) << "no answer";
    return result->value_or(ReleaseResult{});
  }
  Answer<ReleaseResult> calls_expire(size_t i, const std::string& user) {
    auto result = std::make_shared<std::optional<ReleaseResult>>();
    roster(i).expire(room, user, nodes[i]->executor, [result](ReleaseResult r) { *result = r; });
    return result;
  }
  ReleaseResult expires(size_t i, const std::string& user) {
    auto result = calls_expire(i, user);
    pump();
    EXPECT_TRUE(result->has_value()) << "no answer";
    return result->value_or(ReleaseResult{});
  }
  std::optional<std::string> name_of(size_t i, const std::string& user) {
    std::optional<std::string> name;
    roster(i).member_name(room, user, nodes[i]->executor, [&](std::optional<std::string> n) { name = std::move(n); });
    pump();
    return name;
  }
  MemberList members(size_t i, const std::string& after = "", size_t limit = 100) {
    MemberList list;
    roster(i).members(room, after, limit, nodes[i]->executor, [&](MemberList l) { list = std::move(l); });
    pump();
    return list;
  }
  uint64_t count(size_t i) {
    uint64_t result = 999;
    roster(i).members_count(room, nodes[i]->executor, [&](uint64_t n) { result = n; });
    pump();
    return result;
  }
  // What all watchers were told that begins so.
  std::vector<std::string> told(const std::string& begin) {
    std::vector<std::string> all;
    for (auto& node : nodes) {
      for (const std::string& each : node->told) {
        if (each.starts_with(begin)) all.push_back(each);
      }
    }
    return all;
  }

  const uint64_t seed;
  std::string room = "plaza";
  StoreOptions options;
  WorldClock clock;
  std::shared_ptr<ModelServers> servers;
  std::vector<std::unique_ptr<Node>> nodes;
};

}  // namespace tertulia::cluster::testing_roster
