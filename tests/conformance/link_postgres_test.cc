// The link to PostgreSQL: what every link must do, and what only this one can get wrong.
#include <thread>

#include "cutting_proxy.h"
#include "link_suite.h"
#include "link_testing.h"
#include "postgres_server.h"
#include "store/postgres/connection.h"
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
  ~PostgresUnderTest() override { server()->give_back(database_); }
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

// --- what only PostgreSQL can get wrong ---

using cluster::Failure;
using cluster::Placed;
using cluster::RoomBatch;
using cluster::Trouble;
using testing_store::text_message;

class Postgres : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(server(), nullptr);
    name_ = server()->new_database();
    database_ = make_postgres(server()->url(name_), StoreOptions());
    ASSERT_EQ(database_->prepare(), "");
    link_ = database_->link(worker_);
  }
  void TearDown() override {
    link_ = nullptr;
    if (!name_.empty()) server()->give_back(name_);
  }
  std::string sql(const std::string& statements) { return server()->sql(name_, statements); }
  Failure append(cluster::Link& link, const std::string& room, const std::vector<std::string>& uuids,
                 std::vector<Placed>* placed = nullptr) {
    std::vector<Message> messages;
    for (const std::string& uuid : uuids) messages.push_back(text_message(uuid, "ana", uuid));
    RoomBatch batch;
    batch.room = room;
    batch.known = {0, chain_start(room)};
    for (const Message& message : messages) batch.messages.push_back(&message);
    Failure failure = link.append({&batch}, "");
    if (placed != nullptr) *placed = std::move(batch.placed);
    return failure;
  }
  Rows read(cluster::Link& link, const std::string& room) {
    Rows rows;
    EXPECT_FALSE(link.read(room, {0, chain_start(room)}, 1000, 1 << 20, rows));
    return rows;
  }
  // The process that waits for so, of this database.
  std::string waiter(const std::string& event) {
    std::string pid;
    EXPECT_TRUE(eventually([&] {
      pid = server()->sql("postgres", "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE datname = '" + name_ +
                                          "' AND wait_event = '" + event + "'");
      return pid != "0";
    })) << "nobody waits for "
        << event;
    return pid;
  }
  std::string pid_of_link() {
    return server()->sql("postgres", "SELECT max(pid) FROM pg_stat_activity WHERE datname = '" + name_ +
                                         "' AND application_name = 'tertulia'");
  }

  std::string name_;
  CallersWorker worker_;
  std::unique_ptr<cluster::Database> database_;
  std::unique_ptr<cluster::Link> link_;
};

// A standby that does not exist: every commit waits for it.
class PostgresWithoutItsStandby : public Postgres {
 protected:
  void SetUp() override {
    Postgres::SetUp();
    ASSERT_TRUE(done(append(*link_, "plaza", {"before"})));
    read(*link_, "plaza");
    EXPECT_FALSE(link_->reads_need_mark());
    server()->set("synchronous_standby_names", "nobody");
  }
  void TearDown() override {
    if (server() != nullptr) standby_comes();
    Postgres::TearDown();
  }
  void standby_comes() { server()->set("synchronous_standby_names", ""); }
  void cancel() { server()->sql("postgres", "SELECT pg_cancel_backend(" + waiter("SyncRep") + ")"); }
};

TEST_F(PostgresWithoutItsStandby, ACommitWithAWarningIsUnknownAndItsRepeatIsProvenByTheNextCleanAnswer) {
  Failure failure;
  std::thread first([&] { failure = append(*link_, "plaza", {"a"}); });
  cancel();
  first.join();
  EXPECT_EQ(failure.trouble, Trouble::unknown) << failure.reason;
  EXPECT_NE(failure.reason.find("01000"), std::string::npos) << failure.reason;
  // It is visible, although a failover would take it back; the repeat must not be acknowledged before it is proven.
  std::vector<Placed> placed;
  std::thread again([&] { failure = append(*link_, "plaza", {"a"}, &placed); });
  cancel();
  again.join();
  EXPECT_EQ(failure.trouble, Trouble::unknown) << failure.reason;
  std::thread last([&] { failure = append(*link_, "plaza", {"a"}, &placed); });
  waiter("SyncRep");
  standby_comes();
  last.join();
  ASSERT_TRUE(done(failure));
  EXPECT_FALSE(placed.at(0).added);
  EXPECT_EQ(placed.at(0).row.sequence, 2u);
}

