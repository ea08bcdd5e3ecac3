// The CPU backend is at least as fast as the network simplex that judges it: both on one thread, in
// one run.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
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

// Seconds of the fastest of `repeats` runs: what the machine can do when nothing else runs.
double FastestSeconds(int repeats, const std::function<void()>& run) {
  double fastest = 1e300;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    fastest = std::min(fastest, seconds.count());
  }
  return fastest;
}

TEST(SpeedTest, TheCpuBackendIsAtLeastAsFastAsLemonOnGaussian16Of32) {
  if (!kOptimisedBuild) GTEST_SKIP() << "times mean nothing in this build; run the release preset";
  constexpr int kM = 32, kBlocks = 512, kRepeats = 5;
  const auto weights = GenerateBlocks(WeightKind::kGaussian, kM, kBlocks, 1);
  std::vector<std::vector<int64_t>> quanta;
  for (int block = 0; block < kBlocks; ++block) {
    quanta.push_back(
        QuantiseBlockByBits(MagnitudesOfBlock(weights, kM, kBlocks * kM, kM, 0, block)));
  }
  Problem problem;
  problem.pattern = {16, 32};
  const auto solver = MakeCpuSolverWithThreads(1);
  LemonOracle lemon(problem.pattern);

  int64_t proven = 0;
  const double ours = FastestSeconds(kRepeats, [&] {
    proven =
        SolveWholeMatrix(*solver, problem, weights.data(), kM, kBlocks * kM).Total().blocks_proven;
  });
  int64_t sum = 0;
  const double lemons = FastestSeconds(kRepeats, [&] {
    for (const auto& block : quanta) sum += lemon.GreatestKeptSum(block);
  });
  EXPECT_EQ(proven, kBlocks);
  EXPECT_GT(sum, 0);
  const double megaweights = 1e-6 * kM * kM * kBlocks;
  std::printf(
      "16:32 Gaussian, one thread: cpu %.1f Mweights/s, LEMON %.1f Mweights/s, ratio %.1f\n",
      megaweights / ours, megaweights / lemons, lemons / ours);
  EXPECT_LE(ours, lemons);
}

}  // namespace
}  // namespace tsenor
