// A cluster's store over a real PostgreSQL: what any store must do.
#include <thread>

#include "base/random.h"
#include "postgres_server.h"
#include "store/cluster/cluster_store.h"
#include "store/postgres/postgres_database.h"
#include "store_suite.h"

namespace tertulia {
namespace {

// One for the whole program; each test has a database in it.
PostgresServer* server() {
  static const std::unique_ptr<PostgresServer> one = PostgresServer::start();
  return one.get();
}

class PostgresStoreUnderTest final : public StoreUnderTest {
 public:
  PostgresStoreUnderTest() : database_(server()->new_database()) { start(); }
  ~PostgresStoreUnderTest() override {
    if (store_) store_->stop(false);
    store_ = nullptr;
    server()->give_back(database_);
  }
  Store& store() override { return *store_; }
  bool restart(bool empty) override {
    store_->stop(empty);
    store_ = nullptr;
    start();
    return true;
  }
  void poison() override {
    trigger("poison", std::string("IF starts_with(NEW.text, '") + kPoison + "') THEN RAISE 'no poison'; END IF");
  }
  bool dawdle() override {
    // Until the next commit: the sequence keeps its value whatever becomes of the transaction.
    server()->sql(database_, "CREATE SEQUENCE IF NOT EXISTS passes; SELECT setval('passes', 1, false)");
    trigger("dawdle", "IF nextval('public.passes') = 1 THEN PERFORM pg_sleep(0.3); END IF");
    return true;
  }

 private:
  void trigger(const std::string& name, const std::string& body) {
    server()->sql(database_,
                  "CREATE OR REPLACE FUNCTION " + name + "() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + body +
                      "; RETURN NEW; END $$;"
                      "CREATE OR REPLACE TRIGGER " +
                      name + " BEFORE INSERT ON tertulia.messages FOR EACH ROW EXECUTE FUNCTION " + name + "()");
  }
  void start() {
    StoreOptions options;
    options.metrics = &metrics;
    options.transaction_rows_max = 64;  // so that every test passes through batches of several sizes
    options.heads_cached_max = 64;
    options.lease_ms = 3'600'000;  // the suite's clock leaps
    auto store = std::make_unique<ClusterStore>(make_postgres(server()->url(database_), options),
                                                std::make_unique<ThreadWorkers>(), options, clock, random_);
    ASSERT_EQ(store->start(), "");
    ASSERT_TRUE(eventually([&] { return store->may_speak(); })) << "no lease: " << store->trouble();
    store_ = std::move(store);
  }

  const std::string database_;
  SystemRandom random_;
  std::unique_ptr<Store> store_;
};

INSTANTIATE_TEST_SUITE_P(Postgres, StoreSuite,
                         testing::Values(StoreKind{"postgres",
                                                   []() -> std::unique_ptr<StoreUnderTest> {
                                                     if (server() == nullptr) return nullptr;
                                                     return std::make_unique<PostgresStoreUnderTest>();
                                                   }}),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace tertulia
