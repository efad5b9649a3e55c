// Joins the parts: configuration, log, store, bus, shards, sockets, signals.
//
// The main thread starts everything, then waits for signals and for what other threads ask of it, and ends everything
// in the opposite order. It never touches a shard's state: it posts.
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "base/metrics.h"
#include "bus/open_bus.h"
#include "net/assets.h"
#include "net/event_loop.h"
#include "net/internal_server.h"
#include "net/listener.h"
#include "net/public_site.h"
#include "net/unique_fd.h"
#include "node/config.h"
#include "node/node.h"
#include "node/settings.h"
#include "store/backup.h"
#include "store/open_store.h"
#include "store/verify.h"

namespace tertulia {
namespace {

// Descriptors for everything that is no client: the store's files, logs, loops, the internal port.
constexpr uint64_t kReservedFiles = 128;
// Connections that are being told that there is no place for them.
constexpr uint32_t kRefusalsMax = 256;
constexpr uint32_t kInternalConnectionsMax = 64;
constexpr int kHousekeepingMs = 5'000;

// Everything goes to the terminal or the journal in the same form, also what happens before there is a log.
int fail(const std::string& sentence) {
  std::fprintf(stderr, "tertulia: %s\n", sentence.c_str());
  return 1;
}

// What wakes the main thread: signals, and other threads. The signals are blocked in every thread begun after it.
class Wake {
 public:
  Wake() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int each : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, each);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    signal(SIGPIPE, SIG_IGN);  // a log or a client that has gone is an error of its write
    signals_ = UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    asked_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    CHECK(signals_.get() >= 0 && asked_.get() >= 0, "the kernel gives the first descriptors of a process");
  }

  // Thread: any.
  void ask_drain() { ask(drain_asked_); }
  void tell_drained() { ask(drained_); }

  // Waits for a signal (returned), or for another thread or the time to pass (0).
  int wait(int timeout_ms) {
    pollfd fds[2] = {{signals_.get(), POLLIN, 0}, {asked_.get(), POLLIN, 0}};
    ::poll(fds, 2, timeout_ms);
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t asked = ::read(asked_.get(), &count, sizeof count);
    signalfd_siginfo signal{};
    return ::read(signals_.get(), &signal, sizeof signal) == sizeof signal ? static_cast<int>(signal.ssi_signo) : 0;
  }
  bool drain_asked() const { return drain_asked_; }
  bool drained() const { return drained_; }

 private:
  void ask(std::atomic<bool>& flag) {
    flag = true;
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(asked_.get(), &one, sizeof one);
  }

  UniqueFd signals_, asked_;
  std::atomic<bool> drain_asked_ = false, drained_ = false;
};

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// How many connections there may be: what the operator wants, as far as there are descriptors for it.
uint32_t connections_max(const Options& options, Log& log) {
  const uint64_t files = raise_open_files_limit();
  const uint64_t possible = files > 2 * kReservedFiles ? files - kReservedFiles : files / 2;
  if (possible >= options.connections_max) return options.connections_max;
  log.warn("net", "fewer connections than configured, there are not enough open files",
           {{"connections_max", possible},
            {"configured", options.connections_max},
            {"open_files_max", files},
            {"do", "raise the hard limit (LimitNOFILE, ulimit -Hn), or lower --connections-max"}});
  return static_cast<uint32_t>(possible);
}

uint32_t per_address_max(const Options::Live& live) {
  return live.rate_limits ? live.address_connections_max : 0;
}

// A running node. Built and ended by the main thread; members go in the opposite order of their declaration.
class Server {
 public:
  Server(const Config& config, Log& log, SystemClock& clock, Wake& wake)
      : config_(config), live_(config.options.live), log_(log), clock_(clock), wake_(wake) {}

  ~Server() { end(); }

