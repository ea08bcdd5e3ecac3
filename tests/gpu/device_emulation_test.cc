// The emulation of a GPU by itself: threads meet as they must, errors are found, numbers round
// once.
#include "tests/support/device_emulation/device_emulation.h"

#include <cuda_fp16.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "tests/support/device_emulation/instructions.cuh"

namespace tsenor::device_emulation {
namespace {

constexpr unsigned kAll = ~0u;

// Runs one CTA; returns what went wrong.
template <typename Thread>
std::string ErrorOf(unsigned threads, Thread thread) {
  try {
    RunGrid(1, threads, 0, thread);
  } catch (const LockstepError& error) {
    return error.what();
  }
  return "";
}

TEST(DeviceEmulationTest, GroupsOfAWarpMeetOnTheirOwn) {
  std::vector<unsigned> sums(32);
  RunGrid(1, 32, 0, [&] {
    const unsigned lane = threadIdx.x, group = lane / 8, mask = 0xffu << 8 * group;
    unsigned sum = lane;
    for (unsigned round = 0; round <= group; ++round) {  // each group another number of times
      sum = lane;
      for (int lanes = 4; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(mask, sum, lanes);
      __syncwarp(mask);
    }
    sums[lane] = sum;
  });
  for (unsigned lane = 0; lane < 32; ++lane) EXPECT_EQ(sums[lane], 28 + 64 * (lane / 8));
}

TEST(DeviceEmulationTest, ThreadsThatHaveEndedAreNotWaitedFor) {
  int count = 0;
  unsigned ballot = 0;
  RunGrid(2, 64, 0, [&] {
    if (threadIdx.x >= 40 || blockIdx.x == 0) return;
    if (threadIdx.x >= 32) ballot = __ballot_sync(kAll, 1);
    count = __syncthreads_count(threadIdx.x % 2 == 0);
  });
  EXPECT_EQ(count, 20);
  EXPECT_EQ(ballot, 0xffu);
}

TEST(DeviceEmulationTest, NamedBarriersCountTheirThreads) {
  std::vector<int> seen;
  RunGrid(1, 128, 0, [&] {
    const unsigned pair = threadIdx.x / 64;
    if (pair == 1) MeetCta("bar.sync", 2, 64, false);
    if (threadIdx.x % 64 == 0) seen.push_back(static_cast<int>(pair));
    if (pair == 0) MeetCta("bar.sync", 1, 64, false);
    __syncthreads();
  });
  EXPECT_EQ(seen, (std::vector<int>{0, 1}));
}

TEST(DeviceEmulationTest, LanesAtDifferentCollectivesAreAnError) {
  const std::string error = ErrorOf(32, [] {
    if (threadIdx.x < 7) {
      __ballot_sync(kAll, 1);
    } else {
      __any_sync(kAll, 1);
    }
  });
  EXPECT_NE(error.find("different collectives"), std::string::npos) << error;
  EXPECT_NE(error.find("thread 6 at __ballot_sync, mask ffffffff"), std::string::npos) << error;
}

TEST(DeviceEmulationTest, LanesWithDifferentMasksAreAnError) {
  EXPECT_NE(ErrorOf(32, [] { __syncwarp(threadIdx.x < 16 ? kAll : 0xfffffff0u); }), "");
  EXPECT_NE(ErrorOf(32, [] { __syncwarp(0xffffu); }), "");  // which leaves out lanes that call it
}

TEST(DeviceEmulationTest, ABarrierThatSomeNeverReachIsAnError) {
  EXPECT_NE(ErrorOf(64,
                    [] {
                      if (threadIdx.x < 32) {
                        __syncthreads();
                      } else {
                        __syncthreads_or(1);
                      }
                    }),
            "");
  const std::string error = ErrorOf(64, [] { MeetCta("bar.sync", 1, 96, false); });
  EXPECT_NE(error.find("do not come"), std::string::npos) << error;
  EXPECT_NE(ErrorOf(64,
                    [] {
                      if (threadIdx.x == 3) __syncthreads();
                      __syncwarp();
                      __syncthreads();
                    }),
            "");
}

TEST(DeviceEmulationTest, AValueFromOutsideOfTheMaskIsAnError) {
  EXPECT_EQ(ErrorOf(32, [] { __shfl_sync(kAll, 1, 31); }), "");
  EXPECT_NE(ErrorOf(16, [] { __shfl_sync(0xffff, 1, 31); }), "");
  EXPECT_NE(ErrorOf(16, [] { __shfl_sync(kAll, 1, 31); }), "");
}

TEST(DeviceEmulationTest, AfterAnErrorTheNextGridRuns) {
  EXPECT_NE(ErrorOf(64, [] { MeetCta("bar.sync", 1, 96, false); }), "");
  int threads = 0;
  EXPECT_EQ(ErrorOf(64,
                    [&] {
                      __syncthreads();
                      ++threads;
                    }),
            "");
  EXPECT_EQ(threads, 64);
}

TEST(DeviceEmulationTest, EveryHalfIsItselfAndWhatLiesBetweenRoundsToTheNearest) {
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const double value = HalfToFloat(half), next = bits == 0x7bff ? 65536 : HalfToFloat(half + 1);
    ASSERT_EQ(ToHalf(value), half);
    ASSERT_EQ(ToHalf(-value), half | 0x8000);
    const double middle = (value + next) / 2;
    ASSERT_EQ(ToHalf(std::nextafter(middle, 0.0)), half);
    ASSERT_EQ(ToHalf(std::nextafter(middle, 1e9)), half + 1);
    ASSERT_EQ(ToHalf(middle), half + half % 2);
  }
  EXPECT_EQ(HalfToFloat(0x3c00), 1);
  EXPECT_EQ(HalfToFloat(0x0001), 0x1p-24f);
  EXPECT_TRUE(std::isinf(HalfToFloat(0xfc00)));
}

TEST(DeviceEmulationTest, FusedProductsRoundOnce) {
  std::mt19937 random(1);
  for (int k = 0; k < 100'000; ++k) {
    const auto draw = [&] { return __ushort_as_half(random() & 0xbfff); };  // below 2
    const __half2 a = __half2half2(draw()), b = __half2half2(draw()), c = __half2half2(draw());
    // Exact: 11 + 11 bits, and exponents from -48 to 2.
    const long double exact = static_cast<long double>(__low2float(a)) * __low2float(b) +
                              static_cast<long double>(__low2float(c));
    const double found = __low2float(__hfma2(a, b, c));
    const uint16_t bits = ToHalf(found);
    for (const int step : {-1, 1}) {  // no neighbour is nearer
      const double other = HalfToFloat(static_cast<uint16_t>(bits + step));
      if (std::isnan(other) || (bits & 0x7fff) == 0) continue;
      ASSERT_LE(std::fabs(exact - found), std::fabs(exact - other));
    }
  }
}

TEST(DeviceEmulationTest, MatricesMultiplyAndTransposeAsFragments) {
  const auto value = [](int i, int j) { return static_cast<float>((7 * i + 3 * j) % 11 - 5); };
  const auto pair = [](float low, float high) {
    const __half2 halves = __floats2half2_rn(low, high);
    return static_cast<uint32_t>(halves.y.x) << 16 | halves.x.x;
  };
  const auto entry = [](uint32_t bits, int h) {
    return HalfToFloat(static_cast<uint16_t>(bits >> 16 * h));
  };
  const auto b = [](int i, int j) { return static_cast<float>((i + 2 * j) % 5); };
  const auto product = [&](int i, int j, int length) {
    float sum = 1;
    for (int k = 0; k < length; ++k) sum += value(i, k) * b(k, j);
    return sum;
  };
  RunGrid(1, 32, 0, [&] {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    const auto of_a = [&](int i, int j) { return pair(value(i, j), value(i, j + 1)); };
    const auto of_b = [&](int k) { return pair(b(k, g), b(k + 1, g)); };
    const uint2 ones = {pair(1, 1), pair(1, 1)};
    const uint2 sums = cuda::MultiplyAdd(
        {of_a(g, 2 * t), of_a(g + 8, 2 * t), of_a(g, 2 * t + 8), of_a(g + 8, 2 * t + 8)},
        {of_b(2 * t), of_b(2 * t + 8)}, ones);
    const uint32_t half =
        cuda::MultiplyAddHalf({of_a(g, 2 * t), of_a(g + 8, 2 * t)}, of_b(2 * t), ones);
    const uint32_t transposed = cuda::Transpose8x8(of_a(g, 2 * t));
    for (int h = 0; h < 2; ++h) {
      EXPECT_EQ(entry(sums.x, h), product(g, 2 * t + h, 16));
      EXPECT_EQ(entry(sums.y, h), product(g + 8, 2 * t + h, 16));
      EXPECT_EQ(entry(half, h), product(g, 2 * t + h, 8));
      EXPECT_EQ(entry(transposed, h), value(2 * t + h, g));
    }
  });
}

}  // namespace
}  // namespace tsenor::device_emulation
