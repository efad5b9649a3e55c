// ClusterStore over the model database: what it makes of a link, without a server. Once as over PostgreSQL, where what
// is read must be proven, and once as over MongoDB, where it is.
#include <atomic>

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
  ~ClusterUnderTest() override { end(); }
  void poison() override {
    servers_->poison([](const Message& message) { return message.text.rfind(kPoison, 0) == 0; });
  }
  bool dawdle() override {
    dawdles_ = true;
    return true;
  }

 private:
  void start() override {
    auto database = std::make_unique<cluster::ModelDatabase>(servers_);
    database->on_step([this](const cluster::ModelStep& step) {
      if (step.call == cluster::ModelCall::append && !step.after && dawdles_.exchange(false)) dawdle_now();
      return cluster::ModelFault::none;
    });
    start_over(std::move(database));
  }

  const std::shared_ptr<cluster::ModelServers> servers_;
  std::atomic<bool> dawdles_ = false;
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
