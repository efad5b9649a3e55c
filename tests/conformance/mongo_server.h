// A MongoDB to test against: the one at MONGODB_URL, else a mongod from the PATH as a replica set of one, else FerretDB
// (built on demand by tests/ferretdb/build.sh), which knows neither majorities nor sessions and scans for most queries.
//
// One for the whole program, started at the first use, in a temporary directory; it ends with the program, by its pid.
// Thread: one.
#pragma once

#include <string>

namespace tertulia {

class MongoServer {
 public:
  // Nothing: `error` says why there is none.
  static MongoServer* get(std::string& error);

  // The URL of a database that nobody has used; it is dropped when the program ends.
  std::string new_database();
  // 0: not known, as it is not ours.
  int port() const { return port_; }
  // FerretDB: fewer rows, longer waits.
  bool is_ferretdb() const { return ferretdb_; }
  // Stops and continues the process (SIGSTOP, SIGCONT), kills it, starts it again on the same data and port. False: it
  // is not ours to stop.
  bool stop();
  bool resume();
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
  std::string program_, directory_;
  int port_ = 0;
  int pid_ = 0;
  int databases_ = 0;
};

}  // namespace tertulia
