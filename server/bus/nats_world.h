// A small world for tests of the bus: NATS servers that are real processes on free ports of this machine, and nodes
// with a shard that hears. Servers are killed, stopped and continued by their own pid; all end with the world.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/testing.h"
#include "bus/nats_bus.h"

namespace tertulia {

class NatsProcess {
 public:
  explicit NatsProcess(std::string log) : log_(std::move(log)) {}
  ~NatsProcess() { kill(); }
  NatsProcess(const NatsProcess&) = delete;
  NatsProcess& operator=(const NatsProcess&) = delete;

  // Until it listens.
  void start(const std::vector<std::string>& arguments = {}) {
    std::vector<std::string> words = {"nats-server", "-a", "127.0.0.1", "-p", port_.text(), "-l", log_};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      ::execvp(argv[0], argv.data());
      ::_exit(127);
    }
    int fd = -1;
    ASSERT_TRUE(eventually(
        [&] { return (fd = HeldPort::dial(port_.number())) >= 0 || ::waitpid(pid_, nullptr, WNOHANG) == pid_; }));
    ASSERT_GE(fd, 0) << "nats-server did not start (script/setup --test installs it): " << log();
    ::close(fd);
  }
  void signal(int number) const {
    if (pid_ > 0) ::kill(pid_, number);
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  // Until none of its threads runs.
  void stop() const {
    signal(SIGSTOP);
    EXPECT_TRUE(eventually([this] {
      for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/task")) {
        std::ifstream file(task.path() / "stat");
        std::string text;
        std::getline(file, text);
        const size_t name_end = text.rfind(") ");
        if (name_end != std::string::npos && text[name_end + 2] != 'T') return false;
      }
      return true;
    }));
  }
  void go_on() const { signal(SIGCONT); }
  uint16_t port() const { return port_.number(); }
  std::string address(const std::string& before = "nats://") const { return before + "127.0.0.1:" + port_.text(); }
  std::string log() const { return file_contents(log_); }

 private:
  const std::string log_;
  const HeldPort port_;
  pid_t pid_ = 0;
};

// One server, or several that are one cluster.
class NatsServers {
 public:
  explicit NatsServers(size_t count, std::vector<std::string> arguments = {}) : arguments_(std::move(arguments)) {
    for (size_t i = 0; i < count; ++i) {
      all_.push_back(std::make_unique<NatsProcess>(directory_ / (std::to_string(i) + ".log")));
      routes_.push_back("nats://127.0.0.1:" + route_ports_.emplace_back(std::make_unique<HeldPort>())->text());
    }
  }
  NatsServers& start() {
    for (size_t i = 0; i < all_.size(); ++i) start(i);
    // A route told of in a log is a route that stands.
    for (size_t i = 0; i + 1 < all_.size(); ++i) {
      EXPECT_TRUE(eventually([&] { return routes_of(i) + 1 >= all_.size(); })) << all_[i]->log();
    }
    return *this;
  }
  void start(size_t i) {
    std::vector<std::string> arguments = arguments_;
    if (all_.size() > 1) {
      std::string others;
      for (size_t j = 0; j < routes_.size(); ++j) {
        if (j != i) others += (others.empty() ? "" : ",") + routes_[j];
      }
      arguments.insert(arguments.end(), {"--cluster", routes_[i], "--cluster_name", "test", "--routes", others});
    }
    all_[i]->start(arguments);
  }
  NatsProcess& operator[](size_t i) { return *all_[i]; }
  std::string urls(const std::string& before = "nats://") const {
    std::string text;
    for (const auto& each : all_) text += (text.empty() ? "" : ",") + each->address(before);
    return text;
  }
  TemporaryDirectory& directory() { return directory_; }

 private:
  // Lines of its log that tell of a route that stands.
  size_t routes_of(size_t i) const {
    const std::string log = all_[i]->log(), line = "Route connection created";
    size_t count = 0;
    for (size_t at = log.find(line); at != std::string::npos; at = log.find(line, at + 1)) ++count;
    return count;
  }

  TemporaryDirectory directory_;
  const std::vector<std::string> arguments_;
  std::vector<std::unique_ptr<NatsProcess>> all_;
  std::vector<std::unique_ptr<HeldPort>> route_ports_;
  std::vector<std::string> routes_;
};

