#include "base/failpoint.h"
#include "store/open_store.h"
#include "store/sqlite.h"
#include "store_suite.h"

namespace tertulia {
namespace {

class SqliteUnderTest final : public StoreUnderTest {
 public:
  SqliteUnderTest() { start(); }
  ~SqliteUnderTest() override { end(); }
  void poison() override {
    store_->stop(true);
    store_ = nullptr;
    {
      sqlite::Connection connection;
      ASSERT_EQ(connection.open(directory_ / "data/tertulia.db", SQLITE_OPEN_READWRITE, ""), SQLITE_OK);
      std::string sql = std::string("CREATE TRIGGER poison AFTER INSERT ON messages WHEN NEW.text LIKE '") + kPoison +
                        "%' BEGIN SELECT RAISE(ABORT, 'poisoned'); END";
      ASSERT_EQ(connection.run(sql.c_str()), SQLITE_OK) << connection.error();
    }
    start();
  }
  bool dawdle() override {
#ifdef TERTULIA_FAILPOINTS
    failpoint_disarm_all();
    failpoint_arm("in_wal_sync=sleep_300");
    return true;
#else
    return false;
#endif
  }

 private:
  void start() override {
    StoreOptions small = options();
    small.wal_checkpoint_bytes = 256 << 10;  // and through several checkpoints
    OpenedStore opened = open_store("sqlite", directory_ / "data", small, clock);
    ASSERT_NE(opened.store, nullptr) << opened.error;
    store_ = std::move(opened.store);
  }

  TemporaryDirectory directory_;
};

INSTANTIATE_TEST_SUITE_P(Sqlite, StoreSuite,
                         testing::Values(StoreKind{
                             "sqlite",
                             []() -> std::unique_ptr<StoreUnderTest> { return std::make_unique<SqliteUnderTest>(); }}),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace tertulia
