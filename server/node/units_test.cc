#include "node/units.h"

#include <gtest/gtest.h>

#include <optional>

namespace tertulia {
namespace {

TEST(Units, DurationsNeedTheirUnit) {
  struct Case {
    const char* text;
    std::optional<int64_t> ms;
  };
  const Case cases[] = {
      {"500ms", 500},
      {"2s", 2'000},
      {"10m", 600'000},
      {"1h", 3'600'000},
      {"0", 0},
      {"0s", 0},
      {"2", {}},
      {"", {}},
      {"s", {}},
      {"-1s", {}},
      {"1.5s", {}},
      {"2 s", {}},
      {"2S", {}},
      {"2sec", {}},
      {"1d", {}},
      {"9000h", {}},
      {"8784h", 31'622'400'000},
      {"99999999999999999999s", {}},
      {"18446744073709551615h", {}},
      {"+2s", {}},
  };
  for (const Case& each : cases) EXPECT_EQ(parse_duration_ms(each.text), each.ms) << each.text;
}

TEST(Units, SizesAreBytesOrBinaryMultiples) {
  struct Case {
    const char* text;
    std::optional<uint64_t> bytes;
  };
  const Case cases[] = {
      {"0", 0},
      {"100", 100},
      {"100B", 100},
      {"64KiB", 65'536},
      {"8MiB", 8'388'608},
      {"1GiB", 1 << 30},
      {"1KB", {}},
      {"1k", {}},
      {"1.5MiB", {}},
      {"-1", {}},
      {"", {}},
      {"KiB", {}},
      {"1 KiB", {}},
      {"2000000GiB", {}},
      {"1048576GiB", 1ull << 50},
      {"18446744073709551616", {}},
  };
  for (const Case& each : cases) EXPECT_EQ(parse_size(each.text), each.bytes) << each.text;
}

TEST(Units, AreShownInTheLargestUnitThatFits) {
  EXPECT_EQ(show_duration(0), "0");
  EXPECT_EQ(show_duration(1'500), "1500ms");
  EXPECT_EQ(show_duration(90'000), "90s");
  EXPECT_EQ(show_duration(120'000), "2m");
  EXPECT_EQ(show_duration(7'200'000), "2h");
  EXPECT_EQ(show_size(0), "0");
  EXPECT_EQ(show_size(65'536), "64KiB");
  EXPECT_EQ(show_size(65'537), "65537B");
  for (const int64_t ms : {1ll, 999ll, 1'000ll, 61'000ll, 3'600'000ll})
    EXPECT_EQ(parse_duration_ms(show_duration(ms)), ms);
}

}  // namespace
}  // namespace tertulia
