// The CPU backend is many times as fast as the network simplex that judges it: both on one thread,
// in one run. A guard against regressions, with room for noisy machines and those without AVX-512;
// the figures are in solver/README.md, written by tests/bench.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "tests/solver/backends.h"
#include "tests/support/block_arithmetic.h"
#include "tests/support/generators.h"
#include "tests/support/lemon_oracle.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {
namespace {

// True where times mean something: optimised, no sanitizer.
constexpr bool kOptimisedBuild =
#if defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    true;
#else
    false;
#endif

double SecondsOf(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct SpeedCase {
  Pattern pattern;
  WeightKind kind;
  double least_ratio;  // half of what was measured with AVX-512, or less
};

class SpeedTest : public testing::TestWithParam<SpeedCase> {};

// The default options, refinement to a gap of 1e-9 included, which LEMON does not do.
TEST_P(SpeedTest, TheCpuBackendIsManyTimesAsFastAsLemon) {
  if (!kOptimisedBuild) GTEST_SKIP() << "times mean nothing in this build; run the release preset";
  const auto [pattern, kind, least_ratio] = GetParam();
  const int m = pattern.m;
  constexpr int kRepeats = 5;
  const int blocks = (1 << 17) / (m * m);
  const auto weights = GenerateBlocks(kind, m, blocks, 1);
  std::vector<std::vector<int64_t>> quanta;
  for (int block = 0; block < blocks; ++block) {
    quanta.push_back(QuantiseBlockByBits(MagnitudesOfBlock(weights, m, blocks * m, m, 0, block)));
  }
  Problem problem;
  problem.pattern = pattern;
  const auto solver = MakeCpuSolverWithThreads(1);
  LemonOracle lemon(pattern);

  // The fastest runs, in turns: what the machine can do when nothing else runs.
  int64_t proven = 0, sum = 0;
  double ours = 1e300, lemons = 1e300;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    ours = std::min(ours, SecondsOf([&] {
                      const auto result =
                          SolveMatrix(*solver, problem, weights.data(), m, blocks * m);
                      ASSERT_TRUE(result.ok()) << result.status();
                      proven = result->stats.blocks_proven;
                    }));
    lemons = std::min(lemons, SecondsOf([&] {
                        for (const auto& block : quanta) sum += lemon.GreatestKeptSum(block);
                      }));
  }
  EXPECT_EQ(proven, blocks);
  EXPECT_GT(sum, 0);
  const double megaweights = 1e-6 * m * m * blocks;
  std::printf("%d:%d %s, one thread: cpu %.1f Mweights/s, LEMON %.1f Mweights/s, ratio %.1f\n",
              pattern.n, m, Name(kind).c_str(), megaweights / ours, megaweights / lemons,
              lemons / ours);
  EXPECT_GE(lemons, least_ratio * ours);
}

std::vector<SpeedCase> SpeedCases() {
  using enum WeightKind;
  std::vector<SpeedCase> cases = {{{2, 4}, kGaussian, 30},   {{4, 8}, kGaussian, 10},
                                  {{8, 16}, kGaussian, 14},  {{16, 32}, kGaussian, 20},
                                  {{32, 64}, kGaussian, 25}, {{64, 128}, kGaussian, 25},
                                  {{8, 32}, kGaussian, 15}};
  for (const WeightKind kind : {kColumnScaled, kRowColumnScaled, kStudentT, kOutlier}) {
    cases.push_back({{4, 8}, kind, 10});
    cases.push_back({{8, 16}, kind, 12});
    cases.push_back({{16, 32}, kind, 20});
    cases.push_back({{32, 64}, kind, 20});
  }
  // LEMON is fast where many scores tie.
  for (const WeightKind kind : {kInt2, kSparse, kConstant}) {
    for (const Pattern pattern : {Pattern{4, 8}, Pattern{8, 16}}) {
      cases.push_back({pattern, kind, 1.5});
    }
    for (const Pattern pattern : {Pattern{16, 32}, Pattern{32, 64}}) {
      cases.push_back({pattern, kind, 4});
    }
  }
  // The worst scores known: 2^-(i + j).
  for (const int n : {8, 16}) cases.push_back({{n, 32}, kGeometric, 4});
  for (const int n : {1, 24, 27, 28, 31}) cases.push_back({{n, 32}, kGeometric, 1});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(PatternsAndKinds, SpeedTest, testing::ValuesIn(SpeedCases()),
                         [](const auto& test) {
                           return std::to_string(test.param.pattern.n) + "of" +
                                  std::to_string(test.param.pattern.m) + Name(test.param.kind);
                         });

}  // namespace
}  // namespace tsenor
