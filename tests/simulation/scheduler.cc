#include "scheduler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace tertulia::simulation {

uint64_t Chance::draw() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

void Chance::fill(std::span<uint8_t> bytes) {
  uint64_t bits = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i % 8 == 0) bits = draw();
    bytes[i] = static_cast<uint8_t>(bits >> i % 8 * 8);
  }
}

void Scheduler::at(int64_t time_us, Function<void()> task, std::shared_ptr<Process> process, bool dies) {
  events_.push_back({std::max(time_us, now_us_), ++numbers_, std::move(task), std::move(process), dies});
  std::push_heap(events_.begin(), events_.end());
}

void Scheduler::pause(const std::shared_ptr<Process>& process, int64_t us) {
  process->paused = true;
  after(us, [this, process, pause = ++process->pauses] {
    if (process->pauses == pause) resume(process);
  });
}

void Scheduler::resume(const std::shared_ptr<Process>& process) {
  if (!std::exchange(process->paused, false)) return;
  std::vector<Event> others;
  for (Event& event : waiting_) {
    if (event.process != process) {
      others.push_back(std::move(event));
      continue;
    }
    event.time_us = now_us_;
    event.number = ++numbers_;
    events_.push_back(std::move(event));
    std::push_heap(events_.begin(), events_.end());
  }
  waiting_ = std::move(others);
}

bool Scheduler::step() {
  if (events_.empty()) return false;
  std::pop_heap(events_.begin(), events_.end());
  Event event = std::move(events_.back());
  events_.pop_back();
  if (event.process && event.process->paused) {
    waiting_.push_back(std::move(event));
    return true;
  }
  now_us_ = event.time_us;
  ++steps_;
  if (event.process && event.dies && !event.process->alive) return true;
  event.task();
  return true;
}

// --- loops ---

void Loop::post(Function<void()> task) {
  newest_us_ = std::max(newest_us_, scheduler_.now_us() + scheduler_.hop_us());
  scheduler_.at(newest_us_, std::move(task), process_);
}

Timers::Id Loop::after(int64_t delay_us, Function<void()> task) {
  const Id id = ++last_;
  live_.insert(id);
  const int64_t late_us = scheduler_.chance.between(0, 500);
  scheduler_.at(
      scheduler_.now_us() + delay_us + late_us,
      [this, id, task = std::move(task)] {
        if (live_.erase(id) != 0) task();
      },
      process_);
  return id;
}

// --- strands ---

namespace {
Strand* running_strand = nullptr;
}

Strand* Strand::current() {
  return running_strand;
}

Strand::Strand(Scheduler& scheduler, std::shared_ptr<Process> process, Function<void()> body)
    : scheduler_(scheduler), process_(std::move(process)), fiber_(std::move(body)) {}

std::shared_ptr<Strand> Strand::start(Scheduler& scheduler, std::shared_ptr<Process> process, Function<void()> body) {
  std::shared_ptr<Strand> strand(new Strand(scheduler, std::move(process), std::move(body)));
  strand->self_ = strand;
  strand->waiting_ = true;
  strand->wait_ = 1;
  strand->wake(1, scheduler.hop_us());
  return strand;
}

void Strand::run() {
  Strand* const before = std::exchange(running_strand, this);
  fiber_.resume();
  running_strand = before;
  if (fiber_.ended()) self_ = nullptr;  // the event that runs it holds it still
}

void Strand::wait() {
  CHECK(running_strand == this, "a strand waits by itself");
  ++wait_;
  waiting_ = true;
  Fiber::block();
}

void Strand::wait_us(int64_t us) {
  wake(next_wait(), us);
  wait();
}

void Strand::wake(uint64_t wait, int64_t after_us) {
  scheduler_.at(
      scheduler_.now_us() + after_us,
      [self = shared_from_this(), wait] {
        if (!self->waiting_ || self->wait_ != wait) return;
        self->waiting_ = false;
        self->run();
      },
      process_, false);
}

