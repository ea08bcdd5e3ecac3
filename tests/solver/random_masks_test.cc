// The random masks are feasible, reproducible and spread evenly.
#include "solver/random_masks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "tests/support/block_arithmetic.h"

namespace tsenor {
namespace {

std::vector<uint8_t> MaskOf(const RandomMasks& masks, int mask) {
  const int m = masks.pattern().m;
  std::vector<uint8_t> kept(m * m);
  for (int e = 0; e < m * m; ++e) kept[e] = masks.Keeps(mask, e / m, e % m);
  return kept;
}

TEST(RandomMasksTest, EveryLineKeepsExactlyN) {
  for (const Pattern pattern : {Pattern{1, 2},
                                {1, 7},
                                {2, 4},
                                {5, 9},
                                {8, 32},
                                {31, 33},
                                {1, 128},
                                {64, 128},
                                {127, 128}}) {
    const RandomMasks masks(pattern, {.samples = 20, .seed = 9});
    for (int mask = 0; mask < 20; ++mask) {
      const LineSums sums = LineSumsOf(MaskOf(masks, mask), pattern.m);
      ASSERT_EQ(sums.least, pattern.n) << pattern.n << ":" << pattern.m;
      ASSERT_EQ(sums.greatest, pattern.n) << pattern.n << ":" << pattern.m;
    }
  }
}

// The rows of the first two masks of 4:8 with seed 0, as on every machine.
TEST(RandomMasksTest, AreTheSameOnEveryMachine) {
  const RandomMasks masks({4, 8}, {.samples = 2});
  std::vector<int> rows;
  for (int i = 0; i < 8; ++i) rows.insert(rows.end(), masks.Row(i).begin(), masks.Row(i).end());
  EXPECT_EQ(rows, (std::vector<int>{113, 142, 228, 89, 71, 113, 150, 166, 120, 198, 15, 216, 184,
                                    45, 139, 51}));
}

TEST(RandomMasksTest, FewerSamplesAreTheFirstOfMoreAndSeedsDiffer) {
  const RandomMasks few({5, 12}, {.samples = 10, .seed = 4});
  const RandomMasks many({5, 12}, {.samples = 30, .seed = 4});
  const RandomMasks others({5, 12}, {.samples = 10, .seed = 5});
  int equal = 0;
  for (int mask = 0; mask < 10; ++mask) {
    EXPECT_EQ(MaskOf(few, mask), MaskOf(many, mask));
    equal += MaskOf(few, mask) == MaskOf(others, mask);
  }
  EXPECT_EQ(equal, 0);  // of far more than 10^10 masks
}

// Pearson's statistic of the counts of all masks: its mean is their number less one, its standard
// deviation the root of twice that; seven of those are never left by chance.
TEST(RandomMasksTest, AllMasksOfSmallPatternsAreAboutAsLikely) {
  const struct {
    Pattern pattern;
    size_t masks;  // that exist
  } cases[] = {{{1, 3}, 6}, {{1, 4}, 24}, {{2, 4}, 90}, {{3, 4}, 24}, {{2, 5}, 2040}};
  for (const auto& [pattern, count] : cases) {
    const int samples = 100000;
    const RandomMasks masks(pattern, {.samples = samples, .seed = 1});
    std::map<std::string, int> counts;
    for (int mask = 0; mask < samples; ++mask) {
      const std::vector<uint8_t> kept = MaskOf(masks, mask);
      ++counts[std::string(kept.begin(), kept.end())];
    }
    ASSERT_EQ(counts.size(), count) << pattern.n << ":" << pattern.m;
    const double expected = static_cast<double>(samples) / static_cast<double>(count);
    double statistic = 0;
    for (const auto& [mask, times] : counts) {
      statistic += (times - expected) * (times - expected) / expected;
    }
    const double freedom = static_cast<double>(count) - 1;
    EXPECT_LT(statistic, freedom + 7 * std::sqrt(2 * freedom)) << pattern.n << ":" << pattern.m;
  }
}

// Neighbours in a row are no longer cyclic: of 16:32, whether (i, j) and (i, j + 1) agree.
TEST(RandomMasksTest, NeighboursAreIndependent) {
  const RandomMasks masks({16, 32}, {.samples = 1000, .seed = 2});
  int64_t agree = 0;
  for (int mask = 0; mask < 1000; ++mask) {
    for (int i = 0; i < 32; ++i) {
      for (int j = 0; j + 1 < 32; ++j) {
        agree += masks.Keeps(mask, i, j) == masks.Keeps(mask, i, j + 1);
      }
    }
  }
  // Two entries of a row of 16 ones and 16 zeros agree with probability 15/31.
  EXPECT_NEAR(static_cast<double>(agree) / (1000 * 32 * 31), 15.0 / 31, 0.002);
}

TEST(RandomMasksTest, OneProblemSharesItsMasks) {
  const auto first = SharedRandomMasks({2, 4}, {.samples = 10});
  EXPECT_EQ(SharedRandomMasks({2, 4}, {.samples = 10}), first);
  EXPECT_NE(SharedRandomMasks({2, 4}, {.samples = 11}), first);
  EXPECT_EQ(first->options().samples, 10);  // still whole
  EXPECT_EQ(MaskOf(*first, 3), MaskOf(RandomMasks({2, 4}, {.samples = 10}), 3));
}

}  // namespace
}  // namespace tsenor
