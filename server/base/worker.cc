#include "base/worker.h"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace tertulia {

bool Worker::run(Function<void()> task) {
  // A task that is destroyed unrun says so too, or its caller would wait for ever.
  struct Ended {
    std::promise<bool> promise;
    bool ran = false;
    ~Ended() { promise.set_value(ran); }
  };
  auto ended = std::make_unique<Ended>();
  std::future<bool> result = ended->promise.get_future();
  post([ended = std::move(ended), task = std::move(task)]() mutable {
    task();
    ended->ran = true;
    ended.reset();
  });
  return result.get();
}

namespace {

class ThreadWorker final : public Worker {
 public:
  explicit ThreadWorker(const std::string& name) : thread_([this] { loop(); }) {
    ::pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
  }
  ~ThreadWorker() override { stop(); }

  void post(Function<void()> task) override {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    tasks_.push_back(std::move(task));
    wake_.notify_all();
  }
  void post_after(int64_t us, Function<void()> task) override {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    later_.emplace(Time::now() + std::chrono::microseconds(us), std::move(task));
    wake_.notify_all();
  }
  bool pause_us(int64_t us) override {
    std::unique_lock lock(mutex_);
    return !wake_.wait_for(lock, std::chrono::microseconds(us), [this] { return stopping_; });
  }
  bool stopping() const override {
    std::lock_guard lock(mutex_);
    return stopping_;
  }
  void stop() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      wake_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  using Time = std::chrono::steady_clock;

  void loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
      while (!stopping_ && !later_.empty() && later_.begin()->first <= Time::now()) {
        tasks_.push_back(std::move(later_.begin()->second));
        later_.erase(later_.begin());
      }
      if (tasks_.empty()) {
        if (stopping_) return;
        if (later_.empty()) {
          wake_.wait(lock);
        } else {
          wake_.wait_until(lock, later_.begin()->first);
        }
        continue;
      }
      const Function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Function<void()>> tasks_;                       // under mutex_
  std::multimap<Time::time_point, Function<void()>> later_;  // under mutex_
  bool stopping_ = false;                                    // under mutex_
  std::thread thread_;                                       // last: it uses the others
};

}  // namespace

std::unique_ptr<Worker> ThreadWorkers::make(const std::string& name) {
  return std::make_unique<ThreadWorker>(name);
}

}  // namespace tertulia
