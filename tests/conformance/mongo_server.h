// A MongoDB to test against: the one at MONGODB_URL, else a mongod from the PATH as a replica set of one, else FerretDB
// (built on demand by tests/ferretdb/build.sh), which knows neither majorities nor sessions and scans for most queries.
//
// One for the whole program, started at the first use, in a temporary directory; it ends with the program, by its pid.
// Thread: one.
#pragma once

#include <memory>
#include <string>

#include "base/testing.h"
#include "child_process.h"

namespace tertulia {

class MongoServer {
 public:
  // Nothing: `error` says why there is none.
  static MongoServer* get(std::string& error);

  // The URL of a database that nobody has used; it is dropped when the program ends.
  std::string new_database();
  // 0: not known, as it is not ours.
  uint16_t port() const { return port_ == nullptr ? 0 : port_->number(); }
  // FerretDB: fewer rows, longer waits.
  bool is_ferretdb() const { return ferretdb_; }
  // Options of a URL, which new_database() has already. A call that a MongoDB answers within the driver's usual times
  // takes FerretDB, on a busy machine, longer.
  const char* patience() const { return ferretdb_ ? "connectTimeoutMS=15000&socketTimeoutMS=25000" : ""; }
  // Kills the process, starts it again on the same data and port. False: it is not ours to kill.
  bool kill();
  bool restart();

  MongoServer(const MongoServer&) = delete;
  MongoServer& operator=(const MongoServer&) = delete;
  ~MongoServer();

 private:
  MongoServer() = default;
  std::string start();
  std::string launch();
  std::string initiate();

  std::string url_;
  bool ferretdb_ = false;
  std::string program_;
  int databases_ = 0;
  // What we started ends before its directory. None: it runs elsewhere.
  std::unique_ptr<TemporaryDirectory> directory_;
  std::unique_ptr<HeldPort> port_;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace tertulia
