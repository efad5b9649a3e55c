// Joins the parts: configuration, store, bus, shards, sockets, signals.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "bus/local_bus.h"
#include "net/assets.h"
#include "net/event_loop.h"
#include "net/listener.h"
#include "net/public_site.h"
#include "node/config.h"
#include "node/node.h"
#include "store/open_store.h"

namespace tertulia {
namespace {

int fail(const std::string& sentence) {
  std::fprintf(stderr, "tertulia: %s\n", sentence.c_str());
  return 1;
}

// Blocks the signals that end or change the server in every thread begun from now on; wait_signal() takes them.
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int each : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&signals, each);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

int serve(const Config& config) {
  const Options& options = config.options;
  SystemClock clock;
  SystemRandom random;
  const bool json = options.log_format == "json" || (options.log_format.empty() && isatty(STDERR_FILENO) == 0);
  Log log(clock, STDERR_FILENO, json ? LogFormat::json : LogFormat::plain,
          log_level_named(options.log_level).value_or(LogLevel::info));
  const sigset_t signals = block_signals();
  raise_open_files_limit();

  StoreMetrics store_metrics;
  StoreOptions store_options;
  store_options.claims.name_grace_ms = options.name_grace_ms;
  store_options.log = &log;
  store_options.metrics = &store_metrics;
  OpenedStore opened = open_store(options.store, options.data_dir, store_options, clock);
  if (!opened.store) return fail(opened.error);
  LocalBus bus;

  std::vector<std::unique_ptr<EventLoop>> loops;
  std::vector<Node::Loop> node_loops;
  for (uint32_t i = 0; i < options.shards; ++i) {
    loops.push_back(std::make_unique<EventLoop>("shard-" + std::to_string(i)));
    node_loops.push_back({loops.back().get(), loops.back().get()});
  }
  EventLoop accept_loop("accept");
  Node node(clock, random, log, *opened.store, bus, options, "0.1.0", node_loops);
  node.start();

  OriginPolicy origins{options.allowed_origins};
  PublicSite site(origins, embedded_assets());
  ConnectionCounts counts(options.connections_max, options.live.rate_limits ? options.live.address_connections_max : 0);
  ConnectionCounts refusals(256, 0);
  TrustedProxies proxies;
  for (const std::string& cidr : options.trusted_proxies)
    if (!proxies.add(cidr)) return fail("--trusted-proxies: '" + cidr + "' is no network");
  std::vector<ShardMetrics> http_metrics(loops.size());
  std::vector<std::unique_ptr<HttpService>> services;
  std::vector<HttpService*> shards;
  for (size_t i = 0; i < loops.size(); ++i) {
    services.push_back(std::make_unique<HttpService>(
        HttpService::Parts{*loops[i], site, &node.shard(i), counts, proxies, clock, log, http_metrics[i]}));
    shards.push_back(services.back().get());
  }
  Listener listener(accept_loop, shards, counts, refusals, log);
  if (const std::string error = listener.open(options.listen, "--listen"); !error.empty()) return fail(error);
  for (const auto& loop : loops) loop->start();
  accept_loop.start();
  std::fprintf(stderr, "Tertulia serves on http://%s/\n", listener.address().c_str());

  bool draining = false;
  while (true) {
    int got = 0;
    if (sigwait(&signals, &got) != 0 || got == SIGHUP) continue;
    if (got != SIGTERM || draining) break;
    draining = true;
    site.set_draining();
    node.drain(options.drain_window_ms, [] { kill(getpid(), SIGUSR1); });
  }
  const bool empty = node.members_count() == 0;
  for (const auto& loop : loops) loop->stop();
  accept_loop.stop();
  for (const auto& loop : loops) loop->join();
  accept_loop.join();
  opened.store->stop(empty);
  return 0;
}

int run(int argc, char** argv, char** environment) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  std::variant<Config, ExitWith> parsed = parse(arguments, environment_of(environment));
  if (const auto* end = std::get_if<ExitWith>(&parsed)) {
    std::fputs(end->text.c_str(), end->code == 0 ? stdout : stderr);
    return end->code;
  }
  return serve(std::get<Config>(parsed));
}

}  // namespace
}  // namespace tertulia

int main(int argc, char** argv) {
  return tertulia::run(argc, argv, environ);
}
