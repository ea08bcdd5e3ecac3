// What must hold of every answer, whatever the scores: feasibility, weak duality, symmetries.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "tests/solver/backends.h"
#include "tests/support/block_arithmetic.h"
#include "tests/support/generators.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {
namespace {

Problem Optimal(Pattern pattern) {
  Problem problem;
  problem.pattern = pattern;
  return problem;
}

class PropertiesTest : public BackendTest {
 protected:
  // One block.
  SolvedMatrix SolveBlock(const Problem& problem, const std::vector<float>& weights) {
    const int m = problem.pattern.m;
    return SolveWholeMatrix(solver(), problem, weights.data(), m, m);
  }
};

// Edge lengths around the widths of vector registers, and every n where there are few.
const Pattern kPatterns[] = {{1, 2},  {2, 3},   {1, 5},   {3, 5},   {2, 6},   {5, 9},  {8, 15},
                             {8, 17}, {10, 20}, {16, 31}, {16, 33}, {20, 40}, {1, 65}, {64, 65}};

TEST_P(PropertiesTest, EveryLineKeepsExactlyNForEveryKindAndPattern) {
  for (const Pattern pattern : kPatterns) {
    for (const WeightKind kind : kAllWeightKinds) {
      const auto solved =
          SolveBlock(Optimal(pattern), GenerateWeights(kind, pattern.m, pattern.m, 4));
      const LineSums sums = LineSumsOf(solved.KeptOfBlock(0, 0), pattern.m);
      EXPECT_EQ(sums.least, pattern.n) << Name(kind) << " " << pattern.n << ":" << pattern.m;
      EXPECT_EQ(sums.greatest, pattern.n) << Name(kind) << " " << pattern.n << ":" << pattern.m;
      EXPECT_EQ(solved.Total().blocks_short, 0);
    }
  }
}

TEST_P(PropertiesTest, TheBoundHoldsForRandomMasksToo) {
  std::mt19937 random(8);
  const int m = 12;
  for (const WeightKind kind : kAllWeightKinds) {
    const auto weights = GenerateWeights(kind, m, m, 21);
    const auto scores = MagnitudesOfBlock(weights, m, m, m, 0, 0);
    const auto stats = SolveBlock(Optimal({4, m}), weights).Total();
    std::vector<int> rows(m), columns(m);
    std::iota(rows.begin(), rows.end(), 0);
    std::iota(columns.begin(), columns.end(), 0);
    for (int repeat = 0; repeat < 50; ++repeat) {
      // A cyclic mask with shuffled rows and columns is feasible.
      std::shuffle(rows.begin(), rows.end(), random);
      std::shuffle(columns.begin(), columns.end(), random);
      std::vector<uint8_t> kept(m * m);
      for (int e = 0; e < m * m; ++e) kept[e] = (rows[e / m] + columns[e % m]) % m < 4;
      EXPECT_LE(KeptSum(scores, kept), stats.bound * (1 + 1e-12L)) << Name(kind);
      EXPECT_LE(KeptSum(scores, kept), stats.value * (1 + 1e-8L)) << Name(kind);
    }
  }
}

// Whole quanta: their sums are exact in float64, so that equal masks and equal optima alike have
// equal values.
TEST_P(PropertiesTest, TheValueIsThatOfTheTransposedBlock) {
  for (const auto [n, m] : kPatterns) {
    for (const WeightKind kind : kAllWeightKinds) {
      const auto weights = GenerateQuantisedBlocks(kind, m, 1, 31);
      std::vector<float> transposed(m * m);
      for (int e = 0; e < m * m; ++e) transposed[e % m * m + e / m] = weights[e];
      EXPECT_EQ(SolveBlock(Optimal({n, m}), transposed).Total().value,
                SolveBlock(Optimal({n, m}), weights).Total().value)
          << Name(kind) << " " << n << ":" << m;
    }
  }
}

TEST_P(PropertiesTest, TheValueIsThatOfThePermutedBlock) {
  std::mt19937 random(2);
  for (const auto [n, m] : kPatterns) {
    std::vector<int> rows(m), columns(m);
    std::iota(rows.begin(), rows.end(), 0);
    std::iota(columns.begin(), columns.end(), 0);
    for (const WeightKind kind : kAllWeightKinds) {
      const auto weights = GenerateQuantisedBlocks(kind, m, 1, 41);
      std::shuffle(rows.begin(), rows.end(), random);
      std::shuffle(columns.begin(), columns.end(), random);
      std::vector<float> permuted(m * m);
      for (int e = 0; e < m * m; ++e) permuted[e] = weights[rows[e / m] * m + columns[e % m]];
      EXPECT_EQ(SolveBlock(Optimal({n, m}), permuted).Total().value,
                SolveBlock(Optimal({n, m}), weights).Total().value)
          << Name(kind) << " " << n << ":" << m;
    }
  }
}

// `weights` times 2^exponent; empty where that is not exact.
std::vector<float> ScaledExactly(std::vector<float> weights, int exponent) {
  for (float& weight : weights) {
    const float scaled = std::ldexp(weight, exponent);
    if (std::ldexp(scaled, -exponent) != weight) return {};
    weight = scaled;
  }
  return weights;
}

TEST_P(PropertiesTest, PowersOfTwoLeaveTheMaskAndScaleTheValue) {
  for (const Pattern pattern : kPatterns) {
    for (const WeightKind kind : kAllWeightKinds) {
      const auto weights = GenerateBlocks(kind, pattern.m, 1, 51);
      const auto solved = SolveBlock(Optimal(pattern), weights);
      int scalings = 0;
      for (const int exponent : {-100, 1, 60}) {
        const auto scaled = ScaledExactly(weights, exponent);
        if (scaled.empty()) continue;
        ++scalings;
        const auto again = SolveBlock(Optimal(pattern), scaled);
        EXPECT_EQ(again.mask, solved.mask)
            << Name(kind) << " " << pattern.n << ":" << pattern.m << " times 2^" << exponent;
        EXPECT_DOUBLE_EQ(again.Total().value, std::ldexp(solved.Total().value, exponent));
      }
      EXPECT_GE(scalings, 2) << Name(kind);  // 2^1 and 2^60 are exact for every kind
    }
  }
}

TEST_P(PropertiesTest, PowersOfTwoLeaveTheMaskOfEveryMethod) {
  for (const WeightKind kind :
       {WeightKind::kGaussian, WeightKind::kInt2, WeightKind::kSparse, WeightKind::kColumnScaled}) {
    for (const Method method : kAllMethods) {
      const auto weights = GenerateBlocks(kind, 16, 1, 51);
      Problem problem = Optimal({8, 16});
      problem.options.method = method;
      const auto solved = SolveBlock(problem, weights);
      for (const int exponent : {-100, -1, 1, 7, 100}) {
        const auto again = SolveBlock(problem, ScaledExactly(weights, exponent));
        EXPECT_EQ(again.mask, solved.mask)
            << Name(kind) << ", method " << static_cast<int>(method) << ", times 2^" << exponent;
      }
    }
  }
}

TEST_P(PropertiesTest, SignsDoNotMatterForMagnitudes) {
  const int m = 8;
  auto weights = GenerateWeights(WeightKind::kGaussian, m, m, 61);
  const auto solved = SolveBlock(Optimal({4, m}), weights);
  for (float& weight : weights) weight = -weight;
  EXPECT_EQ(SolveBlock(Optimal({4, m}), weights).mask, solved.mask);
}

TEST_P(PropertiesTest, ExtremesOfFloat32AreSolved) {
  const int m = 8;
  auto weights = GenerateWeights(WeightKind::kGaussian, m, m, 71);
  const float greatest = *std::max_element(
      weights.begin(), weights.end(), [](float x, float y) { return std::fabs(x) < std::fabs(y); });
  for (float& weight : weights) {
    weight = weight / std::fabs(greatest) * std::numeric_limits<float>::max();
  }
  const auto huge = SolveBlock(Optimal({4, m}), weights).Total();
  EXPECT_TRUE(std::isfinite(huge.bound));
  EXPECT_EQ(huge.blocks_proven, 1);
  std::vector<float> least(m * m, 0.0f);
  for (int k = 0; k < m; ++k) least[k * m + k] = std::numeric_limits<float>::denorm_min();
  const auto tiny = SolveBlock(Optimal({1, m}), least).Total();
  EXPECT_EQ(tiny.value, 8 * double{std::numeric_limits<float>::denorm_min()});
  EXPECT_EQ(tiny.blocks_proven, 1);
}

TEST_P(PropertiesTest, NothingIsKeptWithNZeroAndEverythingWithNEqualM) {
  for (const Method method : kAllMethods) {
    for (const int m : {1, 2, 5, 16, 33, 128}) {
      const auto weights = GenerateWeights(WeightKind::kGaussian, m, m, 81);
      Problem problem = Optimal({0, m});
      problem.options.method = method;
      const auto none = SolveBlock(problem, weights);
      EXPECT_EQ(none.mask, std::vector<uint8_t>(none.mask.size(), 0));
      EXPECT_EQ(none.Total().value, 0);
      EXPECT_EQ(none.Total().bound, 0);
      EXPECT_EQ(none.Total().kept, 0);
      EXPECT_EQ(none.Total().blocks_proven, 1);

      problem.pattern.n = m;
      const auto all = SolveBlock(problem, weights);
      const auto scores = MagnitudesOfBlock(weights, m, m, m, 0, 0);
      EXPECT_EQ(LineSumsOf(all.KeptOfBlock(0, 0), m).least, m);
      EXPECT_EQ(all.Total().kept, m * m);
      EXPECT_EQ(all.Total().blocks_proven, 1);
      const auto bound =
          static_cast<double>(DualBound(scores, problem.pattern, all.PotentialsOfBlock(0, 0)));
      EXPECT_NEAR(all.Total().value, all.Total().score_sum, 1e-12 * all.Total().score_sum);
      EXPECT_NEAR(bound, all.Total().value, 1e-12 * bound);
    }
  }
}

TEST_P(PropertiesTest, ABlockOfOneEntryKeepsItOrNot) {
  const float weight = -3.5f;
  Problem problem = Optimal({1, 1});
  const auto kept = SolveBlock(problem, {weight});
  EXPECT_EQ(kept.mask, std::vector<uint8_t>{1});
  EXPECT_EQ(kept.Total().value, 3.5);
  EXPECT_EQ(kept.Total().bound, 3.5);
  problem.pattern.n = 0;
  EXPECT_EQ(SolveBlock(problem, {weight}).mask, std::vector<uint8_t>{0});
}

TEST_P(PropertiesTest, AnAllZeroBlockIsFeasibleAndProvenByBothMethods) {
  for (const Method method : {Method::kOptimal, Method::kTsenor}) {
    Problem problem = Optimal({2, 4});
    problem.options.method = method;
    const auto solved = SolveBlock(problem, std::vector<float>(16, 0.0f));
    EXPECT_EQ(solved.Total().bound, 0);
    EXPECT_EQ(solved.Total().relative_gap(), 0);
    EXPECT_EQ(LineSumsOf(solved.KeptOfBlock(0, 0), 4).least, 2);
    EXPECT_EQ(solved.Total().blocks_proven, 1);
  }
}

TEST_P(PropertiesTest, ATighterToleranceNeverMakesTheAnswerWorse) {
  for (const WeightKind kind : kAllWeightKinds) {
    const int m = 24;
    const auto weights = GenerateWeights(kind, m, m, 91);
    Problem problem = Optimal({12, m});
    SolveStats last;
    bool first = true;
    for (const double tolerance : {1.0, 1e-6, 1e-9, 1e-13, 1e-300}) {
      problem.options.optimal.gap_tolerance = tolerance;
      const SolveStats stats = SolveBlock(problem, weights).Total();
      if (!first) {
        EXPECT_GE(stats.value, last.value) << Name(kind) << ", tolerance " << tolerance;
        EXPECT_LE(stats.bound, last.bound) << Name(kind) << ", tolerance " << tolerance;
      }
      last = stats;
      first = false;
    }
    EXPECT_LE(last.relative_gap(), 1e-13) << Name(kind);
  }
}

TEST_P(PropertiesTest, OtherMemoryStreamsAndBadProblemsAreRefused) {
  Problem problem = Optimal({2, 4});
  EXPECT_EQ(
      solver().Solve({.problem = problem, .tiles = {}, .memory = MemorySpace::kDevice}).code(),
      absl::StatusCode::kInvalidArgument);
  int stream = 0;
  EXPECT_EQ(solver().Solve({.problem = problem, .tiles = {}, .stream = &stream}).code(),
            absl::StatusCode::kInvalidArgument);
  problem.pattern.n = 5;
  EXPECT_EQ(solver().Solve({.problem = problem, .tiles = {}}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_P(PropertiesTest, ABatchWithoutTilesIsSolved) {
  EXPECT_TRUE(solver().Solve({.problem = Optimal({2, 4}), .tiles = {}}).ok());
}

TEST_P(PropertiesTest, ScoresThatNoCallerMayPassEndAndTouchNothingElse) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Method method : kAllMethods) {
    for (const ScoreKind score_kind : {ScoreKind::kMagnitude, ScoreKind::kGiven}) {
      Problem problem = Optimal({4, 8});
      problem.options.method = method;
      problem.score_kind = score_kind;
      for (const std::vector<float>& bad :
           {std::vector<float>{nan}, {infinity}, {-infinity}, {nan, infinity, -1e30f, -1.0f}}) {
        auto weights = GenerateWeights(WeightKind::kGaussian, 8, 8, 5);
        for (size_t k = 0; k < weights.size(); k += 3) weights[k] = bad[k % bad.size()];
        const auto solved = SolveBlock(problem, weights);
        EXPECT_EQ(solved.mask.size(), 8u);  // reached: the call ended
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, PropertiesTest, testing::Values(kReferenceBackend, kCpuBackend),
                         BackendName);

}  // namespace
}  // namespace tsenor
