// The methods without sweeps: each is what its definition says, on every backend to the bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "solver/certificate.h"
#include "solver/random_masks.h"
#include "tests/solver/backends.h"
#include "tests/support/block_arithmetic.h"
#include "tests/support/generators.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {
namespace {

constexpr Method kHeuristics[] = {Method::kTwoApprox, Method::kBiNm, Method::kMaxRandom,
                                  Method::kRowNm, Method::kColumnNm};

Problem ProblemOf(Method method, Pattern pattern, MaxRandomOptions max_random = {.samples = 50}) {
  Problem problem;
  problem.pattern = pattern;
  problem.options.method = method;
  problem.options.max_random = max_random;
  return problem;
}

std::string Text(Method method, Pattern pattern) {
  return "method " + std::to_string(static_cast<int>(method)) + ", " + std::to_string(pattern.n) +
         ":" + std::to_string(pattern.m);
}

// Every pattern of the small edges, and some of every width.
std::vector<Pattern> ManyPatterns() {
  std::vector<Pattern> patterns = {{1, 8},    {4, 8},   {7, 8},  {4, 9},   {8, 16},   {3, 20},
                                   {10, 20},  {16, 32}, {8, 32}, {31, 32}, {32, 64},  {40, 96},
                                   {64, 128}, {1, 128}, {0, 20}, {20, 20}, {128, 128}};
  for (int m = 1; m <= 7; ++m) {
    for (int n = 0; n <= m; ++n) patterns.push_back({n, m});
  }
  return patterns;
}

// Both backends find the same mask, and values and bounds but for the order of additions.
TEST(HeuristicsTest, BackendsAnswerTheSameMasks) {
  const std::unique_ptr<Solver> reference = MakeReferenceSolver();
  const std::unique_ptr<Solver> cpu = MakeCpuSolverWithThreads(2);
  for (const Pattern pattern : ManyPatterns()) {
    for (const WeightKind kind : kAllWeightKinds) {
      // An incomplete block row and column, where there can be one.
      const int m = pattern.m, rows = m + (m + 1) / 2, columns = 2 * m - m / 3;
      const auto weights = GenerateWeights(kind, rows, columns, 5);
      for (const Method method : kHeuristics) {
        SCOPED_TRACE(Name(kind) + ", " + Text(method, pattern));
        if (m > 64 && IsTransposable(method) && kind != WeightKind::kGaussian) continue;  // slow
        const Problem problem = ProblemOf(method, pattern);
        const auto x = SolveWholeMatrix(*reference, problem, weights.data(), rows, columns);
        const auto y = SolveWholeMatrix(*cpu, problem, weights.data(), rows, columns);
        ASSERT_EQ(x.mask, y.mask);
        EXPECT_EQ(x.Total().kept, y.Total().kept);
        EXPECT_EQ(x.Total().blocks_short, y.Total().blocks_short);
        EXPECT_NEAR(x.Total().value, y.Total().value, 1e-12 * x.Total().value);
        EXPECT_NEAR(x.Total().bound, y.Total().bound, 2e-9 * x.Total().bound);
        EXPECT_EQ(x.Total().sweeps, 0);
        EXPECT_EQ(y.Total().sweeps, 0);
      }
    }
  }
}

}  // namespace
}  // namespace tsenor
