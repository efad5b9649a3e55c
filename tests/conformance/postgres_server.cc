#include "postgres_server.h"

#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

namespace tertulia {
namespace {

std::string programs() {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& version : std::filesystem::directory_iterator("/usr/lib/postgresql", ignored)) {
    const std::string directory = version.path() / "bin";
    if (::access((directory + "/initdb").c_str(), X_OK) == 0) found.push_back(directory);
  }
  for (const char* directory : {"/usr/bin", "/usr/local/bin", "/usr/local/pgsql/bin"}) {
    if (found.empty() && ::access((std::string(directory) + "/initdb").c_str(), X_OK) == 0) found.push_back(directory);
  }
  std::sort(found.begin(), found.end());
  return found.empty() ? "" : found.back();
}

}  // namespace

std::unique_ptr<PostgresServer> PostgresServer::start(const std::vector<std::string>& settings) {
  std::unique_ptr<PostgresServer> server(new PostgresServer);
  server->programs_ = programs();
  if (server->programs_.empty()) {
    ADD_FAILURE() << "PostgreSQL is not installed; script/setup --test does that";
    return nullptr;
  }
  if (::geteuid() == 0) {
    const passwd* user = ::getpwnam("postgres");
    if (user == nullptr || ::chown(server->directory().c_str(), user->pw_uid, user->pw_gid) != 0) {
      ADD_FAILURE() << "as root PostgreSQL needs a user postgres to run as";
      return nullptr;
    }
  }
  const std::string log = server->directory_ / "initdb.log";
  ChildProcess initdb({server->programs_ + "/initdb", "-D", server->directory_ / "data", "-E", "UTF8", "--locale=C",
                       "-A", "trust", "-U", "postgres", "-N"},
                      {.user = "postgres", .log = log});
  if (initdb.wait() != 0) {
    ADD_FAILURE() << "initdb: " << file_contents(log);
    return nullptr;
  }
  server->settings_ = {
      "shared_buffers=16MB", "max_connections=60", "max_wal_size=256MB",       "wal_buffers=1MB",
      "autovacuum=on",       "max_wal_senders=4",  "log_min_messages=warning", "recovery_init_sync_method=syncfs"};
  server->settings_.insert(server->settings_.end(), settings.begin(), settings.end());
  if (server->start_again()) return server;
  ADD_FAILURE() << "PostgreSQL does not start: " << file_contents(server->directory_ / "log");
  return nullptr;
}

bool PostgresServer::start_again() {
  std::vector<std::string> command = {
      programs_ + "/postgres", "-D", directory_ / "data", "-k", directory(), "-h", "127.0.0.1", "-p", port_.text()};
  for (const std::string& setting : settings_) {
    command.push_back("-c");
    command.push_back(setting);
  }
  // After a kill its processes' shared memory may be in use for another moment.
  for (int attempt = 0; attempt < 50; ++attempt) {
    process_ =
        std::make_unique<ChildProcess>(command, ChildProcess::Options{.user = "postgres", .log = directory_ / "log"});
    const std::string ready = url("postgres");
    if (eventually([&] { return PQping(ready.c_str()) == PQPING_OK || !process_->running(); },
                   std::chrono::seconds(60)) &&
        process_->running()) {
      return true;
    }
    ::usleep(100'000);
  }
  return false;
}

PostgresServer::~PostgresServer() {
  if (process_ == nullptr) return;
  process_->signal(SIGQUIT);
  process_->wait();
}

void PostgresServer::stop() {
  process_->signal(SIGINT);
  process_->wait();
}

void PostgresServer::kill() {
  const std::string pid = std::to_string(process_->pid());
  // Stopped first, so that it starts nobody while its children are counted.
  process_->signal(SIGSTOP);
  std::istringstream children(file_contents("/proc/" + pid + "/task/" + pid + "/children"));
  process_->signal(SIGKILL);
  for (pid_t child = 0; children >> child;) ::kill(child, SIGKILL);
  process_->wait();
}

std::string PostgresServer::url(const std::string& database) const {
  return "postgresql://postgres@/" + database + "?host=" + directory() + "&port=" + port_.text();
}

std::string PostgresServer::tcp_url(const std::string& database, uint16_t port) const {
  return "postgresql://postgres@127.0.0.1:" + std::to_string(port == 0 ? port_.number() : port) + "/" + database +
         "?sslmode=disable";
}

std::string PostgresServer::new_database() {
  if (!free_.empty()) {
    const std::string again = free_.back();
    free_.pop_back();
    sql(again,
        "SET client_min_messages = warning; DROP SCHEMA IF EXISTS tertulia CASCADE; DROP SCHEMA public CASCADE; CREATE "
        "SCHEMA public");
    return again;
  }
  const std::string name = "t" + std::to_string(++databases_);
  sql("postgres", "CREATE DATABASE " + name + " TEMPLATE template0");
  return name;
}

std::string PostgresServer::sql(const std::string& database, const std::string& statements) {
  PGconn* connection = PQconnectdb(url(database).c_str());
  PGresult* result = PQexec(connection, statements.c_str());
  const ExecStatusType status = PQresultStatus(result);
  std::string value;
  if (status == PGRES_TUPLES_OK) {
    if (PQntuples(result) > 0) value = PQgetvalue(result, PQntuples(result) - 1, 0);
  } else {
    EXPECT_EQ(status, PGRES_COMMAND_OK) << statements << ": " << PQerrorMessage(connection);
  }
  PQclear(result);
  PQfinish(connection);
  return value;
}

void PostgresServer::set(const std::string& name, const std::string& value) {
  sql("postgres", "ALTER SYSTEM SET " + name + " = '" + value + "'");
  sql("postgres", "SELECT pg_reload_conf()");
  EXPECT_TRUE(eventually([&] { return sql("postgres", "SELECT current_setting('" + name + "')") == value; }));
}

}  // namespace tertulia
