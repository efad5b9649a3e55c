// A store's appender over documents: what a batch becomes of which only a part was inserted.
#include "store/mongo/collection_link.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "store/cluster/appender.h"
#include "store/mongo/model_collection.h"
#include "store/store_testing.h"

namespace tertulia::mongo {
namespace {

using testing_store::text_message;
using Kind = Appended::Kind;

class OneLinkDatabase final : public cluster::Database {
 public:
  std::string prepare() override { return ""; }
  std::unique_ptr<cluster::Link> link(Worker& worker) override {
    auto collection = std::make_unique<ModelCollection>(documents, random);
    collection->poisoned = [](const Message& message) { return message.text == "poison"; };
    auto link = std::make_unique<CollectionLink>(std::move(collection), worker);
    return link;
  }
  std::string address() const override { return "model"; }

  ModelDocuments documents;
  SeededRandom random{1};
};

class AppenderOverDocuments : public testing::Test {
 protected:
  AppenderOverDocuments()
      : appender_(
            database_, workers_, proven_, []() -> std::optional<std::string> { return ""; }, options_, clock_,
            database_.random, metrics_) {}
  ~AppenderOverDocuments() override { appender_.stop(clock_.now_us()); }

  void appends(const std::string& room, std::vector<Message> messages) {
    const size_t place = results_.size();
    results_.emplace_back();
    appender_.append({room, Position{0, chain_start(room)}, std::move(messages), &loop_,
                      [this, place](AppendResult result) { results_[place] = std::move(result); }});
  }
  bool all_answered() {
    return loop_.run_until([this] {
      return std::all_of(results_.begin(), results_.end(), [](const auto& each) { return each.has_value(); });
    });
  }

  SystemClock clock_;
  ThreadWorkers workers_;
  StoreOptions options_;
  StoreMetrics metrics_;
  OneLinkDatabase database_;
  cluster::Proven proven_{100};
  testing_store::Loop loop_;
  std::vector<std::optional<AppendResult>> results_;
  cluster::Appender appender_;
};

// Whoever is told of a repeat tells nobody that it was said: the members would hear of it only with the next message.
TEST_F(AppenderOverDocuments, WhatStoodBeforeAPoisonousMessageIsAddedAndNotARepeat) {
  std::vector<Message> messages;
  for (int i = 0; i < 10; ++i) messages.push_back(text_message(std::to_string(i), "ana", i == 6 ? "poison" : "x"));
  appends("plaza", messages);
  ASSERT_TRUE(all_answered());
  ASSERT_EQ(results_[0]->status, AppendResult::Status::done);
  for (size_t i = 0; i < messages.size(); ++i) {
    EXPECT_EQ(results_[0]->each[i].kind, i == 6 ? Kind::refused : Kind::added) << i;
  }
  EXPECT_EQ(ModelDocuments::log(database_.documents.majority(), "plaza").size(), 9u);
}

// More rooms than go into one insert, of which only the last is poisoned.
TEST_F(AppenderOverDocuments, APoisonousMessageInOneRoomMakesNoRepeatsInOthers) {
  appends("first", {text_message("first", "ana", "x")});  // so that the others share a batch
  for (int i = 0; i < 300; ++i) {
    appends("room" + std::to_string(i), {text_message("u", "ana", i == 299 ? "poison" : "x")});
  }
  ASSERT_TRUE(all_answered());
  for (size_t i = 1; i < results_.size(); ++i) {
    ASSERT_EQ(results_[i]->status, AppendResult::Status::done);
    EXPECT_EQ(results_[i]->each[0].kind, i == 300 ? Kind::refused : Kind::added) << i;
  }
}

}  // namespace
}  // namespace tertulia::mongo
