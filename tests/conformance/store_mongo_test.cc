// A cluster's store over a real MongoDB, or what stands in for it (mongo_server.h): what any store must do.
#include <mongoc/mongoc.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/random.h"
#include "mongo_server.h"
#include "mongo_wrapped.h"
#include "store/cluster/cluster_store.h"
#include "store/mongo/mongo_database.h"
#include "store_suite.h"

namespace tertulia {
namespace {

class MongoStoreUnderTest final : public StoreUnderTest {
 public:
  explicit MongoStoreUnderTest(MongoServer& server) : url_(server.new_database()) { start(); }
  ~MongoStoreUnderTest() override {
    if (store_) store_->stop(false);
  }
  Store& store() override { return *store_; }
  bool restart(bool empty) override {
    store_->stop(empty);
    store_ = nullptr;
    start();
    return true;
  }
  // In front of the server: FerretDB can do neither, and what is asked for here is what the store makes of it.
  void poison() override {
    before_append_ = [](const std::vector<cluster::RoomBatch*>& rooms) {
      return holds_text(rooms, kPoison) ? cluster::Failure{cluster::Trouble::message, "refused by the test"}
                                        : cluster::Failure();
    };
    restart(true);
  }
  bool dawdle() override {
    dawdles_ = true;
    return true;
  }

 private:
  void start() {
    StoreOptions options;
    options.metrics = &metrics;
    options.transaction_rows_max = 64;  // so that every test passes through batches of several sizes
    options.heads_cached_max = 64;
    options.lease_ms = 3'600'000;  // the suite's clock leaps
    auto before = [this, refuse = before_append_](const std::vector<cluster::RoomBatch*>& rooms) {
      if (dawdles_.exchange(false)) std::this_thread::sleep_for(std::chrono::milliseconds(300));
      return refuse ? refuse(rooms) : cluster::Failure();
    };
    auto store =
        std::make_unique<ClusterStore>(std::make_unique<WrappedDatabase>(make_mongo(url_, options), std::move(before)),
                                       std::make_unique<ThreadWorkers>(), options, clock, random_);
    ASSERT_EQ(store->start(), "");
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!store->may_speak()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "no lease: " << store->trouble();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    store_ = std::move(store);
  }

  const std::string url_;
  SystemRandom random_;
  std::atomic<bool> dawdles_ = false;
  WrappedDatabase::BeforeAppend before_append_;
  std::unique_ptr<Store> store_;
};

INSTANTIATE_TEST_SUITE_P(Mongo, StoreSuite,
                         testing::Values(StoreKind{"mongo",
                                                   []() -> std::unique_ptr<StoreUnderTest> {
                                                     std::string error;
                                                     MongoServer* server = MongoServer::get(error);
                                                     EXPECT_NE(server, nullptr) << error;
                                                     if (server == nullptr) return nullptr;
                                                     return std::make_unique<MongoStoreUnderTest>(*server);
                                                   },
                                                   5}),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace tertulia