  // Returns an empty string, or why the server cannot start and what to do.
  std::string start() {
    const Options& options = config_.options;
    for (const std::string& cidr : options.trusted_proxies) {
      if (!proxies_.add(cidr)) {
        return "net: \"" + cidr + "\" (--trusted-proxies) is no network; write ADDRESS/BITS, as in 10.0.0.0/8";
      }
    }
    // Before anything listens: a second process on the same data has to find out here.
    StoreOptions store_options;
    store_options.claims.name_grace_ms = options.name_grace_ms;
    store_options.claims.members_per_room_max = options.members_per_room_max;
    store_options.claims.rooms_max = options.rooms_max;
    store_options.lease_ms = options.lease_ms;
    store_options.lease_renew_ms = options.lease_renew_ms;
    store_options.log = &log_;
    store_options.metrics = &store_metrics_;
    OpenedStore opened = open_store(options.store, options.data_dir, store_options, clock_);
    if (!opened.store) return opened.error;
    store_ = std::move(opened.store);
    NatsOptions nats;
    nats.credentials = {options.nats_creds, options.nats_ca, options.nats_cert, options.nats_key};
    nats.log = &log_;
    OpenedBus opened_bus = open_bus(options.bus, nats, clock_, random_);
    if (!opened_bus.bus) return opened_bus.error;
    bus_ = std::move(opened_bus.bus);

    const uint32_t connections = connections_max(options, log_);
    counts_ = std::make_unique<ConnectionCounts>(connections, per_address_max(live_));
    std::vector<Node::Loop> loops;
    for (uint32_t i = 0; i < options.shards; ++i) {
      loops_.push_back(std::make_unique<EventLoop>("shard-" + std::to_string(i)));
      loops.push_back({loops_.back().get(), loops_.back().get()});
    }
    node_ = std::make_unique<Node>(clock_, random_, log_, *store_, *bus_, options, TERTULIA_VERSION, loops);
    site_ =
        std::make_unique<PublicSite>(OriginPolicy{options.allowed_origins, options.require_origin}, embedded_assets());
    std::vector<HttpService*> services;
    for (size_t i = 0; i < loops_.size(); ++i) {
      Shard& shard = node_->shard(i);
      HttpService::Parts parts{*loops_[i], *site_, &shard, *counts_, proxies_, clock_, log_, shard.metrics()};
      parts.proxy_protocol = options.proxy_protocol;
      parts.head_us = options.handshake_ms * 1000;
      services_.push_back(std::make_unique<HttpService>(parts));
      services.push_back(services_.back().get());
    }
    listener_ = std::make_unique<Listener>(accept_loop_, services, *counts_, refusals_, log_);
    if (std::string wrong = listener_->open(options.listen, "--listen"); !wrong.empty()) return wrong;

    internal_site_ = std::make_unique<InternalSite>(
        InternalSite::Doors{[this] { return !node_->draining(); }, [this] { return trouble(); },
                            [this] { return metrics_.render(); }, [this] { wake_.ask_drain(); }});
    HttpService::Parts internal{accept_loop_, *internal_site_, nullptr, internal_counts_,
                                nobody_,      clock_,          log_,    internal_metrics_};
    internal_service_ = std::make_unique<HttpService>(internal);
    internal_listener_ = std::make_unique<Listener>(accept_loop_, std::vector<HttpService*>{internal_service_.get()},
                                                    internal_counts_, refusals_, log_);
    if (std::string wrong = internal_listener_->open(options.internal_listen, "--internal-listen"); !wrong.empty()) {
      return wrong;
    }

    registration_ = metrics_.add([this](MetricsSink& sink) { describe(sink); });
    for (const auto& loop : loops_) loop->start();
    node_->start();
    accept_loop_.start();
    serving_ = true;
    log_.info("net", "serves on",
              {{"address", "http://" + listener_->address() + "/"},
               {"internal", "http://" + internal_listener_->address() + "/"},
               {"version", TERTULIA_VERSION},
               {"store", without_credentials(options.store)},
               {"bus", shown_bus(options.bus)},
               {"shards", options.shards},
               {"connections_max", connections}});
    // For whoever typed the command.
    std::printf("Tertulia serves on http://%s/\n", listener_->address().c_str());
    std::fflush(stdout);
    return {};
  }

  // Until the node has left, or is told to end at once.
  void run() {
    for (;;) {
      const int signal = wake_.wait(kHousekeepingMs);
      if (signal == SIGINT || (signal == SIGTERM && terminated_)) {
        log_.info("node", "ends at once", {{"signal", ::sigabbrev_np(signal)}, {"members", node_->members_count()}});
        return;
      }
      if (signal == SIGTERM && node_->draining()) {
        log_.info("node", "is leaving already", {{"signal", "TERM"}, {"sessions", node_->sessions_count()}});
      }
      terminated_ = terminated_ || signal == SIGTERM;
      if (terminated_ || wake_.drain_asked()) drain(terminated_ ? "SIGTERM" : "POST /drain");
      if (signal == SIGHUP) reload();
      if (wake_.drained()) {
        log_.info("node", "has left");
        return;
      }
      log_.tell_kept_back(false);
    }
  }