TEST_F(PostgresWithoutItsStandby, WhatIsReadNeedsAMarkAndTheMarkWaitsForTheStandby) {
  Failure failure;
  std::thread writer([&] { failure = append(*link_, "plaza", {"a"}); });
  cancel();
  writer.join();
  EXPECT_EQ(read(*link_, "plaza").rows.size(), 2u);
  EXPECT_TRUE(link_->reads_need_mark());
  std::thread cancelled([&] { failure = link_->mark(); });
  cancel();
  cancelled.join();
  EXPECT_EQ(failure.trouble, Trouble::unknown);
  const uint64_t connects = link_->connects();
  std::thread proven([&] { failure = link_->mark(); });
  waiter("SyncRep");
  standby_comes();
  proven.join();
  EXPECT_TRUE(done(failure));
  EXPECT_EQ(link_->connects(), connects) << "a mark on another connection proves nothing";
  read(*link_, "plaza");
  EXPECT_FALSE(link_->reads_need_mark());
}

TEST_F(PostgresWithoutItsStandby, ReadMarkersDoNotWaitAndRecordsDo) {
  EXPECT_TRUE(done(link_->write_markers({{{"plaza", "ana"}, 1}})));
  Failure failure;
  std::vector<cluster::Put> puts(1);
  puts[0].record.room = "plaza";
  std::thread writer([&] { failure = link_->put(puts, ""); });
  cancel();
  writer.join();
  EXPECT_EQ(failure.trouble, Trouble::unknown);
  EXPECT_FALSE(puts[0].won);
}

// A name that was read to be one's own would be another's after a failover. Over a link that reads no logs, as the
// roster's.
TEST_F(PostgresWithoutItsStandby, WhatRecordsShowNeedsAMarkOnTheirOwnConnection) {
  Failure failure;
  std::vector<cluster::Put> puts(1);
  puts[0].record.room = "plaza";
  puts[0].record.name = "ana";
  std::thread writer([&] { failure = link_->put(puts, ""); });
  cancel();
  writer.join();
  ASSERT_EQ(failure.trouble, Trouble::unknown);
  CallersWorker other;
  auto second = database_->link(other);
  std::vector<cluster::Record> records;
  ASSERT_FALSE(second->load({{"plaza", "ana"}}, records));
  EXPECT_EQ(records.at(0).version, 1u);
  EXPECT_TRUE(second->reads_need_mark());
  standby_comes();
  server()->sql("postgres", "SELECT pg_terminate_backend(" + pid_of_link() + ")");
  ASSERT_TRUE(eventually([&] {
    return server()->sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = '" + name_ +
                                         "' AND application_name = 'tertulia'") == "1";
  }));
  EXPECT_EQ(second->mark().trouble, Trouble::unknown) << "what was read was read on another connection";
  EXPECT_FALSE(second->mark());
}

TEST_F(PostgresWithoutItsStandby, WhatWaitsForTheStandbyIsGivenUpWhenTheWorkerStops) {
  CallersWorker other;
  auto second = database_->link(other);
  read(*second, "plaza");
  Failure failure, marked;
  std::thread writer([&] { failure = append(*link_, "plaza", {"a"}); });
  std::thread marker([&] { marked = second->mark(); });
  waiter("SyncRep");
  EXPECT_TRUE(eventually([&] {
    return server()->sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "2";
  }));
  const auto began = std::chrono::steady_clock::now();
  worker_.stop();
  other.stop();
  writer.join();
  marker.join();
  EXPECT_EQ(failure.trouble, Trouble::unknown);
  EXPECT_EQ(marked.trouble, Trouble::unknown);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(10));
}

