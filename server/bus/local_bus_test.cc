#include "bus/local_bus.h"

#include <gtest/gtest.h>

#include <deque>

namespace tertulia {
namespace {

struct Shard : BusSubscriber, Executor {
  void post(Function<void()> task) override { tasks.push_back(std::move(task)); }
  Executor& bus_executor() override { return *this; }
  void on_bus(const std::shared_ptr<const BusItem>& item) override { heard.push_back(item->room); }
  void run() {
    while (!tasks.empty()) {
      const Function<void()> task = std::move(tasks.front());
      tasks.pop_front();
      task();
    }
  }
  std::deque<Function<void()>> tasks;
  std::vector<std::string> heard;
};

std::shared_ptr<const BusItem> item(std::string room) {
  return std::make_shared<BusItem>(BusItem{std::move(room), Position{}});
}

TEST(LocalBus, CarriesToAllOthersOfTheRoomAndNotBack) {
  LocalBus bus;
  Shard a, b, c;
  int ready = 0;
  bus.subscribe("plaza", a, [&] { ++ready; });
  bus.subscribe("plaza", b, [&] { ++ready; });
  bus.subscribe("patio", c, [&] { ++ready; });
  bus.publish(item("plaza"), a);
  for (Shard* shard : {&a, &b, &c}) shard->run();
  EXPECT_EQ(ready, 3);
  EXPECT_TRUE(a.heard.empty());
  EXPECT_EQ(b.heard, std::vector<std::string>{"plaza"});
  EXPECT_TRUE(c.heard.empty());
  bus.unsubscribe("plaza", b);
  bus.publish(item("plaza"), a);
  b.run();
  EXPECT_EQ(b.heard.size(), 1u);
}

TEST(LocalBus, DropsWhatAShardDoesNotTakeAndCountsIt) {
  LocalBus bus(3);
  Shard a, b;
  bus.subscribe("plaza", b, [] {});
  for (int i = 0; i < 5; ++i) bus.publish(item("plaza"), a);
  b.run();
  EXPECT_EQ(b.heard.size(), 3u);
  EXPECT_EQ(bus.dropped(), 2u);
  bus.publish(item("plaza"), a);
  b.run();
  EXPECT_EQ(b.heard.size(), 4u);
}

TEST(LocalBus, DropsWhatWouldBeTooManyBytesForAShardToHold) {
  LogPiece piece;
  piece.entries.resize(1);
  piece.entries[0].frame = std::string(10'000, 'x');
  const auto large = std::make_shared<const BusItem>(BusItem{"plaza", std::make_shared<const LogPiece>(piece)});
  LocalBus bus(1'000, 35'000);
  Shard a, b;
  bus.subscribe("plaza", b, [] {});
  for (int i = 0; i < 5; ++i) bus.publish(large, a);
  EXPECT_EQ(bus.dropped(), 2u);
  bus.publish(item("plaza"), a);
  EXPECT_EQ(bus.dropped(), 2u) << "a small one still fits";
  b.run();
  EXPECT_EQ(b.heard.size(), 4u);
  for (int i = 0; i < 3; ++i) bus.publish(large, a);
  EXPECT_EQ(bus.dropped(), 2u) << "what was taken leaves its place";
}

}  // namespace
}  // namespace tertulia
