// Where `tertulia verify` reads from: a data directory, or a database of several nodes.
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/worker.h"
#include "store/backup_lock.h"
#include "store/cluster/link.h"
#include "store/data_dir.h"
#include "store/open_store.h"
#include "store/sqlite.h"
#include "store/sqlite_rows.h"
#include "store/sqlite_schema.h"
#include "store/verify.h"

namespace tertulia {
namespace {

constexpr size_t page_rows = 1'000;
constexpr size_t page_bytes = 4 << 20;

class SqliteLogSource final : public LogSource {
 public:
  SqliteLogSource(const std::string& data_dir, const StoreOptions& options)
      : lock_(data_dir), path_(data_dir + "/tertulia.db"), options_(options) {}

  std::string open() {
    if (::access(path_.c_str(), R_OK) != 0)
      return sqlite::system_trouble("cannot read " + path_, errno, "Name the server's data directory with --data-dir.");
    if (!lock_.held()) return "store: the server is recovering from a failing disk. Try again when its log says so.";
    int code = SQLITE_OK;
    std::string error = sqlite::open_reader(connection_, path_, options_, code);
    if (!error.empty()) return error;
    if (rooms_.prepare(connection_, "SELECT name FROM rooms WHERE name > ?1 ORDER BY name LIMIT ?2") != SQLITE_OK ||
        rows_.prepare(connection_, "SELECT " TERTULIA_ROW_COLUMNS
                                   " FROM messages WHERE room = (SELECT id FROM rooms WHERE name = ?1) AND seq > ?2"
                                   " ORDER BY seq LIMIT ?3") != SQLITE_OK ||
        head_.prepare(connection_,
                      "SELECT seq, chain FROM messages WHERE room = (SELECT id FROM rooms WHERE name = ?1)"
                      " ORDER BY seq DESC LIMIT 1") != SQLITE_OK) {
      return trouble();
    }
    return "";
  }

  std::string rooms(const std::string& after, size_t limit, std::vector<std::string>& names) override {
    sqlite::Use rooms(rooms_);
    rooms->bind(1, after);
    rooms->bind(2, static_cast<int64_t>(limit));
    int code;
    while ((code = rooms->step()) == SQLITE_ROW) names.emplace_back(rooms->text(0));
    return code == SQLITE_DONE ? "" : trouble();
  }

  std::string rows(const std::string& room, Sequence after, Rows& out) override {
    // One moment: else a row that comes between would make the end of the log and its head disagree.
    if (connection_.run("BEGIN") != SQLITE_OK) return trouble();
    const std::string error = read(room, after, out);
    connection_.run("COMMIT");
    return error;
  }

  std::string newest(const std::string& room, Sequence& sequence) override {
    sqlite::Use head(head_);
    head->bind(1, room);
    const int code = head->step();
    sequence = code == SQLITE_ROW ? static_cast<Sequence>(head->number(0)) : 0;
    return code == SQLITE_ROW || code == SQLITE_DONE ? "" : trouble();
  }

 private:
  std::string read(const std::string& room, Sequence after, Rows& out) {
    out.head = {0, chain_start(room)};
    int code;
    {
      sqlite::Use head(head_);
      head->bind(1, room);
      code = head->step();
      if (code == SQLITE_ROW) out.head = {static_cast<Sequence>(head->number(0)), head->chain(1)};
      if (code != SQLITE_ROW && code != SQLITE_DONE) return trouble();
    }
    sqlite::Use rows(rows_);
    rows->bind(1, room);
    rows->bind(2, static_cast<int64_t>(after));
    rows->bind(3, static_cast<int64_t>(page_rows));
    while ((code = rows->step()) == SQLITE_ROW) out.rows.push_back(sqlite::row_of(rows_));
    if (code != SQLITE_DONE) return trouble();
    out.status = Rows::Status::ok;
    return "";
  }

  std::string trouble() { return "store: cannot read " + path_ + ": " + connection_.error() + "."; }

  sqlite::BackupLock lock_;
  const std::string path_;
  const StoreOptions options_;
  sqlite::Connection connection_;
  sqlite::Statement rooms_, rows_, head_;
};

// A link blocks, and belongs to its worker: so each question is a task of it that is waited for.
class LinkLogSource final : public LogSource {
 public:
  LinkLogSource(std::unique_ptr<cluster::Database> database, std::unique_ptr<Worker> worker)
      : database_(std::move(database)), worker_(std::move(worker)), link_(database_->link(*worker_)) {}
  ~LinkLogSource() override {
    worker_->run([this] { link_.reset(); });
    worker_->stop();
  }

  std::string rooms(const std::string& after, size_t limit, std::vector<std::string>& names) override {
    return asked([&] {
      names.clear();
      return link_->rooms(after, limit, names);
    });
  }

  std::string rows(const std::string& room, Sequence after, Rows& rows) override {
    return asked([&] {
      rows = {};
      return link_->read_range(room, after, false, page_rows, page_bytes, rows);
    });
  }

  std::string newest(const std::string& room, Sequence& sequence) override {
    return asked([&] { return link_->newest(room, sequence); });
  }

 private:
  // A database that restarts meanwhile need not end a verification of hours.
  template <class Call>
  std::string asked(Call call) {
    cluster::Failure failure;
    for (int tries = 0; tries < 5; ++tries) {
      const bool ran = worker_->run([&] {
        if (tries > 0) worker_->pause_us(int64_t{500'000} << tries);
        failure = call();
      });
      if (!ran) return "the verification was ended";
      if (!failure) return "";
    }
    return failure.reason;
  }

  const std::unique_ptr<cluster::Database> database_;
  const std::unique_ptr<Worker> worker_;
  std::unique_ptr<cluster::Link> link_;
};

}  // namespace

std::unique_ptr<LogSource> make_log_source(std::unique_ptr<cluster::Database> database, Workers& workers) {
  return std::make_unique<LinkLogSource>(std::move(database), workers.make("verify"));
}

OpenedLogSource open_log_source(std::string_view kind, const std::string& data_dir, const StoreOptions& options) {
  if (kind == "sqlite") {
    auto source = std::make_unique<SqliteLogSource>(data_dir, options);
    std::string error = source->open();
    if (!error.empty()) return {nullptr, error};
    return {std::move(source), ""};
  }
  if (auto database = open_database(kind, options)) {
    ThreadWorkers workers;
    OpenedLogSource opened;
    opened.source = make_log_source(std::move(database), workers);
    return opened;
  }
  return {nullptr, "store: a store \"" + std::string(kind.substr(0, kind.find(':'))) +
                       "\" keeps nothing that could be verified."};
}

}  // namespace tertulia
