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

#include "store/store.h"
#include "store/store_options.h"
#include "store/store_testing.h"

namespace tertulia {

// Texts that begin so are refused after poison().
inline constexpr char kPoison[] = "poison";

class StoreUnderTest {
 public:
  virtual ~StoreUnderTest() = default;
  virtual Store& store() = 0;
  // Ends the store and begins it again on the same data. False: this kind forgets, nothing was done.
  virtual bool restart(bool empty) = 0;
  // From now on the store refuses messages whose text begins with kPoison. May restart the store.
  virtual void poison() = 0;
  // The next commit takes 300 ms. False: this kind or this build cannot do that.
  virtual bool dawdle() { return false; }

  StoreMetrics metrics;
  testing_store::SharedManualClock clock;
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
