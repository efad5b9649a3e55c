#include "net/event_loop.h"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <future>

#include "net/test_socket.h"

namespace tertulia {
namespace {

constexpr auto kDeadline = std::chrono::seconds(10);

TEST(EventLoop, TasksOfOneThreadRunInTheOrderPosted) {
  EventLoop loop("test");
  std::vector<int> order;
  std::promise<void> done;
  for (int i = 0; i < 1000; ++i) loop.post([&order, i] { order.push_back(i); });
  loop.start();
  for (int i = 1000; i < 2000; ++i) loop.post([&order, i] { order.push_back(i); });
  loop.post([&] { done.set_value(); });
  ASSERT_EQ(done.get_future().wait_for(kDeadline), std::future_status::ready);
  ASSERT_EQ(order.size(), 2000u);
  for (int i = 0; i < 2000; ++i) ASSERT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(EventLoop, TasksRunOnTheLoopsThreadAndItHasAName) {
  EventLoop loop("shard-1");
  std::promise<std::string> name;
  loop.post([&] {
    EXPECT_TRUE(loop.on_own_thread());
    char text[16];
    pthread_getname_np(pthread_self(), text, sizeof text);
    name.set_value(text);
  });
  loop.start();
  EXPECT_FALSE(loop.on_own_thread());
  EXPECT_EQ(name.get_future().get(), "shard-1");
}

TEST(EventLoop, ATaskThatPostsItselfDoesNotKeepOthersWaiting) {
  EventLoop loop("test");
  std::atomic<bool> stop = false;
  std::promise<void> timer_ran;
  std::function<void()> again = [&] {
    if (!stop) loop.post([&] { again(); });
  };
  loop.post([&] {
    again();
    loop.after(1000, [&] { timer_ran.set_value(); });
  });
  loop.start();
  EXPECT_EQ(timer_ran.get_future().wait_for(kDeadline), std::future_status::ready);
  stop = true;
  // Before what the tasks refer to goes.
  loop.stop();
  loop.join();
}

TEST(EventLoop, TimersRunInTheOrderOfTheirTimesAndEqualOnesAsTheyWereSet) {
  EventLoop loop("test");
  std::vector<int> order;
  std::promise<void> done;
  loop.post([&] {
    loop.after(30'000, [&] {
      order.push_back(4);
      done.set_value();
    });
    loop.after(10'000, [&] { order.push_back(2); });
    loop.after(0, [&] { order.push_back(1); });
    loop.after(20'000, [&] { order.push_back(3); });
  });
  loop.start();
  ASSERT_EQ(done.get_future().wait_for(kDeadline), std::future_status::ready);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
}

TEST(EventLoop, ATimerIsNeverEarly) {
  EventLoop loop("test");
  std::promise<int64_t> waited_us;
  loop.post([&] {
    const auto begin = std::chrono::steady_clock::now();
    loop.after(25'000, [&waited_us, begin] {
      waited_us.set_value(
          std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin).count());
    });
  });
  loop.start();
  EXPECT_GE(waited_us.get_future().get(), 25'000);
}

TEST(EventLoop, ACancelledTimerDoesNotRunAndIsForgotten) {
  EventLoop loop("test");
  std::promise<void> done;
  bool ran = false;
  auto witness = std::make_shared<int>(1);
  loop.post([&] {
    const Timers::Id id = loop.after(1000, [&ran, witness] { ran = true; });
    EXPECT_NE(id, 0u);
    loop.cancel(id);
    loop.cancel(id);
    loop.cancel(0);
    EXPECT_EQ(witness.use_count(), 1);
    loop.after(20'000, [&] { done.set_value(); });
  });
  loop.start();
  ASSERT_EQ(done.get_future().wait_for(kDeadline), std::future_status::ready);
  EXPECT_FALSE(ran);
}

TEST(EventLoop, ManyTimersSetAndCancelledLeaveTheOthersTrue) {
  EventLoop loop("test");
  std::promise<void> done;
  int ran = 0;
  loop.post([&] {
    for (int i = 0; i < 10'000; ++i) {
      const Timers::Id id = loop.after(5'000 + i % 7, [&] { ran += 1000; });
      if (i % 100 == 0) loop.after(1'000 + i % 13, [&] { ++ran; });
      loop.cancel(id);
    }
    loop.after(50'000, [&] { done.set_value(); });
  });
  loop.start();
  ASSERT_EQ(done.get_future().wait_for(kDeadline), std::future_status::ready);
  EXPECT_EQ(ran, 100);
}

TEST(EventLoop, ATimerThatCancelsAnotherDueAtTheSameTimeIsObeyed) {
  EventLoop loop("test");
  std::promise<void> done;
  bool ran = false;
  loop.post([&] {
    auto second = std::make_shared<Timers::Id>(0);
    loop.after(1000, [&, second] { loop.cancel(*second); });
    *second = loop.after(1000, [&] { ran = true; });
    loop.after(20'000, [&] { done.set_value(); });
  });
  loop.start();
  ASSERT_EQ(done.get_future().wait_for(kDeadline), std::future_status::ready);
  EXPECT_FALSE(ran);
}

TEST(EventLoop, WhatWaitsWhenTheLoopEndsIsDestroyedAndNotRun) {
  auto witness = std::make_shared<int>(1);
  bool ran = false;
  {
    EventLoop loop("test");
    loop.start();
    std::promise<void> timer_set;
    loop.post([&] {
      loop.after(3'600'000'000, [&ran, witness] { ran = true; });
      timer_set.set_value();
    });
    timer_set.get_future().wait();
    loop.stop();
    loop.join();
    loop.post([&ran, witness] { ran = true; });
    EXPECT_EQ(witness.use_count(), 1);
  }
  EXPECT_FALSE(ran);
}

TEST(EventLoop, StopBeforeStartEndsItAtOnce) {
  EventLoop loop("test");
  loop.stop();
  loop.start();
  loop.join();
}

TEST(EventLoop, PostsOfManyThreadsAllRun) {
  EventLoop loop("test");
  loop.start();
  std::atomic<int> ran = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) loop.post([&] { ran.fetch_add(1); });
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(eventually([&] { return ran == 20'000; }));
}

}  // namespace
}  // namespace tertulia