 private:
  void drain(const char* reason) {
    if (node_->draining()) return;
    log_.info(
        "node", "is leaving",
        {{"reason", reason}, {"sessions", node_->sessions_count()}, {"window_ms", config_.options.drain_window_ms}});
    site_->set_draining();
    node_->drain(config_.options.drain_window_ms, [this] { wake_.tell_drained(); });
  }

  void reload() {
    const std::variant<Reloaded, std::string> result = tertulia::reload(config_, live_);
    if (const auto* wrong = std::get_if<std::string>(&result)) {
      log_.error("node", "the configuration was not reloaded, the former stays in force", {{"error", *wrong}});
      return;
    }
    const Reloaded& reloaded = std::get<Reloaded>(result);
    live_ = reloaded.live;
    counts_->set_per_address_max(per_address_max(live_));
    node_->reload(live_);
    for (const std::string& notice : reloaded.notices)
      log_.warn("node", "configuration", {{"notice", LogSentence{notice}}});
    log_.info("node", "configuration reloaded", {{"changed", joined(reloaded.changed)}});
    if (!reloaded.need_restart.empty()) {
      log_.warn("node", "changed settings need a restart", {{"settings", joined(reloaded.need_restart)}});
    }
  }

  // A line for each door that does not work just now.
  std::string trouble() const {
    std::string text;
    for (const auto& [door, what] : {std::pair{"store", store_->trouble()}, std::pair{"bus", bus_->trouble()}}) {
      if (what.empty()) continue;
      if (!text.empty()) text += '\n';
      if (!what.starts_with(std::string(door) + ":")) text += std::string(door) + ": ";
      text += what;
    }
    return text;
  }

  void describe(MetricsSink& sink) const {
    node_->describe(sink);
    tertulia::describe(store_metrics_, sink);
    describe_process(sink, started_unix_ms_, TERTULIA_VERSION);
    sink.gauge("tertulia_connections", "Open connections of the public port, HTTP and WebSocket.", counts_->in_all());
    sink.gauge("tertulia_draining", "1 while the node is leaving.", node_->draining() ? 1 : 0);
    bus_->describe(sink);
  }

  // First nobody runs any more, then the node goes, then what it used.
  void end() {
    registration_.end();
    accept_loop_.stop();
    accept_loop_.join();
    for (size_t i = 0; i < loops_.size(); ++i) {
      EventLoop& loop = *loops_[i];
      if (!serving_) {
        loop.stop();
        continue;
      }
      loop.post([&loop, &shard = node_->shard(i)] {
        shard.close_all();
        loop.stop();
      });
    }
    for (const auto& loop : loops_) loop->join();
    // A start that failed says nothing about who was here before it.
    const bool empty = serving_ && node_->members_count() == 0;
    internal_listener_.reset();
    listener_.reset();
    internal_service_.reset();
    services_.clear();
    node_.reset();
    bus_.reset();
    // While the loops exist: what the store still answers is posted to them, and dropped.
    if (store_) store_->stop(empty);
  }

  // Constant after construction.
  const Config& config_;
  Options::Live live_;  // the main thread's
  Log& log_;
  SystemClock& clock_;
  SystemRandom random_;
  Wake& wake_;
  const int64_t started_unix_ms_ = clock_.unix_ms();
  bool terminated_ = false;
  bool serving_ = false;

  // Doors.
  StoreMetrics store_metrics_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Bus> bus_;
  TrustedProxies proxies_, nobody_;
  std::unique_ptr<ConnectionCounts> counts_;
  ConnectionCounts refusals_{kRefusalsMax, 0}, internal_counts_{kInternalConnectionsMax, 0};
  ShardMetrics internal_metrics_;
  MetricsRegistry metrics_;
  // Loops, and what lives on them.
  EventLoop accept_loop_{"accept"};
  std::vector<std::unique_ptr<EventLoop>> loops_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<PublicSite> site_;
  std::unique_ptr<InternalSite> internal_site_;
  std::vector<std::unique_ptr<HttpService>> services_;
  std::unique_ptr<HttpService> internal_service_;
  std::unique_ptr<Listener> listener_, internal_listener_;
  MetricsRegistry::Registration registration_;
};

