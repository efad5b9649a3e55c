#include "store/postgres/connection.h"

#include <poll.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/clock.h"

namespace tertulia::postgres {

using cluster::Failure;
using cluster::Trouble;

namespace {

constexpr int kPollMs = 100;                   // so often the worker's end is looked at while nothing comes
constexpr int64_t kGiveUpAfterUs = 2'000'000;  // of a worker that ends
constexpr size_t kMessageBytesMax = 300;

// Whatever the role, the database or the server is set to: a commit is durable and waits for the standby; a warning is
// told; each statement sees what was committed before it; nothing of ours is cancelled behind our back; statements on a
// table that was empty a moment ago use its indexes. A node that vanishes leaves no connection behind for hours.
constexpr char kSession[] = R"sql(
SET search_path = pg_catalog;
SET client_min_messages = warning;
SET default_transaction_isolation = 'read committed';
SET statement_timeout = 0;
SET lock_timeout = '1s';
SET idle_session_timeout = 0;
SET idle_in_transaction_session_timeout = '10s';
SET tcp_keepalives_idle = 30;
SET tcp_keepalives_interval = 10;
SET tcp_keepalives_count = 3;
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET random_page_cost = 0.01;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET jit = off;
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply');
SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout';
)sql";

int64_t now_us() {
  return SystemClock().now_us();
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts(1);
  for (char c : list) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::string one_line(const char* text) {
  std::string line = text == nullptr ? "" : text;
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
  std::replace(line.begin(), line.end(), '\n', ' ');
  if (line.size() > kMessageBytesMax) line.resize(kMessageBytesMax);
  return line;
}

// What to do about what libpq says of TLS; empty: nothing of that. Its own advice is to do without.
std::string advice(const std::string& why) {
  const auto says = [&](const char* words) { return why.find(words) != std::string::npos; };
  if (says("certificate verify failed")) {
    return ". Another authority than those in sslrootcert has signed the server's certificate, or it has expired: name"
           " the right authority's file in the URL, as in ?sslmode=verify-full&sslrootcert=/etc/tertulia/ca.pem";
  }
  if (says("root certificate file")) {
    return ". Name the file of the authority that has signed the server's certificate in the URL, as in"
           " ?sslmode=verify-full&sslrootcert=/etc/tertulia/ca.pem (for a public one "
           "/etc/ssl/certs/ca-certificates.crt)";
  }
  if (says("does not match host name")) {
    return ". Write the host in the URL as the certificate names it, or give the server a certificate for that name";
  }
  if (says("server does not support SSL")) return ". Turn ssl on at the server and give it a certificate";
  return "";
}

std::string field(const PGresult* result, int code) {
  const char* value = PQresultErrorField(result, code);
  return value == nullptr ? "" : value;
}

}  // namespace

Target parse_target(const std::string& url) {
  Target target;
  char* error = nullptr;
  const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> parsed(PQconninfoParse(url.c_str(), &error),
                                                                              &PQconninfoFree);
  if (parsed == nullptr) {
    // The message may quote the URL, and with it a password.
    target.error =
        "store: the URL of the PostgreSQL store cannot be read. Write it as "
        "postgresql://user@host:5432/database?sslmode=verify-full, with special characters as %XX.";
    if (error != nullptr) PQfreemem(error);
    return target;
  }
  std::string hosts, hostaddrs, ports, database;
  auto given = [&](const std::string& key) {
    return std::any_of(target.options.begin(), target.options.end(), [&](const auto& o) { return o.first == key; });
  };
  for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option) {
    if (option->val == nullptr) continue;
    const std::string key = option->keyword, value = option->val;
    if (key == "host") {
      hosts = value;
    } else if (key == "hostaddr") {
      hostaddrs = value;
    } else if (key == "port") {
      ports = value;
    } else if (key == "connect_timeout") {
      const int64_t seconds = std::strtoll(value.c_str(), nullptr, 10);
      if (seconds > 0) target.connect_ms = std::min<int64_t>(seconds, 60) * 1000;
    } else if (key != "client_encoding" && key != "target_session_attrs") {
      if (key == "dbname") database = value;
      target.options.emplace_back(key, value);
    }
  }
  target.options.emplace_back("client_encoding", "UTF8");
  target.options.emplace_back("target_session_attrs", "read-write");
  // A server that has vanished is noticed within about 5 s, idle or not.
  for (const auto& [key, value] : {std::pair<const char*, const char*>{"keepalives_idle", "2"},
                                   {"keepalives_interval", "1"},
                                   {"keepalives_count", "3"},
                                   {"tcp_user_timeout", "5000"},
                                   {"fallback_application_name", "tertulia"}}) {
    if (!given(key)) target.options.emplace_back(key, value);
  }
  if (!given("gssencmode") && std::getenv("PGGSSENCMODE") == nullptr) {
    target.options.emplace_back("gssencmode", "disable");  // else libpq asks for Kerberos tickets at every connection
  }
  const std::vector<std::string> each_host = split(hosts), each_addr = split(hostaddrs), each_port = split(ports);
  const size_t count = std::max(each_host.size(), each_addr.size());
  auto nth = [](const std::vector<std::string>& list, size_t n) {
    return n < list.size() ? list[n] : list.size() == 1 ? list[0] : std::string();
  };
  for (size_t i = 0; i < count; ++i) {
    target.hosts.push_back({nth(each_host, i), nth(each_addr, i), nth(each_port, i)});
    const Target::Host& host = target.hosts.back();
    if (i > 0) target.address += ',';
    target.address += !host.host.empty() ? host.host : !host.hostaddr.empty() ? host.hostaddr : "local";
    if (!host.port.empty()) target.address += ":" + host.port;
  }
  if (!database.empty()) target.address += "/" + database;
  return target;
}

