#include "net/event_loop.h"

#include <pthread.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "base/check.h"

namespace tertulia {

namespace {

int64_t steady_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

EventLoop::EventLoop(const std::string& name) : name_(name.substr(0, 15)), buffer_(new char[kBufferBytes]) {}

EventLoop::~EventLoop() {
  stop();
  join();
}

void EventLoop::start() {
  CHECK(!thread_.joinable(), "a loop is started once");
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), name_.c_str());
    loop();
  });
}

void EventLoop::run() {
  CHECK(!thread_.joinable(), "a loop runs on one thread");
  loop();
}

void EventLoop::loop() {
  thread_id_ = std::this_thread::get_id();
  // Without work Asio would return at once while nothing is open yet.
  auto work = boost::asio::make_work_guard(context_);
  context_.run();
  thread_id_ = std::thread::id();
}

void EventLoop::stop() {
  context_.stop();
}

void EventLoop::join() {
  if (thread_.joinable()) thread_.join();
  drop_waiting();
}

void EventLoop::drop_waiting() {
  // What is destroyed may post or cancel while it goes; so nothing is destroyed under the lock or inside a container.
  std::vector<Function<void()>> tasks;
  {
    std::lock_guard lock(tasks_mutex_);
    ended_ = true;
    tasks.swap(tasks_);
  }
  std::unordered_map<Id, Function<void()>> timers;
  timers.swap(timers_);
  due_.clear();
  std::vector<Function<void()>> running;
  running.swap(running_);
}

void EventLoop::post(Function<void()> task) {
  bool first;
  {
    std::lock_guard lock(tasks_mutex_);
    if (ended_) return;
    first = tasks_.empty();
    tasks_.push_back(std::move(task));
  }
  if (first) boost::asio::post(context_, [this] { run_tasks(); });
}

void EventLoop::run_tasks() {
  // Only what was there when the turn began: tasks that post tasks must not keep the sockets waiting.
  {
    std::lock_guard lock(tasks_mutex_);
    running_.swap(tasks_);
  }
  for (Function<void()>& task : running_) {
    Function<void()> now = std::move(task);
    now();
  }
  running_.clear();
  if (running_.capacity() > 1024) running_.shrink_to_fit();
}

Timers::Id EventLoop::after(int64_t delay_us, Function<void()> task) {
  const Id id = ++last_id_;
  due_.push_back({steady_us() + std::max<int64_t>(delay_us, 0), id});
  std::push_heap(due_.begin(), due_.end());
  timers_.emplace(id, std::move(task));
  arm_timer();
  return id;
}

void EventLoop::cancel(Id id) {
  auto found = timers_.find(id);
  if (found == timers_.end()) return;
  Function<void()> task = std::move(found->second);  // destroyed last: its end may come back here
  timers_.erase(found);
  if (due_.size() > 64 && due_.size() > 2 * timers_.size()) {
    std::erase_if(due_, [this](const Due& due) { return !timers_.contains(due.id); });
    std::make_heap(due_.begin(), due_.end());
  }
}

void EventLoop::arm_timer() {
  if (due_.empty()) return;
  const int64_t at_us = due_.front().at_us;
  if (armed_for_us_ != 0 && armed_for_us_ <= at_us) return;
  armed_for_us_ = at_us;
  timer_.expires_at(std::chrono::steady_clock::time_point(std::chrono::microseconds(at_us)));
  timer_.async_wait([this](boost::system::error_code error) {
    if (error) return;  // an earlier one has taken its place
    armed_for_us_ = 0;
    run_timers();
    arm_timer();
  });
}

void EventLoop::run_timers() {
  const int64_t now_us = steady_us();
  // Those that are set meanwhile have their turn later, even if they are due at once.
  const Id newest = last_id_;
  std::vector<Due> later;
  while (!due_.empty() && due_.front().at_us <= now_us) {
    const Due due = due_.front();
    std::pop_heap(due_.begin(), due_.end());
    due_.pop_back();
    if (due.id > newest) {
      later.push_back(due);
      continue;
    }
    auto found = timers_.find(due.id);
    if (found == timers_.end()) continue;
    Function<void()> task = std::move(found->second);
    timers_.erase(found);
    task();
  }
  for (const Due& due : later) {
    due_.push_back(due);
    std::push_heap(due_.begin(), due_.end());
  }
}

}  // namespace tertulia
