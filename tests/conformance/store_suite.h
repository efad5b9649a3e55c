// What any store must do, whatever keeps its logs. A kind of store passes by instantiating StoreSuite:
//
//   INSTANTIATE_TEST_SUITE_P(Sqlite, StoreSuite, testing::Values(&make_sqlite), name_of_kind);
//
// Thread: one, but for the tests that start more. Ends: each test has its own store and takes it away.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "base/random.h"
#include "base/testing.h"
#include "store/cluster/cluster_store.h"
#include "store/store.h"
#include "store/store_options.h"
#include "store/store_testing.h"

namespace tertulia {

// Texts that begin so are refused after poison().
inline constexpr char kPoison[] = "poison";
inline constexpr int64_t kDawdleMs = 300;

// Ends: a kind's destructor calls end(), as the store uses what the kind has.
class StoreUnderTest {
 public:
  virtual ~StoreUnderTest() = default;
  Store& store() { return *store_; }
  // Ends the store and begins it again on the same data. False: this kind forgets, nothing was done.
  virtual bool restart(bool empty) {
    store_->stop(empty);
    store_ = nullptr;
    start();
    return true;
  }
  // From now on the store refuses messages whose text begins with kPoison. May restart the store.
  virtual void poison() = 0;
  // The next commit takes kDawdleMs. False: this kind or this build cannot do that.
  virtual bool dawdle() { return false; }

  StoreMetrics metrics;
  testing_store::SharedManualClock clock;

 protected:
  // Makes the store, on what is there.
  virtual void start() = 0;
  void end() {
    if (store_) store_->stop(false);
    store_ = nullptr;
  }
  // Small limits, so that every test passes through batches of several sizes.
  StoreOptions options() {
    StoreOptions options;
    options.metrics = &metrics;
    options.transaction_rows_max = 64;
    options.heads_cached_max = 64;
    options.lease_ms = 3'600'000;  // the suite's clock leaps
    return options;
  }
  static void dawdle_now() { std::this_thread::sleep_for(std::chrono::milliseconds(kDawdleMs)); }
  // Over a database of several nodes; until the node has its lease.
  void start_over(std::unique_ptr<cluster::Database> database) {
    auto store = std::make_unique<ClusterStore>(std::move(database), std::make_unique<ThreadWorkers>(), options(),
                                                clock, random_);
    ASSERT_EQ(store->start(), "");
    ASSERT_TRUE(eventually([&] { return store->may_speak(); }, std::chrono::seconds(60)))
        << "no lease: " << store->trouble();
    store_ = std::move(store);
  }

  std::unique_ptr<Store> store_;

 private:
  SystemRandom random_;
};

struct StoreKind {
  const char* name;
  std::unique_ptr<StoreUnderTest> (*make)();
  int shorter = 1;  // of a slow kind the longest tests do so many times less
};

class StoreSuite : public testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override {
    under_test_ = GetParam().make();
    ASSERT_NE(under_test_, nullptr);
    caller_ = std::make_unique<testing_store::Caller>(store());
  }
  Store& store() { return under_test_->store(); }
  testing_store::Caller& call() { return *caller_; }
  bool restart(bool empty = true) {
    caller_ = nullptr;
    const bool restarted = under_test_->restart(empty);
    caller_ = std::make_unique<testing_store::Caller>(store());
    return restarted;
  }
  void poison() {
    caller_ = nullptr;
    under_test_->poison();
    caller_ = std::make_unique<testing_store::Caller>(store());
  }
  // Appends texts "1", "2", … with uuids `prefix`1, `prefix`2, …
  void fill(const std::string& room, int count, const std::string& prefix = "u", const std::string& padding = "") {
    std::vector<Message> messages;
    for (int i = 1; i <= count; ++i) {
      messages.push_back(testing_store::text_message(prefix + std::to_string(i), "ana", std::to_string(i) + padding));
    }
    AppendResult result = call().append(room, std::move(messages));
    ASSERT_EQ(result.status, AppendResult::Status::done) << result.reason;
  }

  std::unique_ptr<StoreUnderTest> under_test_;
  std::unique_ptr<testing_store::Caller> caller_;
};

}  // namespace tertulia