TEST_F(Postgres, TheWorkedExamplesOfTheChainHoldInSql) {
  const std::string room = "Sal\xC3\xB3n de t\xC3\xA9";
  auto message = [](MessageKind kind, const std::string& uuid, const std::string& user, const std::string& name,
                    const std::string& date, int64_t sent_at) {
    Message m;
    m.kind = kind;
    m.uuid = uuid;
    m.user_id = user;
    m.user_name = name;
    m.date = date;
    m.sent_at_ms = sent_at;
    return m;
  };
  const std::string ana = "~_b69lvnPrNZym0avvB4vOS", jose = "Jos\xC3\xA9 \xF0\x9F\xAB\x96";
  std::vector<Message> said = {
      message(MessageKind::text, "0b8a3c52-7f0e-4f43-9a61-8a1d0c7f6a10", ana, "Ana", "2026-03-01T18:30:00.000Z",
              1772389800123),
      message(MessageKind::text, "m-2", "classic user 7", jose, "", 1772389801456),
      message(MessageKind::image, "m-3", ana, "Ana", "2026-03-01T18:31:00.000Z", 1772389860000),
      message(MessageKind::file, "m-4_Z", "classic user 7", jose, "yesterday", 1772389861001)};
  said[0].text = "Good evening";
  said[1].text =
      "\xC2\xBFT\xC3\xA9, o caf\xC3\xA9?\n\"\xE6\x97\xA5\xE6\x9C\xAC\xE8\x8C\xB6\" "
      "\xF0\x9F\x8D\xB5\xE2\x80\xA8\xE2\x80\x94 "
      "\\o/";
  said[2].content_type = "image/png";
  said[2].size_bytes = 68;
  said[2].sha256_hex = "92b2fa58028958317e408bd84ecfa70f5ee35b121991dbc232c49d166353708b";
  said[3].file_name =
      "men\xC3\xBA del d\xC3\xAD"
      "a.pdf";
  said[3].content_type = "application/octet-stream";
  said[3].size_bytes = 1048576;
  said[3].sha256_hex = "7365d029861e32c521f8089b00a6fb32daf0615025b69b599d1ce53501b845c2";
  RoomBatch batch;
  batch.room = room;
  batch.known = {0, chain_start(room)};
  for (const Message& each : said) batch.messages.push_back(&each);
  ASSERT_FALSE(link_->append({&batch}, ""));
  std::vector<std::string> positions;
  for (const Placed& placed : batch.placed) positions.push_back(position_text(placed.row.position()));
  // As in docs/protocol.md and tests/vectors/chain.json.
  EXPECT_EQ(positions, (std::vector<std::string>{"1-6rl8IdZFbzaU7sHa", "2-T8H-De7fNrIU28Y1", "3-JTqIkrH1yOcCQNvQ",
                                                 "4-NTsiQrVnGNZjm6cZ"}));
}

// The plans of a connection that came before there were statistics: none may read a room to find a uuid in it.
TEST_F(Postgres, AnAppendToATableWithoutStatisticsReadsNoMoreRowsThanItAdds) {
  constexpr int kBatches = 60, kEach = 10;
  int next = 0;
  for (int batch = 0; batch < kBatches; ++batch) {
    std::vector<std::string> uuids;
    for (int i = 0; i < kEach; ++i) uuids.push_back("m" + std::to_string(next++));
    ASSERT_FALSE(append(*link_, "plaza", uuids));
    Rows rows;
    ASSERT_FALSE(link_->find("plaza", uuids[0], rows));
    ASSERT_EQ(rows.rows.size(), 1u);
  }
  link_ = nullptr;  // a session tells what it has read at its end
  const std::string added = std::to_string(kBatches * kEach);
  ASSERT_TRUE(eventually([&] {
    return sql("SELECT n_tup_ins FROM pg_stat_user_tables WHERE schemaname = 'tertulia' AND relname = 'messages'") ==
           added;
  }));
  const std::string read =
      sql("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables"
          " WHERE schemaname = 'tertulia' AND relname = 'messages'");
  EXPECT_LE(std::stoll(read), kBatches * kEach);
}

TEST_F(Postgres, ARoomThatSomebodyHoldsIsWaitedForASecondAndThenItIsNotNow) {
  ASSERT_TRUE(done(append(*link_, "plaza", {"a"})));
  std::thread holder([&] { sql("BEGIN; SELECT * FROM tertulia.rooms FOR UPDATE; SELECT pg_sleep(2.5); COMMIT"); });
  waiter("PgSleep");
  const Failure failure = append(*link_, "plaza", {"b"});
  EXPECT_EQ(failure.trouble, Trouble::not_now) << failure.reason;
  EXPECT_NE(failure.reason.find("55P03"), std::string::npos) << failure.reason;
  EXPECT_EQ(read(*link_, "plaza").rows.size(), 1u);
  holder.join();
  EXPECT_TRUE(done(append(*link_, "plaza", {"b"})));
}

TEST_F(Postgres, ASessionEndedWhileItIsIdleIsNotNoticedByAnybody) {
  ASSERT_TRUE(done(append(*link_, "plaza", {"a"})));
  server()->sql("postgres", "SELECT pg_terminate_backend(" + pid_of_link() + ", 10000)");
  EXPECT_TRUE(done(append(*link_, "plaza", {"b"})));
  EXPECT_EQ(link_->connects(), 2u);
}

