#include "store/postgres/postgres_database.h"

#include <mutex>
#include <utility>

#include "store/postgres/connection.h"
#include "store/postgres/postgres_link.h"
#include "store/postgres/schema.h"

namespace tertulia {
namespace postgres {
namespace {

class PostgresDatabase final : public cluster::Database {
 public:
  explicit PostgresDatabase(const std::string& url) : target_(parse_target(url)) {}

  std::string prepare() override {
    if (!target_.error.empty()) return target_.error;
    Connection connection(target_, nullptr);
    std::string error = prepare_schema(connection);
    if (!error.empty()) return error;
    Answer answer;
    constexpr char kSettings[] =
        "SELECT current_setting('synchronous_standby_names') = '', current_setting('fsync')::boolean,"
        " current_setting('full_page_writes')::boolean";
    if (cluster::Failure failure = connection.script(kSettings, answer); failure) {
      return "store: " + failure.reason + ".";
    }
    auto is = [&](int column) { return answer.at(0, column) == "t"; };
    std::string warning;
    if (is(0)) {
      warning =
          "synchronous_standby_names is empty, so a message that was acknowledged may be lost with this server (if it"
          " fails over to an asynchronous standby, or its disk dies). Name a synchronous standby to rule that out.";
    }
    if (!is(1))
      warning += (warning.empty() ? "" : " ") + std::string("fsync is off: a crash may lose everything. Turn it on.");
    if (!is(2)) {
      warning += (warning.empty() ? "" : " ") +
                 std::string(
                     "full_page_writes is off: a crash may damage the tables, unless the file system rules out"
                     " torn pages. Turn it on.");
    }
    if (!warning.empty()) warning = "PostgreSQL at " + target_.address + ": " + warning;
    const std::lock_guard lock(mutex_);
    warning_ = std::move(warning);
    return "";
  }
  std::string warning() const override {
    const std::lock_guard lock(mutex_);
    return warning_;
  }
  std::unique_ptr<cluster::Link> link(Worker& worker) override {
    return std::make_unique<PostgresLink>(target_, worker);
  }
  std::string address() const override { return target_.address; }

 private:
  const Target target_;
  mutable std::mutex mutex_;
  std::string warning_;  // under mutex_
};

}  // namespace
}  // namespace postgres

std::unique_ptr<cluster::Database> make_postgres(const std::string& url, const StoreOptions& /*options*/) {
  return std::make_unique<postgres::PostgresDatabase>(url);
}

}  // namespace tertulia
