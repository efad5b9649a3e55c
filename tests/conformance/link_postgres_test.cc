// The link to PostgreSQL: what every link must do, and what only this one can get wrong.
#include "cutting_proxy.h"
#include "link_suite.h"
#include "postgres_server.h"
#include "store/postgres/postgres_database.h"

namespace tertulia {
namespace {

// One for the whole program; each test has a database in it.
PostgresServer* server() {
  static const std::unique_ptr<PostgresServer> one = PostgresServer::start();
  return one.get();
}

std::string quoted(const std::string& text) {
  std::string all = "'";
  for (char c : text) all += c == '\'' ? "''" : std::string(1, c);
  return all + "'";
}

std::string bytes(const Chain& chain) {
  std::string all = "'\\x";
  for (uint8_t byte : chain.bytes) {
    all += "0123456789abcdef"[byte >> 4];
    all += "0123456789abcdef"[byte & 15];
  }
  return all + "'";
}

class PostgresUnderTest final : public LinkUnderTest {
 public:
  PostgresUnderTest() : database_(server()->new_database()) {}
  std::string url() override { return server()->url(database_); }
  std::string url_through(uint16_t port) override { return server()->tcp_url(database_, port); }
  uint16_t port() override { return server()->port(); }
  void refuse_poison() override {
    server()->sql(database_,
                  "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                  "  IF starts_with(NEW.text, 'poison') THEN RAISE EXCEPTION 'no poison'; END IF; RETURN NEW; END $$;"
                  "CREATE TRIGGER refuse BEFORE INSERT ON tertulia.messages FOR EACH ROW EXECUTE FUNCTION refuse()");
  }
  bool stray(const std::string& room, const Row& row) override {
    server()->sql(database_,
                  "INSERT INTO tertulia.messages (room, seq, previous, chain, uuid, kind, user_id, user_name, date,"
                  " sent_at, id_json, text) SELECT id, " +
                      std::to_string(row.sequence) + ", " + bytes(row.previous) + ", " + bytes(row.chain) + ", " +
                      quoted(row.message.uuid) +
                      ", 1, 'ana', 'Ana', '', 1, '1', 'stray' FROM tertulia.rooms WHERE name = " + quoted(room));
    return true;
  }
  bool kill_and_restart() override {
    kill();
    restart();
    return true;
  }
  bool kill() override {
    server()->kill();
    return true;
  }
  void restart() override { EXPECT_TRUE(server()->start_again()); }
  const std::string& database() const { return database_; }

 private:
  const std::string database_;
};

const LinkKind kPostgres = {"Postgres",
                            []() -> std::unique_ptr<LinkUnderTest> {
                              if (server() == nullptr) return nullptr;
                              return std::make_unique<PostgresUnderTest>();
                            },
                            &make_postgres};

INSTANTIATE_TEST_SUITE_P(Postgres, LinkSuite, testing::Values(kPostgres),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace tertulia

int main(int argc, char** argv) {
  return tertulia::link_suite_main(argc, argv, &tertulia::make_postgres);
}
