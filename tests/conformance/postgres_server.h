// A PostgreSQL server of the test's own: a new one in a temporary directory, small, with fsync on, reached over a Unix
// socket there and over 127.0.0.1. As root it runs as the user postgres.
//
// Thread: one. Ends: the destructor, or the death of the test, ends the server; the directory is removed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/testing.h"
#include "child_process.h"

namespace tertulia {

class PostgresServer {
 public:
  // Null: PostgreSQL is not installed, or does not start; a test failure says why. settings: "name=value".
  static std::unique_ptr<PostgresServer> start(const std::vector<std::string>& settings = {});
  ~PostgresServer();

  // An empty database; one that was given back is emptied and used again, for making one takes long.
  std::string new_database();
  void give_back(const std::string& database) { free_.push_back(database); }
  // postgresql://…, over the Unix socket.
  std::string url(const std::string& database) const;
  // Through 127.0.0.1 and this port (0: the server's own).
  std::string tcp_url(const std::string& database, uint16_t port = 0) const;
  uint16_t port() const { return port_.number(); }
  const std::string& directory() const { return directory_.path(); }

  // Runs SQL as the superuser; the first field of the last row, or a test failure.
  std::string sql(const std::string& database, const std::string& statements);
  // Writes a setting and waits until it holds.
  void set(const std::string& name, const std::string& value);
  // SIGKILL to all its processes.
  void kill();
  // Ends it in good order.
  void stop();
  // After kill() or stop(). False: it does not start.
  bool start_again();

 private:
  PostgresServer() = default;

  TemporaryDirectory directory_;
  std::string programs_;
  std::vector<std::string> settings_;
  const HeldPort port_;
  int databases_ = 0;
  std::vector<std::string> free_;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace tertulia
