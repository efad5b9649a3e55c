// One thread that does everything a shard does: its sockets, its timers, its tasks, one after another.
//
// Wraps a Boost.Asio io_context. Tasks from other threads are collected under one lock and run in batches, so that a
// busy poster costs one wake-up a batch; timers stand in one heap behind one Asio timer. There is one buffer for all
// reading: a connection that says nothing owns no buffer.
// Thread: post() and stop() from any; after(), cancel(), buffer() and context() from the loop's own, or from the owner
// while the loop's thread is not running. Memory: what is waiting.
// Ends: stop(), then join(); what was still waiting is destroyed unrun, in join(). Everything that uses the loop (its
// sockets above all) is destroyed before the loop.
#pragma once

#include <atomic>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/executor.h"

namespace tertulia {

class EventLoop final : public Executor, public Timers {
 public:
  // Asio calls under this executor type allocate nothing for the executor itself.
  using AsioExecutor = boost::asio::io_context::executor_type;

  // `name` is the thread's (cut to 15 bytes), as top and gdb show it.
  explicit EventLoop(const std::string& name);
  ~EventLoop() override;
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // REQUIRES: called once.
  void start();
  // Runs the loop on the calling thread until stop(). REQUIRES: neither start() nor run() was called before.
  void run();
  // The thread ends after what it is doing. May come before start(): the loop then ends at once.
  void stop();
  // Waits for the thread, then destroys what was still waiting. May be called twice. REQUIRES: stop() was called, or
  // will be by somebody else.
  void join();

  void post(Function<void()> task) override;
  Id after(int64_t delay_us, Function<void()> task) override;
  void cancel(Id id) override;

  bool on_own_thread() const { return std::this_thread::get_id() == thread_id_.load(std::memory_order_relaxed); }

  boost::asio::io_context& context() { return context_; }
  // Shared by all sockets of the loop, valid until the next one reads. 16 KiB is also how much one connection may say
  // before the others have their turn.
  std::span<char> buffer() { return {buffer_.get(), kBufferBytes}; }

  // How many connections live here, counted by their slots; the listener chooses by it. Thread: any.
  std::atomic<uint32_t>& connections() { return connections_; }

  static constexpr size_t kBufferBytes = 16 << 10;

 private:
  using Timer = boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                                  boost::asio::wait_traits<std::chrono::steady_clock>, AsioExecutor>;
  struct Due {
    int64_t at_us;
    Id id;
    // A heap of std:: has the greatest on top; ours is the earliest, and among equals the first that was set.
    bool operator<(const Due& other) const { return at_us != other.at_us ? at_us > other.at_us : id > other.id; }
  };

  void loop();
  void run_tasks();
  void run_timers();
  void arm_timer();
  void drop_waiting();

  // Constant after construction.
  const std::string name_;
  const std::unique_ptr<char[]> buffer_;

  // Any thread, under tasks_mutex_.
  std::mutex tasks_mutex_;
  std::vector<Function<void()>> tasks_;
  bool ended_ = false;

  // The loop's own thread.
  std::vector<Function<void()>> running_;
  std::unordered_map<Id, Function<void()>> timers_;
  std::vector<Due> due_;  // a heap; holds cancelled ones until they fall due or are more than half of it
  Id last_id_ = 0;
  int64_t armed_for_us_ = 0;  // 0: not armed

  std::atomic<uint32_t> connections_ = 0;
  std::atomic<std::thread::id> thread_id_;
  std::thread thread_;
  // Last, so that they go first: handlers that Asio still holds may refer to all of the above.
  boost::asio::io_context context_{1};
  Timer timer_{context_.get_executor()};
};

}  // namespace tertulia
