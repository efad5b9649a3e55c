// One connection: made when it is needed, given up when it is in doubt. Knows how to send a statement in one round trip
// and to say what became of it; knows nothing about logs.
//
// Blocks, but never for longer than the server lives: one that has vanished is noticed by the kernel within about 5 s,
// one that does not answer is waited for (a commit waits for its standby as long as that is away), until the worker is
// told to stop. Nothing is ever cancelled: a cancelled commit is one that nobody knows about.
// Thread: one. Memory: libpq's buffers, as large as the largest batch. Ends: with its link; what is underway is left to
// the server.
#pragma once

#include <libpq-fe.h>

#include <bitset>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/worker.h"
#include "store/cluster/link.h"
#include "store/postgres/reply.h"
#include "store/postgres/values.h"

namespace tertulia::postgres {

// A connection URL, taken apart.
struct Target {
  std::vector<std::pair<std::string, std::string>> options;  // as libpq takes them, without the three below
  struct Host {
    std::string host, hostaddr, port;
  };
  std::vector<Host> hosts;  // at least one; asked in order for one that can be written to
  int64_t connect_ms = 3'000;
  std::string address;  // without credentials
  std::string error;    // not empty: the URL makes no sense
};
Target parse_target(const std::string& url);

// A statement that is prepared once a connection. `id` is its place among all, below kStatementsMax.
inline constexpr size_t kStatementsMax = 24;
struct Statement {
  size_t id;
  const char* name;
  const char* sql;
};

class Connection {
 public:
  // The worker outlives it; null: nobody stops it.
  Connection(const Target& target, const Worker* worker) : target_(target), worker_(worker) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Connects unless it is connected. Not_now otherwise.
  cluster::Failure ensure();
  // One statement, one transaction of its own, one round trip.
  cluster::Failure run(const Statement& statement, const Params& params, Answer& answer);
  // As run(), for a statement that changes nothing: an unknown outcome is none at all, so it is not_now.
  cluster::Failure ask(const Statement& statement, const Params& params, Answer& answer);
  // Several statements, without parameters; fields come as text.
  cluster::Failure script(const std::string& sql, Answer& answer);
  void drop() { connection_ = nullptr; }

  uint64_t connects() const { return connects_; }
  // Of the last error.
  const std::string& sqlstate() const { return reply_.sqlstate; }
  int server_version() const { return connection_ == nullptr ? 0 : PQserverVersion(connection_.get()); }
  const std::string& address() const { return target_.address; }

 private:
  cluster::Failure connect_to(const Target::Host& host);
  // Sends what is queued and takes what comes, until the reply is whole or the connection is lost.
  void exchange(Answer& answer);
  // False: lost, or given up.
  bool wait_for_result();
  cluster::Failure judge();
  // True: the worker has been stopping for long enough.
  bool give_up();
  bool lost_while_idle();
  static void on_notice(void* self, const PGresult* notice);

  // Constant after construction.
  const Target& target_;
  const Worker* worker_;

  std::unique_ptr<PGconn, void (*)(PGconn*)> connection_{nullptr, &PQfinish};
  std::bitset<kStatementsMax> prepared_;  // on this connection
  bool ended_ = false;                    // the server has said, unasked, that it ends this session
  uint64_t connects_ = 0;
  Reply reply_;          // of the exchange
  std::string message_;  // of its error or warning
  int64_t stopping_since_us_ = 0;
};

}  // namespace tertulia::postgres