TEST_F(Postgres, ASessionEndedBeforeItsCommitHasDoneNothing) {
  ASSERT_TRUE(done(append(*link_, "plaza", {"a"})));
  Failure failure;
  std::thread holder([&] { sql("BEGIN; SELECT * FROM tertulia.rooms FOR UPDATE; SELECT pg_sleep(1.5); COMMIT"); });
  waiter("PgSleep");
  std::thread writer([&] { failure = append(*link_, "plaza", {"b"}); });
  server()->sql("postgres", "SELECT pg_terminate_backend(" + waiter("transactionid") + ")");
  writer.join();
  EXPECT_EQ(failure.trouble, Trouble::not_now) << failure.reason;
  holder.join();
  EXPECT_EQ(read(*link_, "plaza").rows.size(), 1u);
}

TEST_F(Postgres, ATriggerThatLeavesAMessageOutIsNoHole) {
  sql("CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      "  IF NEW.uuid = 'b' THEN RETURN NULL; END IF; RETURN NEW; END $$;"
      "CREATE TRIGGER swallow BEFORE INSERT ON tertulia.messages FOR EACH ROW EXECUTE FUNCTION swallow()");
  EXPECT_EQ(append(*link_, "plaza", {"a", "b", "c"}).trouble, Trouble::message);
  EXPECT_EQ(append(*link_, "plaza", {"b"}).trouble, Trouble::message);
  EXPECT_TRUE(done(append(*link_, "plaza", {"a", "c"})));
  testing_store::expect_whole_log("plaza", read(*link_, "plaza"));
}

TEST_F(Postgres, AServerThatOnlyReadsIsNotNow) {
  server()->sql("postgres", "ALTER DATABASE " + name_ + " SET default_transaction_read_only = on");
  EXPECT_EQ(append(*link_, "plaza", {"a"}).trouble, Trouble::not_now);
  server()->sql("postgres", "ALTER DATABASE " + name_ + " RESET default_transaction_read_only");
  EXPECT_TRUE(done(append(*link_, "plaza", {"a"})));
}

TEST_F(Postgres, OfSeveralHostsTheOneThatAnswersIsTaken) {
  const HeldPort silent;
  const std::string port = std::to_string(server()->port()), nobody = silent.text();
  auto database = make_postgres(
      "postgres://postgres:secret@127.0.0.1:" + nobody + ",127.0.0.1:" + port + "/" + name_ + "?sslmode=prefer",
      StoreOptions());
  EXPECT_EQ(database->prepare(), "");
  EXPECT_EQ(database->address(), "127.0.0.1:" + nobody + ",127.0.0.1:" + port + "/" + name_);
  auto link = database->link(worker_);
  EXPECT_TRUE(done(append(*link, "plaza", {"a"})));
}

TEST_F(Postgres, WhateverTheRoleIsSetToACommitIsDurableAndNothingIsCutShort) {
  sql("CREATE ROLE odd LOGIN SUPERUSER; ALTER ROLE odd SET synchronous_commit = off;"
      "ALTER ROLE odd SET client_min_messages = error; ALTER ROLE odd SET statement_timeout = 60000;"
      "ALTER ROLE odd SET default_transaction_isolation = serializable; ALTER ROLE odd SET search_path = tertulia;"
      "ALTER ROLE odd SET client_encoding = latin1; ALTER ROLE odd SET idle_session_timeout = 60000");
  std::string url = server()->url(name_);
  url.replace(url.find("postgres@"), 9, "odd@");
  const postgres::Target target = postgres::parse_target(url);
  postgres::Connection connection(target, nullptr);
  ASSERT_FALSE(connection.ensure());
  for (const auto& [setting, value] : {std::pair("synchronous_commit", "on"),
                                       {"client_min_messages", "warning"},
                                       {"statement_timeout", "0"},
                                       {"default_transaction_isolation", "read committed"},
                                       {"idle_session_timeout", "0"},
                                       {"client_encoding", "UTF8"}}) {
    postgres::Answer answer;
    ASSERT_FALSE(connection.script(std::string("SHOW ") + setting, answer));
    EXPECT_EQ(postgres::text_of(answer.at(0, 0)), value) << setting;
  }
  server()->sql("postgres", "DROP ROLE odd");
}

