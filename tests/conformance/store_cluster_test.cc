// ClusterStore over the model database: what it makes of a link, without a server. Once as over PostgreSQL, where what
// is read must be proven, and once as over MongoDB, where it is.
#include "store/cluster/cluster_store.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "store/cluster/model_database.h"
#include "store_suite.h"

namespace tertulia {
namespace {

class ClusterUnderTest final : public StoreUnderTest {
 public:
  explicit ClusterUnderTest(const cluster::ModelServers::Traits& traits)
      : servers_(std::make_shared<cluster::ModelServers>(traits)) {
    start();
  }
  ~ClusterUnderTest() override {
    if (store_) store_->stop(false);
  }
  Store& store() override { return *store_; }
  bool restart(bool empty) override {
    store_->stop(empty);
    store_ = nullptr;
    start();
    return true;
  }
  void poison() override {
    servers_->poison([](const Message& message) { return message.text.rfind(kPoison, 0) == 0; });
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
    auto database = std::make_unique<cluster::ModelDatabase>(servers_);
    database->on_step([this](const cluster::ModelStep& step) {
      if (step.call == cluster::ModelCall::append && !step.after && dawdles_.exchange(false)) {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
      }
      return cluster::ModelFault::none;
    });
    auto store =
        std::make_unique<ClusterStore>(std::move(database), std::make_unique<ThreadWorkers>(), options, clock, random_);
    ASSERT_EQ(store->start(), "");
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!store->may_speak()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "no lease: " << store->trouble();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    store_ = std::move(store);
  }

  const std::shared_ptr<cluster::ModelServers> servers_;
  SystemRandom random_;
  std::atomic<bool> dawdles_ = false;
  std::unique_ptr<Store> store_;
};

INSTANTIATE_TEST_SUITE_P(
    Cluster, StoreSuite,
    testing::Values(StoreKind{"reads_need_mark",
                              []() -> std::unique_ptr<StoreUnderTest> {
                                return std::make_unique<ClusterUnderTest>(cluster::ModelServers::Traits{true, true});
                              }},
                    StoreKind{"reads_at_majority",
                              []() -> std::unique_ptr<StoreUnderTest> {
                                return std::make_unique<ClusterUnderTest>(cluster::ModelServers::Traits{false, false});
                              }}),
    [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace tertulia
