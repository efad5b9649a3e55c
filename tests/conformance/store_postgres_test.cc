// A cluster's store over a real PostgreSQL: what any store must do.
#include "postgres_server.h"
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
    end();
    server()->give_back(database_);
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
  void start() override { start_over(make_postgres(server()->url(database_), options())); }

  const std::string database_;
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
