// Time and chance of the simulation, and everything that runs in it.
//
// Whatever happens is an event with a time; the next one is always the earliest. Every hop (a posted task, a message on
// its way, a step of a database) takes a little while that chance decides, so chance decides who comes first. A process
// can be paused: its clock goes on, what is due in it waits. A dead process does nothing any more, but for its workers,
// which must come to an end.
// Thread: one.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "base/executor.h"
#include "base/random.h"
#include "base/worker.h"
#include "fiber.h"

namespace tertulia::simulation {

// Splitmix64: quick to make and to ask.
class Chance final : public Random {
 public:
  explicit Chance(uint64_t seed) : state_(seed) {}
  void fill(std::span<uint8_t> bytes) override;
  uint64_t draw();
  // From 0 to bound - 1.
  int64_t upto(int64_t bound) { return static_cast<int64_t>(draw() % static_cast<uint64_t>(bound)); }
  int64_t between(int64_t low, int64_t high) { return low + upto(high - low + 1); }
  bool one_in(int64_t n) { return upto(n) == 0; }
  bool percent(int64_t p) { return upto(100) < p; }

 private:
  uint64_t state_;
};

struct Process {
  std::string name;
  bool alive = true;
  bool paused = false;
  uint64_t pauses = 0;
};

class Scheduler final : public Clock {
 public:
  explicit Scheduler(uint64_t seed) : chance(seed) {}

  int64_t now_us() const override { return now_us_; }
  int64_t unix_ms() const override { return 1'700'000'000'000 + now_us_ / 1000; }

  // Runs the task then, outside of all fibers; later while the process is paused; never once it is dead, if it dies
  // with it.
  void at(int64_t time_us, Function<void()> task, std::shared_ptr<Process> process = nullptr, bool dies = true);
  void after(int64_t us, Function<void()> task) { at(now_us_ + us, std::move(task)); }
  // What is due in the process waits so long. A longer pause takes the place of a shorter.
  void pause(const std::shared_ptr<Process>& process, int64_t us);
  void resume(const std::shared_ptr<Process>& process);
  // The next event. False: there is none.
  bool step();
  // Events destroyed unrun.
  void clear() {
    events_.clear();
    waiting_.clear();
  }
  uint64_t steps() const { return steps_; }

  // How long the next hop within a process takes.
  int64_t hop_us() { return chance.one_in(64) ? chance.between(1, 3'000) : chance.between(1, 40); }

  Chance chance;

 private:
  struct Event {
    int64_t time_us;
    uint64_t number;
    Function<void()> task;
    std::shared_ptr<Process> process;
    bool dies;
    bool operator<(const Event& other) const {  // as a heap wants it: the earliest is the greatest
      return time_us != other.time_us ? time_us > other.time_us : number > other.number;
    }
  };
  int64_t now_us_ = 1'000'000;
  uint64_t numbers_ = 0, steps_ = 0;
  std::vector<Event> events_;   // a heap
  std::vector<Event> waiting_;  // of paused processes, in the order in which they were due
};

// A shard's event loop.
class Loop final : public Executor, public Timers {
 public:
  Loop(Scheduler& scheduler, std::shared_ptr<Process> process) : scheduler_(scheduler), process_(std::move(process)) {}
  void post(Function<void()> task) override;
  Id after(int64_t delay_us, Function<void()> task) override;
  void cancel(Id id) override { live_.erase(id); }
  const std::shared_ptr<Process>& process() const { return process_; }

 private:
  Scheduler& scheduler_;
  const std::shared_ptr<Process> process_;
  int64_t newest_us_ = 0;  // what is posted runs in the order posted
  Id last_ = 0;
  std::unordered_set<Id> live_;
};

// A fiber that may wait.
class Strand : public std::enable_shared_from_this<Strand> {
 public:
  // Starts soon.
  static std::shared_ptr<Strand> start(Scheduler& scheduler, std::shared_ptr<Process> process, Function<void()> body);
  // The strand that runs now; null outside.
  static Strand* current();

  // From inside: waits until woken. Whoever wakes names the wait, so that nobody is woken twice.
  uint64_t next_wait() const { return wait_ + 1; }
  void wait();
  void wait_us(int64_t us);
  // From anywhere: ends the wait of that number, if it lasts, soon.
  void wake(uint64_t wait, int64_t after_us);
  uint64_t waiting() const { return waiting_ ? wait_ : 0; }

 private:
  Strand(Scheduler& scheduler, std::shared_ptr<Process> process, Function<void()> body);
  void run();
  Scheduler& scheduler_;
  const std::shared_ptr<Process> process_;
  Fiber fiber_;
  std::shared_ptr<Strand> self_;  // until its end, whoever else holds it
  uint64_t wait_ = 0;
  bool waiting_ = false;
};

// Workers as fibers of one process.
class FiberWorkers final : public Workers {
 public:
  FiberWorkers(Scheduler& scheduler, std::shared_ptr<Process> process)
      : scheduler_(scheduler), process_(std::move(process)) {}
  std::unique_ptr<Worker> make(const std::string& name) override;

 private:
  Scheduler& scheduler_;
  const std::shared_ptr<Process> process_;
};

}  // namespace tertulia::simulation
