#include "driver/histogram.h"

#include <gtest/gtest.h>

namespace tertulia::bench {
namespace {

TEST(Histogram, EveryValueComesBackWithinAThousandth) {
  for (int64_t value = 1; value < Histogram::value_max / 3; value = value * 3 + 1) {
    Histogram histogram;
    histogram.add(value);
    histogram.add(Histogram::value_max);  // else max() would mend what at() gets wrong
    const int64_t found = histogram.at(0.5);
    EXPECT_GE(found, value);
    EXPECT_LE(found - value, value / 1000) << value;
  }
}

TEST(Histogram, NeighboursOfAPowerOfTwoDoNotChangePlaces) {
  for (int bit = 1; bit < 36; ++bit) {
    const int64_t power = int64_t{1} << bit;
    Histogram histogram;
    histogram.add(power - 1);
    histogram.add(power);
    histogram.add(power * 2);
    EXPECT_GE(histogram.at(0.3), power - 1);
    EXPECT_LE(histogram.at(0.3), histogram.at(0.6));
    EXPECT_LT(histogram.at(0.6), power * 2);
  }
}

TEST(Histogram, SharesAreThoseOfAllValues) {
  Histogram histogram;
  for (int64_t value = 1; value <= 1000; ++value) histogram.add(value);
  EXPECT_EQ(histogram.at(0.5), 500);
  EXPECT_EQ(histogram.at(0.99), 990);
  EXPECT_EQ(histogram.at(1), 1000);
  EXPECT_EQ(histogram.max(), 1000);
  histogram.clear();
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.at(0.99), 0);
}

TEST(Histogram, WhatIsOutOfRangeCountsAtItsEdge) {
  Histogram histogram;
  histogram.add(-5);
  histogram.add(INT64_MAX);
  EXPECT_EQ(histogram.at(0.5), 0);
  EXPECT_EQ(histogram.at(1), Histogram::value_max);
}

}  // namespace
}  // namespace tertulia::bench
