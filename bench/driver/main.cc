// The load driver: gathers a crowd at a server, lets it talk by one schedule after another, and writes what it saw and
// what the server used, one JSON object a line. bench/run.mjs starts it and makes tables of its lines.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "driver/crowd.h"
#include "driver/process.h"

namespace tertulia::bench {
namespace {

// A step that took so many times as long to arrive as to send has saturated somebody; a ramp ends there.
constexpr double saturated_times = 1.25;

struct Settings {
  CrowdOptions crowd;
  std::vector<int> pids;
  std::vector<std::string> metrics;
  std::vector<double> rates = {10};
  uint32_t burst = 1;
  double seconds = 5, settle_seconds = 1, warm_seconds = 0;
};

// One line of JSON; keys and values are our own, so nothing needs escaping but the trouble of `error`.
class Line {
 public:
  explicit Line(const char* kind) : text_(std::string(R"({"kind":")") + kind + '"') {}
  Line& add(const char* key, double value) {
    char number[64];
    std::snprintf(number, sizeof number, ",\"%s\":%.12g", key, value);
    text_ += number;
    return *this;
  }
  Line& add(const char* key, const std::string& value) {
    text_ += std::string(",\"") + key + "\":\"";
    for (const char c : value) text_ += c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 ? '\'' : c;
    text_ += '"';
    return *this;
  }
  void print() const {
    std::printf("%s}\n", text_.c_str());
    std::fflush(stdout);
  }

 private:
  std::string text_;
};

struct Used {
  int64_t at_ns = 0, server_ns = 0, own_ns = 0;
  std::map<std::string, double> metrics;
};

// Of all nodes together.
std::map<std::string, double> metrics_of(const Settings& settings) {
  std::map<std::string, double> all;
  for (const std::string& address : settings.metrics)
    for (const auto& [name, value] : metrics(address)) all[name] += value;
  return all;
}

// Metrics outside the measured time: an answer costs the server about a millisecond.
Used look(const Settings& settings, bool before) {
  Used used;
  if (before) used.metrics = metrics_of(settings);
  used.at_ns = monotonic_ns();
  for (const int pid : settings.pids) used.server_ns += cpu_ns(pid).value_or(0);
  used.own_ns = own_cpu_ns();
  if (!before) used.metrics = metrics_of(settings);
  return used;
}

void add_memory(Line& line, const Settings& settings) {
  int64_t resident = 0;
  for (const int pid : settings.pids) resident += resident_bytes(pid);
  line.add("resident_bytes", static_cast<double>(resident));
  const std::map<std::string, double> now = metrics_of(settings);
  for (const char* name : {"tertulia_allocated_bytes", "tertulia_sessions", "tertulia_members"}) {
    const auto found = now.find(name);
    if (found != now.end()) line.add(name, found->second);
  }
}

void add_latency(Line& line, const std::string& name, const Histogram& values) {
  const std::pair<const char*, double> shares[] = {{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}};
  for (const auto& [share, value] : shares)
    line.add((name + '_' + share + "_us").c_str(), static_cast<double>(values.at(value)) / 1e3);
  line.add((name + "_max_us").c_str(), static_cast<double>(values.max()) / 1e3);
}

int fail(const std::string& why) {
  Line("error").add("error", why).print();
  return 1;
}

int measure(const Settings& settings) {
  Line before("before");
  add_memory(before, settings);
  before.print();
  Crowd crowd(settings.crowd);
  if (const std::string trouble = crowd.gather(); !trouble.empty()) return fail(trouble);
  {
    // Until what the joins have set in motion is over: signals, the first pings.
    Seen ignored;
    const Schedule silence{0, 1, static_cast<int64_t>(settings.settle_seconds * 1e9)};
    if (const std::string trouble = crowd.run(silence, ignored); !trouble.empty()) return fail(trouble);
  }
  Line gathered("gathered");
  add_memory(gathered, settings);
  gathered.print();
  if (settings.warm_seconds > 0) {
    Seen ignored;
    const Schedule warm{settings.rates.front(), settings.burst, static_cast<int64_t>(settings.warm_seconds * 1e9)};
    if (const std::string trouble = crowd.run(warm, ignored); !trouble.empty()) return fail(trouble);
  }
  for (const double rate : settings.rates) {
    Schedule schedule{rate, settings.burst, static_cast<int64_t>(settings.seconds * 1e9)};
    Seen seen;
    const Used begin = look(settings, true);
    const std::string trouble = crowd.run(schedule, seen);
    const Used end = look(settings, false);
    const auto wall_ns = static_cast<double>(end.at_ns - begin.at_ns);
    const auto server_us = static_cast<double>(end.server_ns - begin.server_ns) / 1e3;
    Line line("step");
    line.add("bursts_per_second", rate).add("burst", settings.burst);
    line.add("messages", static_cast<double>(seen.messages)).add("deliveries", static_cast<double>(seen.deliveries));
    line.add("receives", static_cast<double>(seen.receives));
    line.add("offered_seconds", settings.seconds);
    line.add("seconds", static_cast<double>(seen.elapsed_ns) / 1e9).add("wall_seconds", wall_ns / 1e9);
    line.add("lost", static_cast<double>(seen.faults.lost)).add("repeated", static_cast<double>(seen.faults.repeated));
    line.add("reordered", static_cast<double>(seen.faults.reordered));
    line.add("differing", static_cast<double>(seen.faults.differing));
    line.add("malformed", static_cast<double>(seen.faults.malformed));
    line.add("server_cpu_us", server_us).add("server_cpu_share", server_us * 1e3 / wall_ns);
    line.add("driver_cpu_share", static_cast<double>(end.own_ns - begin.own_ns) / wall_ns);
    line.add("latest_send_us", static_cast<double>(seen.latest_send_ns) / 1e3);
    add_latency(line, "each", seen.each);
    add_latency(line, "last", seen.last);
    for (const auto& [name, value] : end.metrics) {
      const auto found = begin.metrics.find(name);
      if (name.ends_with("_total") && found != begin.metrics.end()) line.add(name.c_str(), value - found->second);
    }
    line.print();
    if (!trouble.empty()) return fail(trouble);
    // What a server cannot keep up with at this rate it cannot at the next.
    if (static_cast<double>(seen.elapsed_ns) > static_cast<double>(schedule.duration_ns) * saturated_times) break;
  }
  Line after("after");
  add_memory(after, settings);
  after.print();
  return 0;
}

int run(int argc, char** argv) {
  Settings settings;
  CLI::App app("Load driver; see bench/run.mjs");
  app.add_option("--port", settings.crowd.ports, "of the server, on 127.0.0.1; of each node")
      ->delimiter(',')
      ->required();
  app.add_option("--pid", settings.pids, "of the server, for its processor time; of each node")
      ->delimiter(',')
      ->required();
  app.add_option("--metrics", settings.metrics, "HOST:PORT of its internal listener; of each node")->delimiter(',');
  app.add_flag("--bare", settings.crowd.bare, "the server is the bare loop");
  app.add_option("--members", settings.crowd.members, "connections")->check(CLI::Range(1, 99'999));
  app.add_option("--rooms", settings.crowd.rooms, "rooms")->check(CLI::Range(1, 99'999));
  app.add_option("--rooms-each", settings.crowd.rooms_each, "rooms of each member")->check(CLI::Range(1, 128));
  app.add_option("--publishers", settings.crowd.publishers, "members who send")->check(CLI::Range(1, 10'000));
  app.add_option("--text-bytes", settings.crowd.text_bytes, "of each message")->check(CLI::Range(12, 64 << 10));
  app.add_option("--run", settings.crowd.run, "prefix of the uuids")->required();
  app.add_option("--rates", settings.rates, "bursts a second, one step each; 0 is silence")->delimiter(',');
  app.add_option("--burst", settings.burst, "messages in a burst")->check(CLI::Range(1, 100'000));
  app.add_option("--seconds", settings.seconds, "of each step")->check(CLI::PositiveNumber);
  app.add_option("--settle", settings.settle_seconds, "silence after the last join, seconds")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--warm", settings.warm_seconds, "seconds of the first rate that are not measured");
  CLI11_PARSE(app, argc, argv);
  if (settings.crowd.rooms_each > settings.crowd.rooms || settings.crowd.publishers > settings.crowd.members)
    return fail("--rooms-each is at most --rooms, --publishers at most --members");
  if (settings.crowd.bare && (settings.crowd.publishers > 1 || settings.crowd.rooms != settings.crowd.rooms_each))
    return fail("the bare loop has one publisher and no rooms: everybody must be in all of them");
  if (settings.crowd.ports.size() > settings.crowd.members) return fail("a node without members");
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  return measure(settings);
}

}  // namespace
}  // namespace tertulia::bench

int main(int argc, char** argv) {
  return tertulia::bench::run(argc, argv);
}
