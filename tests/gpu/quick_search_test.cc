// The float32 search of 4 x 4 blocks, on the host: what it is certain of is the optimum, found by
// adding up every mask in arithmetic that is exact.
#define __device__  // for the host
#include "solver/cuda/primitives/quick_search.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

namespace tsenor::cuda {
namespace {

using Block = float[4][4];

std::vector<uint32_t> AllMasks(int n) {
  std::vector<uint32_t> masks;
  for (uint32_t mask = 0; mask < 1 << 16; ++mask) {
    bool fits = true;
    for (int i = 0; i < 4; ++i) {
      fits =
          fits && std::popcount(mask >> 4 * i & 15) == n && std::popcount(mask >> i & 0x1111) == n;
    }
    if (fits) masks.push_back(mask);
  }
  return masks;
}

// Exact: scores of 24 bits that spread by less than 2^36 leave 4 of 64 bits.
long double KeptSum(const Block& row, uint32_t mask) {
  long double sum = 0;
  for (int k = 0; k < 16; ++k) sum += mask >> k & 1 ? row[k / 4][k % 4] : 0.0L;
  return sum;
}

struct Found {
  uint32_t mask;
  float kept, margin;
};

Found Search(int n, const Block& row, float total) {
  if (n == 2) {
    const QuickHalf half(row);
    return {half.mask(), 0.5f * (total + half.sum()), half.Margin()};
  }
  Block signed_row;
  for (int k = 0; k < 16; ++k) signed_row[k / 4][k % 4] = (n == 1 ? 1 : -1) * row[k / 4][k % 4];
  const QuickPermutation one(signed_row);
  if (n == 1) return {one.mask(), one.sum(), one.Margin()};
  return {one.mask() ^ 0xffff, total + one.sum(), one.Margin()};
}

// Judges 20,000 blocks whose scores are drawn; at least `certain` of them must be certain.
void Judge(const std::function<float(std::mt19937_64&)>& draw, double certain) {
  constexpr int kBlocks = 20'000, kBFloat16Bits = 7;
  for (int n = 1; n < 4; ++n) {
    SCOPED_TRACE(testing::Message() << n << ":4");
    const std::vector<uint32_t> masks = AllMasks(n);
    std::mt19937_64 random(n);
    int count = 0;
    for (int k = 0; k < kBlocks; ++k) {
      Block row;
      bool narrow = true;
      for (auto& scores : row) {
        for (float& score : scores) {
          score = draw(random);
          narrow = narrow && std::bit_cast<uint32_t>(score) % (1 << 16) == 0;
        }
      }
      const float total = Total(row);
      const Found found = Search(n, row, total);
      ASSERT_TRUE(std::binary_search(masks.begin(), masks.end(), found.mask));
      const bool whole = narrow ? AreWhole<kBFloat16Bits>(row, total) : AreWhole(row, total);
      if (!whole && !(found.margin > kSafeMargin * total)) continue;
      ++count;
      long double best = 0;
      for (const uint32_t mask : masks) best = std::max(best, KeptSum(row, mask));
      ASSERT_EQ(KeptSum(row, found.mask), best);
      if (!whole) continue;
      ASSERT_EQ(found.kept, best);
      ASSERT_EQ(total, KeptSum(row, 0xffff));
    }
    EXPECT_GE(count, certain * kBlocks);
  }
}

float Uniform(std::mt19937_64& random) {
  return std::ldexp(static_cast<float>(random() >> 40), -24);
}

float BFloat16(float score) {
  return std::bit_cast<float>(std::bit_cast<uint32_t>(score) & 0xffff0000);
}

TEST(QuickSearchTest, AlmostAllOrdinaryBlocksAreCertain) {
  Judge([](auto& random) { return Uniform(random); }, 0.999);
  Judge([](auto& random) { return BFloat16(Uniform(random)); }, 0.999);
  Judge([](auto& random) { return std::exp(8 * (Uniform(random) + Uniform(random) - 1)); }, 0.99);
}

TEST(QuickSearchTest, TiesOfWholeScoresAreCertain) {
  Judge([](auto& random) { return static_cast<float>(random() % 4); }, 1);
  Judge([](auto& random) { return 0x1p-149f * static_cast<float>(random() % 1000); }, 1);
  Judge([](auto&) { return 0.0f; }, 1);
}

TEST(QuickSearchTest, WhatFloat32CannotTellApartIsNotCertain) {
  Judge([](auto& random) { return 1 + static_cast<float>(random() % 2) * 0x1p-23f; }, 0);
  Judge([](auto& random) { return random() % 10 < 7 ? 0 : 0.1f + Uniform(random); }, 0);
  Judge([](auto& random) { return 0x1p127f * (1 + Uniform(random) / 2); }, 0);
  Judge([](auto& random) { return BFloat16(std::ldexp(1 + Uniform(random), random() % 30)); }, 0);
}

}  // namespace
}  // namespace tsenor::cuda