// --- workers ---

namespace {

class FiberWorker final : public Worker {
 public:
  FiberWorker(Scheduler& scheduler, std::shared_ptr<Process> process)
      : state_(std::make_shared<State>(scheduler)), process_(std::move(process)) {
    state_->strand = Strand::start(scheduler, process_, [state = state_] { state->loop(); });
  }
  ~FiberWorker() override { stop(); }

  void post(Function<void()> task) override { state_->post(std::move(task)); }
  void post_after(int64_t us, Function<void()> task) override {
    if (state_->stopping) return;
    state_->scheduler.at(
        state_->scheduler.now_us() + us,
        [state = state_, task = std::move(task)]() mutable { state->post(std::move(task)); }, process_, false);
  }
  bool run(Function<void()> task) override {
    Strand* const caller = Strand::current();
    CHECK(caller != nullptr && caller != state_->strand.get(), "whoever waits for a worker is another fiber");
    struct Ended {
      std::shared_ptr<Strand> caller;
      uint64_t wait;
      int64_t hop_us;
      bool done = false, ran = false;
    };
    auto ended = std::make_shared<Ended>();
    ended->caller = caller->shared_from_this();
    struct Guard {  // a task that is destroyed unrun says so too
      std::shared_ptr<Ended> ended;
      Guard(std::shared_ptr<Ended> e) : ended(std::move(e)) {}
      Guard(Guard&& other) = default;
      ~Guard() {
        if (!ended) return;
        ended->done = true;
        if (ended->wait != 0) ended->caller->wake(ended->wait, ended->hop_us);
      }
    };
    ended->wait = 0;
    ended->hop_us = state_->scheduler.hop_us();
    post([guard = Guard(ended), task = std::move(task)] {
      task();
      guard.ended->ran = true;
    });
    while (!ended->done) {
      ended->wait = caller->next_wait();
      caller->wait();
    }
    ended->wait = 0;
    return ended->ran;
  }
  bool pause_us(int64_t us) override {
    CHECK(Strand::current() == state_->strand.get(), "a worker pauses itself");
    if (state_->stopping) return false;
    state_->interruptible = true;
    state_->strand->wait_us(us);
    state_->interruptible = false;
    return !state_->stopping;
  }
  bool stopping() const override { return state_->stopping; }
  void stop() override {
    state_->stopping = true;
    if (state_->ended) return;
    CHECK(Strand::current() != nullptr, "a worker is stopped by a fiber");
    if (state_->interruptible) state_->strand->wake(state_->strand->waiting(), 1);
    while (!state_->ended) {
      state_->stopper = Strand::current();
      Strand::current()->wait();
    }
  }

 private:
  struct State {
    explicit State(Scheduler& s) : scheduler(s) {}
    Scheduler& scheduler;
    std::shared_ptr<Strand> strand;
    std::deque<Function<void()>> tasks;
    bool stopping = false, ended = false, interruptible = false, idle = false;
    Strand* stopper = nullptr;

    void post(Function<void()> task) {
      if (stopping) return;
      tasks.push_back(std::move(task));
      if (idle) strand->wake(strand->waiting(), scheduler.hop_us());
    }
    void loop() {
      for (;;) {
        while (!tasks.empty()) {
          const Function<void()> task = std::move(tasks.front());
          tasks.pop_front();
          task();
        }
        if (stopping) break;
        idle = interruptible = true;
        strand->wait();
        idle = interruptible = false;
      }
      ended = true;
      if (stopper != nullptr) stopper->wake(stopper->waiting(), 1);
      // The strand is held by the event that runs it; the circle is broken here.
      strand.reset();
    }
  };
  const std::shared_ptr<State> state_;
  const std::shared_ptr<Process> process_;
};

}  // namespace

std::unique_ptr<Worker> FiberWorkers::make(const std::string&) {
  return std::make_unique<FiberWorker>(scheduler_, process_);
}

}  // namespace tertulia::simulation