Failure Connection::ensure() {
  if (connection_ != nullptr && !lost_while_idle()) return {};
  drop();
  if (!target_.error.empty()) return {Trouble::not_now, target_.error};
  Failure failure;
  for (const Target::Host& host : target_.hosts) {
    failure = connect_to(host);
    if (!failure || give_up()) break;
  }
  if (failure) return failure;
  Answer ignored;
  failure = script(kSession, ignored);
  if (failure) {
    drop();
    failure.trouble = Trouble::not_now;
    return failure;
  }
  ++connects_;
  return {};
}

// What the server said, or did, since the last statement: otherwise the next one is sent into a closed connection, and
// its outcome would be unknown for no reason.
bool Connection::lost_while_idle() {
  pollfd socket{PQsocket(connection_.get()), POLLIN, 0};
  // A changed setting is told in between, too.
  while (::poll(&socket, 1, 0) > 0) {
    if (PQconsumeInput(connection_.get()) == 0) return true;
    PQisBusy(connection_.get());  // reads what came: the reason of a server that ends the session is a notice here
    if (ended_) return true;
  }
  return PQstatus(connection_.get()) != CONNECTION_OK || PQtransactionStatus(connection_.get()) != PQTRANS_IDLE;
}

Failure Connection::connect_to(const Target::Host& host) {
  std::vector<const char*> keys, values;
  auto add = [&](const char* key, const std::string& value) {
    if (value.empty()) return;
    keys.push_back(key);
    values.push_back(value.c_str());
  };
  add("host", host.host);
  add("hostaddr", host.hostaddr);
  add("port", host.port);
  for (const auto& [key, value] : target_.options) add(key.c_str(), value);
  keys.push_back(nullptr);
  values.push_back(nullptr);
  auto failed = [&](const std::string& why) {
    drop();
    return Failure{Trouble::not_now, "PostgreSQL at " + target_.address + ": " + why + advice(why)};
  };
  const int64_t deadline_us = now_us() + target_.connect_ms * 1000;
  connection_.reset(PQconnectStartParams(keys.data(), values.data(), 0));
  if (connection_ == nullptr || PQstatus(connection_.get()) == CONNECTION_BAD) {
    return failed(one_line(PQerrorMessage(connection_.get())));
  }
  PQsetNoticeReceiver(connection_.get(), &Connection::on_notice, this);
  for (PostgresPollingStatusType next = PGRES_POLLING_WRITING; next != PGRES_POLLING_OK;) {
    if (next == PGRES_POLLING_FAILED) return failed(one_line(PQerrorMessage(connection_.get())));
    pollfd socket{PQsocket(connection_.get()), static_cast<short>(next == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
    const int ready = ::poll(&socket, 1, kPollMs);
    if (now_us() > deadline_us) {
      return failed("no answer within " + std::to_string(target_.connect_ms / 1000) + " s");
    }
    if (give_up()) return failed("given up");
    if (ready > 0) next = PQconnectPoll(connection_.get());
  }
  PQsetnonblocking(connection_.get(), 1);
  prepared_.reset();
  ended_ = false;
  return {};
}

void Connection::on_notice(void* self, const PGresult* notice) {
  Connection& connection = *static_cast<Connection*>(self);
  const std::string severity = field(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity == "FATAL" || severity == "PANIC") connection.ended_ = true;
  if (severity != "WARNING") return;
  connection.reply_.warned = true;
  connection.message_ =
      "WARNING " + field(notice, PG_DIAG_SQLSTATE) + ": " + one_line(field(notice, PG_DIAG_MESSAGE_PRIMARY).c_str());
}

bool Connection::give_up() {
  if (worker_ == nullptr || !worker_->stopping()) return false;
  const int64_t now = now_us();
  if (stopping_since_us_ == 0) stopping_since_us_ = now;
  return now - stopping_since_us_ > kGiveUpAfterUs;
}

bool Connection::wait_for_result() {
  PGconn* connection = connection_.get();
  for (;;) {
    // A failed write is told by the read: what the server said before it closed is worth more.
    const int flushing = PQflush(connection);
    if (flushing <= 0 && PQisBusy(connection) == 0) return true;
    pollfd socket{PQsocket(connection), static_cast<short>(flushing == 1 ? POLLIN | POLLOUT : POLLIN), 0};
    const int ready = ::poll(&socket, 1, kPollMs);
    if (ready > 0 && (socket.revents & (POLLIN | POLLERR | POLLHUP)) != 0 && PQconsumeInput(connection) == 0) {
      // What came before the end is still to be read.
      return PQisBusy(connection) == 0;
    }
    if (give_up()) {
      message_ = "given up, for this server is stopping";
      return false;
    }
  }
}

void Connection::exchange(Answer& answer) {
  while (wait_for_result()) {
    PGresult* result = PQgetResult(connection_.get());
    if (result == nullptr) {
      reply_.ready =
          PQstatus(connection_.get()) == CONNECTION_OK && PQtransactionStatus(connection_.get()) == PQTRANS_IDLE;
      return;
    }
    switch (PQresultStatus(result)) {
      case PGRES_TUPLES_OK:
        reply_.ended = true;
        answer = Answer(result);
        break;
      case PGRES_COMMAND_OK:
        reply_.ended = true;
        PQclear(result);
        break;
      default: {
        const std::string severity = field(result, PG_DIAG_SEVERITY_NONLOCALIZED);
        // libpq's own: the connection is lost. It says nothing about what was done.
        if (severity.empty()) {
          if (message_.empty()) message_ = one_line(PQresultErrorMessage(result));
        } else if (reply_.severity.empty()) {
          reply_.severity = severity;
          reply_.sqlstate = field(result, PG_DIAG_SQLSTATE);
          message_ = severity + " " + reply_.sqlstate + ": " + one_line(field(result, PG_DIAG_MESSAGE_PRIMARY).c_str());
        }
        PQclear(result);
      }
    }
  }
}

Failure Connection::judge() {
  const Trouble trouble = trouble_of(reply_);
  if (trouble == Trouble::none) return {};
  if (message_.empty()) message_ = "the connection was lost";
  if (connection_is_useless(reply_)) drop();
  return {trouble, "PostgreSQL at " + target_.address + ": " + message_};
}

Failure Connection::run(const Statement& statement, const Params& params, Answer& answer) {
  if (Failure failure = ensure(); failure) return failure;
  if (!prepared_[statement.id]) {
    reply_ = {};
    message_.clear();
    Answer ignored;
    if (PQsendPrepare(connection_.get(), statement.name, statement.sql, 0, nullptr) == 1) exchange(ignored);
    if (Failure failure = judge(); failure) {
      failure.trouble = Trouble::not_now;
      return failure;
    }
    prepared_[statement.id] = true;
  }
  reply_ = {};
  message_.clear();
  const std::vector<int> formats(static_cast<size_t>(params.count()), 1);
  if (PQsendQueryPrepared(connection_.get(), statement.name, params.count(), params.values().data(),
                          params.lengths().data(), formats.data(), 1) == 1) {
    exchange(answer);
  } else {
    message_ = one_line(PQerrorMessage(connection_.get()));
  }
  return judge();
}

Failure Connection::ask(const Statement& statement, const Params& params, Answer& answer) {
  Failure failure = run(statement, params, answer);
  if (failure) failure.trouble = Trouble::not_now;
  return failure;
}

Failure Connection::script(const std::string& sql, Answer& answer) {
  reply_ = {};
  message_.clear();
  if (PQsendQuery(connection_.get(), sql.c_str()) == 1) {
    exchange(answer);
  } else {
    message_ = one_line(PQerrorMessage(connection_.get()));
  }
  return judge();
}

}  // namespace tertulia::postgres