int serve(const Config& config) {
  SystemClock clock;
  const Options& options = config.options;
  const bool json = options.log_format == "json" || (options.log_format == "auto" && isatty(STDERR_FILENO) == 0);
  Log log(clock, STDERR_FILENO, json ? LogFormat::json : LogFormat::plain,
          log_level_named(options.log_level).value_or(LogLevel::info));
  for (const std::string& notice : config.notices) log.warn("node", "configuration", {{"notice", LogSentence{notice}}});
  Wake wake;
  Server server(config, log, clock, wake);
  if (const std::string wrong = server.start(); !wrong.empty()) return fail(wrong);
  server.run();
  return 0;
}

int make_backup(const Config& config) {
  if (config.options.store != "sqlite") {
    return fail(config.options.shares_store()
                    ? "backup: the store " + without_credentials(config.options.store) +
                          " is copied by its database's own tools (docs/cluster.md); only --store sqlite is copied here"
                    : "backup: the store \"" + config.options.store +
                          "\" keeps nothing; only --store sqlite can be copied");
  }
  // Progress for people only: a script wants the sentence at the end.
  const bool told = isatty(STDERR_FILENO) != 0;
  const std::string wrong = backup(config.options.data_dir, config.argument, [told](uint64_t done, uint64_t total) {
    if (told) {
      std::fprintf(stderr, "\r%llu of %llu MiB", static_cast<unsigned long long>(done >> 20),
                   static_cast<unsigned long long>(total >> 20));
    }
    return true;
  });
  if (told) std::fputs("\r\x1b[K", stderr);
  if (!wrong.empty()) return fail(wrong);
  std::printf("The copy in %s is complete. To restore: stop the server, put it in place of %s, start.\n",
              config.argument.c_str(), config.options.data_dir.c_str());
  return 0;
}

int verify_store(const Config& config) {
  const std::string where = without_credentials(config.options.store);
  SystemClock clock;
  Log log(clock, STDERR_FILENO, LogFormat::plain, log_level_named(config.options.log_level).value_or(LogLevel::info));
  StoreOptions store_options;
  store_options.log = &log;
  OpenedLogSource opened = open_log_source(config.options.store, config.options.data_dir, store_options);
  if (!opened.source) return fail(opened.error);
  const bool told = isatty(STDERR_FILENO) != 0;
  const auto clear = [told] {
    if (told) std::fputs("\r\x1b[K", stderr);
  };
  const Verified verified = verify(
      *opened.source,
      [&](const Misfit& misfit) {
        clear();
        std::printf("%s\n", misfit_text(misfit).c_str());
      },
      [&](const Verified& so_far) {
        if (told) {
          std::fprintf(stderr, "\r%llu rooms, %llu messages", static_cast<unsigned long long>(so_far.rooms),
                       static_cast<unsigned long long>(so_far.messages));
        }
      });
  clear();
  const auto counted = [](uint64_t count, const char* what) {
    return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
  };
  const std::string rooms = counted(verified.rooms, "room"), messages = counted(verified.messages, "message");
  std::printf("%s and %s were read; ", rooms.c_str(), messages.c_str());
  if (!verified.error.empty()) {
    std::printf("then reading failed.\n");
    std::fflush(stdout);
    return fail("verify: " + verified.error);
  }
  if (verified.misfits == 0) {
    std::printf("every chain fits.\n");
    return 0;
  }
  std::printf("%s not fit.\n",
              (counted(verified.misfits, "place") + (verified.misfits == 1 ? " does" : " do")).c_str());
  return 1;
}

int drain(const Config& config) {
  if (const std::string wrong = ask_to_drain(config.options.internal_listen); !wrong.empty()) return fail(wrong);
  std::puts("The node is leaving.");
  return 0;
}

int run(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const std::variant<Config, ExitWith> parsed = parse(arguments, environment_of(environ));
  if (const auto* end = std::get_if<ExitWith>(&parsed)) {
    std::fputs(end->text.c_str(), end->code == 0 ? stdout : stderr);
    return end->code;
  }
  const Config& config = std::get<Config>(parsed);
  switch (config.command) {
    case Command::serve: return serve(config);
    case Command::backup: return make_backup(config);
    case Command::verify: return verify_store(config);
    case Command::drain: return drain(config);
  }
  return 2;
}

}  // namespace
}  // namespace tertulia

int main(int argc, char** argv) {
  return tertulia::run(argc, argv);
}