TEST_F(Postgres, NoCallReadsAWholeTable) {
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(done(append(*link_, "room " + std::to_string(i % 5), {std::to_string(i)})));
  std::vector<cluster::Put> puts(20);
  for (size_t i = 0; i < puts.size(); ++i) {
    puts[i].record.room = "room 1";
    puts[i].record.name = std::to_string(i);
    puts[i].record.live = true;
  }
  ASSERT_TRUE(done(link_->put(puts, "")));
  for (cluster::Put& put : puts) put.record.version = 1;
  ASSERT_TRUE(done(link_->put(puts, "")));
  Rows rows = read(*link_, "room 1");
  std::vector<Position> heads;
  std::vector<Sequence> sequences;
  std::vector<cluster::Record> records;
  uint64_t live = 0;
  ASSERT_TRUE(done(link_->read_range("room 1", 3, true, 2, 1000, rows)));
  ASSERT_TRUE(done(link_->read_range("room 1", 3, false, 2, 1000, rows)));
  ASSERT_TRUE(done(link_->find("room 1", "1", rows)));
  ASSERT_TRUE(done(link_->heads({"room 1", "room 2"}, heads)));
  ASSERT_TRUE(done(link_->write_markers({{{"room 1", "ana"}, 1}})));
  ASSERT_TRUE(done(link_->read_markers("room 1", {"ana"}, sequences)));
  ASSERT_TRUE(done(link_->load({{"room 1", "1"}}, records)));
  ASSERT_TRUE(done(link_->list("room 1", "", 10, records)));
  ASSERT_TRUE(done(link_->count("room 1", live)));
  ASSERT_TRUE(done(link_->of_user("room 1", "ana", records)));
  ASSERT_TRUE(done(link_->of_node("n", 10, records)));
  link_ = nullptr;  // its counts are told at its end
  EXPECT_TRUE(
      eventually([&] { return sql("SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'messages'") == "30"; }));
  // Each index was made by one.
  for (const auto& [table, indexes] :
       {std::pair("messages", "2"), {"rooms", "2"}, {"read_markers", "1"}, {"records", "4"}}) {
    EXPECT_EQ(sql(std::string("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = '") + table + "'"), indexes)
        << table;
  }
}

TEST_F(Postgres, TheWarningNamesWhatTheServerDoesNotKeep) {
  EXPECT_NE(database_->warning().find("synchronous_standby_names"), std::string::npos);
  EXPECT_EQ(database_->warning().find("fsync"), std::string::npos);
  server()->set("fsync", "off");
  server()->set("full_page_writes", "off");
  server()->set("synchronous_standby_names", "nobody");
  EXPECT_EQ(database_->prepare(), "");
  const std::string warning = database_->warning();
  server()->set("synchronous_standby_names", "");
  server()->set("full_page_writes", "on");
  server()->set("fsync", "on");
  EXPECT_EQ(warning.find("synchronous_standby_names"), std::string::npos);
  EXPECT_NE(warning.find("fsync is off"), std::string::npos);
  EXPECT_NE(warning.find("full_page_writes is off"), std::string::npos);
  EXPECT_EQ(database_->prepare(), "");
}

TEST_F(Postgres, WhatCannotBeServedIsSaidWithWhatToDo) {
  sql("UPDATE tertulia.about SET version = 99");
  const std::string newer = database_->prepare();
  EXPECT_NE(newer.find("version 99"), std::string::npos) << newer;
  EXPECT_NE(newer.find("older backup"), std::string::npos) << newer;

  server()->sql("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
  const std::string latin = make_postgres(server()->url("latin"), StoreOptions())->prepare();
  EXPECT_NE(latin.find("LATIN1"), std::string::npos) << latin;
  EXPECT_NE(latin.find("CREATE DATABASE"), std::string::npos) << latin;
  server()->sql("postgres", "DROP DATABASE latin");

  server()->sql("postgres", "CREATE ROLE poor LOGIN");
  const std::string empty = server()->new_database();
  std::string url = server()->url(empty);
  url.replace(url.find("postgres@"), 9, "poor@");
  const std::string poor = make_postgres(url, StoreOptions())->prepare();
  EXPECT_NE(poor.find("42501"), std::string::npos) << poor;
  EXPECT_NE(poor.find("grant it CREATE"), std::string::npos) << poor;
  server()->sql("postgres", "DROP ROLE poor");
  server()->give_back(empty);

  const HeldPort silent;
  const std::string away =
      make_postgres("postgresql://ana:hidden@127.0.0.1:" + silent.text() + "/x", StoreOptions())->prepare();
  EXPECT_NE(away.find("127.0.0.1"), std::string::npos) << away;
  EXPECT_EQ(away.find("hidden"), std::string::npos) << away;
  const auto wrong = make_postgres("postgresql://ana:hidden@host:5432/x?no_such_option=hidden", StoreOptions());
  EXPECT_NE(wrong->prepare().find("cannot be read"), std::string::npos);
  EXPECT_EQ(wrong->prepare().find("hidden"), std::string::npos);
}

}  // namespace
}  // namespace tertulia

int main(int argc, char** argv) {
  return tertulia::link_suite_main(argc, argv, &tertulia::make_postgres);
}
