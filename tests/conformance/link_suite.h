// What any link to a database that several nodes write to must do, whatever the database. A kind passes by
// instantiating LinkSuite in a program whose main() is
//
//   int main(int argc, char** argv) { return tertulia::link_suite_main(argc, argv, &make_postgres); }
//
// which also is the program that the suite starts several times, where it wants other processes.
//
// Thread: one, and more in the tests that say so. Ends: each test has a database of its own.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/worker.h"
#include "store/cluster/link.h"
#include "store/store_options.h"
#include "store/store_testing.h"

namespace tertulia {

// A worker for whoever calls a link from his own thread.
class CallersWorker final : public Worker {
 public:
  void post(Function<void()> task) override { task(); }
  void post_after(int64_t, Function<void()>) override {}
  bool pause_us(int64_t us) override;
  bool stopping() const override { return stopping_; }
  void stop() override { stopping_ = true; }

 private:
  std::atomic<bool> stopping_ = false;
};

using MakeDatabase = std::unique_ptr<cluster::Database> (*)(const std::string& url, const StoreOptions& options);

// Texts that begin so are refused by the database after refuse_poison().
inline constexpr char kLinkPoison[] = "poison";

// A database of the kind's own server, empty.
class LinkUnderTest {
 public:
  virtual ~LinkUnderTest() = default;
  virtual std::string url() = 0;
  // To the same database, through 127.0.0.1 and this port.
  virtual std::string url_through(uint16_t port) = 0;
  virtual uint16_t port() = 0;
  virtual void refuse_poison() = 0;
  // Puts a row there to which nothing leads. False: this kind cannot have such rows.
  virtual bool stray(const std::string& room, const Row& row) = 0;
  // The server dies at once and is started again. False: it is not ours.
  virtual bool kill_and_restart() { return false; }
  virtual bool kill() { return false; }
  virtual void restart() {}
  // An append is refused within its commit when the node's lease is gone.
  virtual bool judges_leases() const { return true; }
  // A reply that is lost is asked for again by the link itself, so whoever called may not hear of it.
  virtual bool settles_lost_replies() const { return false; }
  // Whoever has won is told so even if another one has written behind him meanwhile.
  virtual bool tells_all_winners() const { return true; }
  // A message that cannot be stored takes its whole batch back.
  virtual bool whole_batches() const { return true; }
};

struct LinkKind {
  const char* name;
  std::unique_ptr<LinkUnderTest> (*make)();
  MakeDatabase open;
  int rows_max = 1'000'000;  // a slow kind's tests are made smaller
};

class LinkSuite : public testing::TestWithParam<LinkKind> {
 protected:
  struct Node {
    CallersWorker worker;
    std::unique_ptr<cluster::Database> database;
    std::unique_ptr<cluster::Link> link;
    std::string name;  // of its lease, which is alive
    cluster::Link* operator->() { return link.get(); }
  };
  struct Outcome {
    cluster::Failure failure;
    bool fits = true;
    std::vector<cluster::Placed> placed;
  };

  void SetUp() override;
  // Another link, in this process, with a lease.
  std::unique_ptr<Node> node(const std::string& name, const std::string& url = "");
  Outcome append(Node& node, const std::string& room, const std::vector<Message>& messages);
  Outcome append(Node& node, const std::string& room, const Position& known, const std::vector<Message>& messages);
  // Repeats until the outcome is known and something was done.
  Outcome append_surely(Node& node, const std::string& room, const std::vector<Message>& messages);
  Rows whole_log(Node& node, const std::string& room);
  void expect_whole(Node& node, const std::string& room, size_t count);
  // Texts "1" …, uuids prefix1 ….
  void fill(Node& node, const std::string& room, int count, const std::string& prefix = "u");
  // Starts this program again: `command` of helper() with its arguments, one process for each list.
  std::vector<std::vector<std::string>> in_processes(const std::string& command,
                                                     const std::vector<std::vector<std::string>>& arguments);
  int rows(int wanted) const { return std::min(wanted, GetParam().rows_max); }

  std::unique_ptr<LinkUnderTest> under_test_;
  std::unique_ptr<Node> node_;
};

int link_suite_main(int argc, char** argv, MakeDatabase open);

}  // namespace tertulia
