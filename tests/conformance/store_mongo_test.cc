// A cluster's store over a real MongoDB, or what stands in for it (mongo_server.h): what any store must do.
#include <atomic>

#include "mongo_server.h"
#include "mongo_wrapped.h"
#include "store/mongo/mongo_database.h"
#include "store_suite.h"

namespace tertulia {
namespace {

class MongoStoreUnderTest final : public StoreUnderTest {
 public:
  explicit MongoStoreUnderTest(MongoServer& server) : url_(server.new_database()) { start(); }
  ~MongoStoreUnderTest() override { end(); }
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
  void start() override {
    auto before = [this, refuse = before_append_](const std::vector<cluster::RoomBatch*>& rooms) {
      if (dawdles_.exchange(false)) dawdle_now();
      return refuse ? refuse(rooms) : cluster::Failure();
    };
    start_over(std::make_unique<WrappedDatabase>(make_mongo(url_, options()), std::move(before)));
  }

  const std::string url_;
  std::atomic<bool> dawdles_ = false;
  WrappedDatabase::BeforeAppend before_append_;
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