// Always the first.
class NoChance final : public Random {
 public:
  void fill(std::span<uint8_t> bytes) override { std::fill(bytes.begin(), bytes.end(), 0); }
};

// A node with one shard, which writes down what it hears.
class BusNode : public BusSubscriber, public BusWatcher {
 public:
  explicit BusNode(const std::string& urls, NatsOptions options = {}) {
    shard_ = ThreadWorkers().make("test-shard");
    NatsBus::Opened opened = NatsBus::open(urls, options, clock_, chance_);
    EXPECT_EQ(opened.error, "");
    bus_ = std::move(opened.bus);
    bus_->watch(this, shard_.get());
  }
  ~BusNode() override {
    bus_->watch(nullptr, nullptr);
    for (const std::string& room : rooms_) bus_->unsubscribe(room, *this);
    shard_->stop();
    bus_ = nullptr;
  }
  BusNode(const BusNode&) = delete;
  BusNode& operator=(const BusNode&) = delete;

  NatsBus& operator*() { return *bus_; }
  NatsBus* operator->() { return bus_.get(); }

  // Connected, and told of it.
  bool stands() {
    return eventually([this] { return returned() > 0 && bus_->trouble().empty(); });
  }
  void subscribe(
      const std::string& room, std::function<void()> ready = [] {}) {
    rooms_.push_back(room);
    bus_->subscribe(room, *this, std::move(ready));
  }
  void unsubscribe(const std::string& room) {
    std::erase(rooms_, room);
    bus_->unsubscribe(room, *this);
  }
  // False: it was not told ready in time.
  bool join(const std::string& room, int64_t ms = 15'000) {
    const auto ready = std::make_shared<std::atomic<bool>>(false);
    subscribe(room, [ready] { *ready = true; });
    return eventually([ready] { return ready->load(); }, std::chrono::milliseconds(ms));
  }
  void say(const std::string& room, Sequence number) {
    bus_->publish(std::make_shared<BusItem>(BusItem{room, Position{number, {}}}), *this);
  }
  void say(const std::string& room, std::shared_ptr<const LogPiece> piece) {
    bus_->publish(std::make_shared<BusItem>(BusItem{room, std::move(piece)}), *this);
  }

  // The numbers of the room, in the order heard, without 0.
  std::vector<Sequence> heard(const std::string& room) {
    const std::lock_guard lock(mutex_);
    std::vector<Sequence> all = heard_[room];
    std::erase(all, Sequence{0});
    return all;
  }
  size_t zeros(const std::string& room) {
    const std::lock_guard lock(mutex_);
    return static_cast<size_t>(std::count(heard_[room].begin(), heard_[room].end(), Sequence{0}));
  }
  bool hears(const std::string& room, Sequence number, int64_t ms = 15'000) {
    return eventually(
        [&] {
          const std::vector<Sequence> all = heard(room);
          return std::find(all.begin(), all.end(), number) != all.end();
        },
        std::chrono::milliseconds(ms));
  }
  size_t returned() {
    const std::lock_guard lock(mutex_);
    return returned_;
  }
  std::vector<std::string> nodes() {
    const std::lock_guard lock(mutex_);
    return nodes_;
  }

 private:
  Executor& bus_executor() override { return *shard_; }
  void on_bus(const std::shared_ptr<const BusItem>& item) override {
    const std::lock_guard lock(mutex_);
    std::vector<Sequence>& room = heard_[item->room];
    if (const auto* head = std::get_if<Position>(&item->what)) room.push_back(head->sequence);
    if (const auto* piece = std::get_if<std::shared_ptr<const LogPiece>>(&item->what)) {
      for (const auto& entry : (*piece)->entries) room.push_back(entry.sequence);
    }
  }
  void bus_heard(const std::string& node) override {
    const std::lock_guard lock(mutex_);
    nodes_.push_back(node);
  }
  void bus_returned() override {
    const std::lock_guard lock(mutex_);
    ++returned_;
  }

  SystemClock clock_;
  NoChance chance_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::vector<Sequence>> heard_;  // under mutex_
  std::vector<std::string> nodes_;                                // under mutex_
  size_t returned_ = 0;                                           // under mutex_
  std::vector<std::string> rooms_;
  std::unique_ptr<Worker> shard_;
  std::unique_ptr<NatsBus> bus_;
};

}  // namespace tertulia
