#include "base/worker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace tertulia {
namespace {

TEST(Worker, RunsWhatWasPostedBeforeItsEndInOrderAndNothingAfterIt) {
  ThreadWorkers workers;
  const std::unique_ptr<Worker> worker = workers.make("worker");
  std::vector<int> ran;
  for (int i = 0; i < 1000; ++i) worker->post([&ran, i] { ran.push_back(i); });
  worker->stop();
  worker->post([&ran] { ran.push_back(-1); });
  ASSERT_EQ(ran.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(ran[static_cast<size_t>(i)], i);
}

TEST(Worker, APauseEndsWhenTheWorkerIsToldToStop) {
  ThreadWorkers workers;
  const std::unique_ptr<Worker> worker = workers.make("worker");
  std::atomic<bool> begun = false;
  bool told = false;
  worker->post([&] {
    begun = true;
    told = !worker->pause_us(60'000'000'000) && worker->stopping();
  });
  while (!begun) std::this_thread::yield();
  worker->stop();
  EXPECT_TRUE(told);
}

TEST(Worker, WhatIsPostedForLaterRunsThenAndNotAtTheEnd) {
  ThreadWorkers workers;
  const std::unique_ptr<Worker> worker = workers.make("worker");
  std::atomic<int> ran = 0;
  worker->post_after(2'000, [&] { ran += 10; });
  worker->post_after(1'000, [&] { ran = 1; });
  worker->post_after(60'000'000'000, [&] { ran = -1; });
  while (ran != 11) std::this_thread::yield();
  worker->stop();
  EXPECT_EQ(ran, 11);
}

TEST(Worker, APauseThatRunsOutSaysSo) {
  ThreadWorkers workers;
  const std::unique_ptr<Worker> worker = workers.make("worker");
  std::atomic<int> result = 0;
  worker->post([&] { result = worker->pause_us(1'000) ? 1 : 2; });
  while (result == 0) std::this_thread::yield();
  EXPECT_EQ(result, 1);
}

TEST(Worker, WhoeverRunsATaskHasWaitedForItsEndAndIsToldWhenItIsTooLate) {
  ThreadWorkers workers;
  const std::unique_ptr<Worker> worker = workers.make("worker");
  int ran = 0;
  EXPECT_TRUE(worker->run([&] { ran = worker->pause_us(1'000) ? 1 : 2; }));
  EXPECT_EQ(ran, 1);
  worker->stop();
  EXPECT_FALSE(worker->run([&] { ran = 3; }));
  EXPECT_EQ(ran, 1);
}

}  // namespace
}  // namespace tertulia
