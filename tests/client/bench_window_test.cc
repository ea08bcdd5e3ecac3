#include "client/cli/bench_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <vector>

namespace tsenor::cli {
namespace {

using std::chrono::nanoseconds;

TEST(LatencyHistogram, QuantilesAreThoseOfASortedListUpToABand) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> latency(std::log(1e6), 3);  // 1 ms, from ns to minutes
  LatencyHistogram histogram;
  std::vector<int64_t> sorted;
  for (int k = 0; k < 10'000; ++k) {
    sorted.push_back(static_cast<int64_t>(latency(random)));
    histogram.Record(nanoseconds(sorted.back()));
  }
  std::sort(sorted.begin(), sorted.end());
  for (const double share : {0.0001, 0.01, 0.5, 0.9, 0.99, 0.9999}) {
    const auto rank = static_cast<size_t>(std::ceil(share * 10'000)) - 1;
    const double exact = static_cast<double>(sorted[rank]) * 1e-9;
    EXPECT_GE(histogram.Quantile(share), exact * (1 - 1e-12)) << share;
    EXPECT_LE(histogram.Quantile(share), exact * (1 + 1.0 / 64) + 1e-9) << share;
  }
  EXPECT_EQ(histogram.max_seconds(), static_cast<double>(sorted.back()) * 1e-9);
  EXPECT_EQ(histogram.Quantile(1), histogram.max_seconds());
  EXPECT_EQ(histogram.count(), 10'000);
}

TEST(LatencyHistogram, TakesEveryTime) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.Quantile(0.99), 0);
  histogram.Record(nanoseconds(-5));
  EXPECT_EQ(histogram.Quantile(1), 0);
  for (int bit = 0; bit < 63; ++bit) histogram.Record(nanoseconds(int64_t{1} << bit));
  histogram.Record(nanoseconds::max());
  EXPECT_EQ(histogram.Quantile(1), static_cast<double>(nanoseconds::max().count()) * 1e-9);
  EXPECT_EQ(histogram.count(), 65);
}

TEST(LatencyHistogram, OfTwoHalvesIsThatOfTheWhole) {
  LatencyHistogram whole, low, high;
  for (int k = 1; k <= 1000; ++k) {
    whole.Record(nanoseconds(k * 1000));
    (k <= 500 ? low : high).Record(nanoseconds(k * 1000));
  }
  high.Add(low);
  for (const double share : {0.1, 0.5, 0.99, 1.0}) {
    EXPECT_EQ(high.Quantile(share), whole.Quantile(share));
  }
  EXPECT_EQ(high.count(), 1000);
}

Window Of(int64_t masks, nanoseconds latency) {
  Window window;
  window.seconds = 1;
  window.masks = masks;
  for (int64_t k = 0; k < masks; ++k) window.latency.Record(latency);
  return window;
}

TEST(Stable, WhenThroughputAndTailOfThreeWindowsAgree) {
  const Window normal = Of(100, nanoseconds(1'000'000));
  const Window faster = Of(130, nanoseconds(1'000'000));
  const Window slower_tail = Of(100, nanoseconds(2'000'000));
  const Window nearly = Of(105, nanoseconds(1'030'000));
  const auto stable = [](std::vector<Window> windows) { return Stable(windows, 0.1); };
  EXPECT_TRUE(stable({normal, nearly, normal}));
  EXPECT_FALSE(stable({normal, normal}));
  EXPECT_FALSE(stable({normal, faster, normal}));
  EXPECT_FALSE(stable({normal, normal, slower_tail}));
  EXPECT_FALSE(stable({Of(0, {}), Of(0, {}), Of(0, {})}));
}

TEST(Window, AddsUp) {
  Window one = Of(2, nanoseconds(10));
  one.errors["UNAVAILABLE"] = 3;
  one.late_seconds = 0.5;
  one.server_cpu_seconds = 1;
  Window two = Of(4, nanoseconds(20));
  two.errors["UNAVAILABLE"] = 1;
  two.errors["CANCELLED"] = 1;
  two.late_seconds = 0.25;
  two.failed_latency.Record(nanoseconds(5));
  two.server_cpu_seconds = 2;
  one += two;
  EXPECT_EQ(one.masks, 6);
  EXPECT_EQ(one.masks_per_second(), 3);
  EXPECT_EQ(one.failed(), 5);
  EXPECT_EQ(one.errors.at("UNAVAILABLE"), 4);
  EXPECT_EQ(one.late_seconds, 0.5);
  EXPECT_EQ(one.server_cpu_seconds, 3);
  EXPECT_EQ(one.latency.count(), 6);
  EXPECT_EQ(one.failed_latency.count(), 1);
}

}  // namespace
}  // namespace tsenor::cli
