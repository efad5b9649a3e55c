#include "base/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>

namespace tertulia {
namespace {

using testing::HasSubstr;
using testing::Not;

// The value behind "name " or "name{labels} " in the rendered text; -1 if there is none.
double value_of(const std::string& text, const std::string& name) {
  const std::string wanted = "\n" + name + " ";
  const size_t at = ("\n" + text).find(wanted);
  return at == std::string::npos ? -1 : std::stod(text.substr(at + wanted.size() - 1));
}

TEST(Metrics, ShardsAreAddedUp) {
  MetricsRegistry registry;
  ShardMetrics one, two;
  const auto first = registry.add([&](MetricsSink& sink) { describe(one, sink); });
  const auto second = registry.add([&](MetricsSink& sink) { describe(two, sink); });
  one.sessions.add(3);
  one.sessions.add(-1);
  two.sessions.set(40);
  one.deliveries.add(16'000'001);
  two.deliveries.add();
  one.closes[Closed::silent].add();
  two.closes[Closed::stalled].add(2);
  two.bad_input[BadInput::flood].add(5);
  const std::string text = registry.render();
  EXPECT_EQ(value_of(text, "tertulia_sessions"), 42);
  EXPECT_EQ(value_of(text, "tertulia_deliveries_total"), 16'000'002);
  EXPECT_EQ(value_of(text, "tertulia_members"), 0);
  EXPECT_EQ(value_of(text, "tertulia_messages_total"), 0);
  EXPECT_EQ(value_of(text, R"(tertulia_closes_total{code="4008",reason="silent"})"), 1);
  EXPECT_EQ(value_of(text, R"(tertulia_closes_total{code="4008",reason="stalled"})"), 2);
  EXPECT_EQ(value_of(text, R"(tertulia_bad_input_total{kind="flood"})"), 5);
  EXPECT_THAT(text, HasSubstr("# TYPE tertulia_deliveries_total counter"));
  EXPECT_THAT(text, HasSubstr("# TYPE tertulia_sessions gauge"));
}

TEST(Metrics, HistogramPutsABoundIntoItsOwnBucket) {
  DurationHistogram histogram;
  for (size_t i = 0; i + 1 < DurationHistogram::buckets; ++i) histogram.add_us(DurationHistogram::bound_us(i));
  for (size_t i = 0; i + 1 < DurationHistogram::buckets; ++i) EXPECT_EQ(histogram.count(i), 1u) << i;
  histogram.add_us(-5);
  EXPECT_EQ(histogram.count(0), 2u);
  EXPECT_EQ(DurationHistogram::bound_us(DurationHistogram::buckets - 2), 67'108'864);
}

TEST(Metrics, AllocatedBytesFollowTheAllocator) {
  MetricsRegistry registry;
  const auto source = registry.add([](MetricsSink& sink) { describe_process(sink, 1'700'000'000'000, "1.2.3"); });
  const double before = value_of(registry.render(), "tertulia_allocated_bytes");
  const std::string big(100'000, 'x');
  const std::string text = registry.render();
  EXPECT_THAT(text, HasSubstr(R"(tertulia_build_info{version="1.2.3"} 1)"));
  EXPECT_GT(value_of(text, "process_resident_memory_bytes"), 1e6);
  EXPECT_GE(value_of(text, "process_open_fds"), 3);
  EXPECT_GT(value_of(text, "process_cpu_seconds_total"), 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // these replace the allocator and count nothing
  EXPECT_NEAR(value_of(text, "tertulia_allocated_bytes") - before, 100'000, 20'000);
#else
  EXPECT_GE(before, 0);
#endif
}

TEST(Metrics, SourceIsGoneWithItsRegistration) {
  MetricsRegistry registry;
  auto numbers = std::make_unique<ShardMetrics>();
  auto source = registry.add([at = numbers.get()](MetricsSink& sink) { describe(*at, sink); });
  EXPECT_THAT(registry.render(), HasSubstr("tertulia_sessions"));
  source.end();
  numbers.reset();
  EXPECT_THAT(registry.render(), Not(HasSubstr("tertulia_sessions")));
}

TEST(Metrics, MayBeReadWhileTheyAreWritten) {
  MetricsRegistry registry;
  ShardMetrics numbers;
  const auto source = registry.add([&](MetricsSink& sink) { describe(numbers, sink); });
  std::thread writer([&] {
    for (int i = 0; i < 100'000; ++i) numbers.messages.add();
  });
  double last = 0;
  for (int i = 0; i < 20; ++i) {
    const double now = value_of(registry.render(), "tertulia_messages_total");
    EXPECT_GE(now, last);
    last = now;
  }
  writer.join();
  EXPECT_EQ(value_of(registry.render(), "tertulia_messages_total"), 100'000);
}

}  // namespace
}  // namespace tertulia
