// The methods without sweeps: each is what its definition says, on every backend to the bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "solver/certificate.h"
#include "solver/random_masks.h"
#include "tests/solver/backends.h"
#include "tests/support/block_arithmetic.h"
#include "tests/support/generators.h"
#include "tests/support/lemon_oracle.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {
namespace {

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

constexpr Method kHeuristics[] = {Method::kTwoApprox, Method::kBiNm, Method::kMaxRandom,
                                  Method::kRowNm, Method::kColumnNm};

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
TEST(HeuristicBackendsTest, AnswerTheSameMasks) {
  const std::unique_ptr<Solver> reference = MakeReferenceSolver();
  const std::unique_ptr<Solver> cpu = MakeCpuSolverWithThreads(2);
  for (const Pattern pattern : ManyPatterns()) {
    for (const WeightKind kind : kAllWeightKinds) {
      // An incomplete block row and column, where there can be one; of large blocks not four.
      const int m = pattern.m, rows = m + (m + 1) / 2, columns = (m > 32 ? m : 2 * m) - m / 3;
      const auto weights = GenerateWeights(kind, rows, columns, 5);
      for (const Method method : kHeuristics) {
        SCOPED_TRACE(Name(kind) + ", " + Text(method, pattern));
        // The reference takes seconds for a large optimum.
        if (m > 20 && IsTransposable(method) && kind != WeightKind::kGaussian) continue;
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

class HeuristicsTest : public BackendTest {
 protected:
  // Solves blocks of `pattern` side by side, and hands each to `judge`: its scores and its mask,
  // m x m, 0 or 1.
  template <typename Judge>
  void ForEachBlock(const Problem& problem, WeightKind kind, int blocks, Judge judge) {
    SCOPED_TRACE(Name(kind) + ", " + Text(problem.options.method, problem.pattern));
    const int m = problem.pattern.m;
    const auto weights = GenerateBlocks(kind, m, blocks, 17);
    const auto solved = SolveWholeMatrix(solver(), problem, weights.data(), m, blocks * m);
    for (int block = 0; block < blocks; ++block) {
      judge(MagnitudesOfBlock(weights, m, blocks * m, m, 0, block), solved.KeptOfBlock(0, block));
    }
  }
};

const Pattern kJudged[] = {{1, 2}, {1, 4}, {2, 4}, {3, 4}, {2, 5}, {4, 8}, {2, 8}, {7, 12}};

// True if entry x comes before entry y of the same line, of the same block.
bool Precedes(const std::vector<float>& scores, int x, int y) {
  return scores[x] > scores[y] || (scores[x] == scores[y] && x < y);
}

// Entries of `line` that `kept` holds and that come before `entry`.
int CountBefore(const std::vector<float>& scores, const std::vector<uint8_t>& kept,
                const std::vector<int>& line, int entry) {
  return static_cast<int>(std::count_if(line.begin(), line.end(), [&](int other) {
    return kept[other] && Precedes(scores, other, entry);
  }));
}

std::vector<int> RowOf(int entry, int m) {
  std::vector<int> row(m);
  std::iota(row.begin(), row.end(), entry / m * m);
  return row;
}

std::vector<int> ColumnOf(int entry, int m) {
  std::vector<int> column;
  for (int i = 0; i < m; ++i) column.push_back(i * m + entry % m);
  return column;
}

// The entries kept that have fewer than n before them in the line that `line_of` gives.
std::vector<uint8_t> GreatestOfLines(const std::vector<float>& scores,
                                     const std::vector<uint8_t>& kept, Pattern pattern,
                                     std::vector<int> (*line_of)(int, int)) {
  std::vector<uint8_t> greatest(kept.size());
  for (size_t e = 0; e < kept.size(); ++e) {
    const auto entry = static_cast<int>(e);
    greatest[e] =
        kept[e] && CountBefore(scores, kept, line_of(entry, pattern.m), entry) < pattern.n;
  }
  return greatest;
}

// One entry at a time: the first of the greatest that still fit.
std::vector<uint8_t> GreedyByScanning(const std::vector<float>& scores, Pattern pattern) {
  const auto [n, m] = pattern;
  std::vector<uint8_t> kept(scores.size());
  std::vector<int> rows(m), columns(m);
  for (;;) {
    int best = -1;
    for (int e = 0; e < m * m; ++e) {
      if (kept[e] || rows[e / m] == n || columns[e % m] == n) continue;
      if (best < 0 || scores[e] > scores[best]) best = e;
    }
    if (best < 0) return kept;
    kept[best] = 1;
    ++rows[best / m];
    ++columns[best % m];
  }
}

TEST_P(HeuristicsTest, TwoApproxIsTheGreedyMaskAndWorthHalfTheOptimum) {
  for (const Pattern pattern : kJudged) {
    LemonOracle oracle(pattern);
    for (const WeightKind kind : kAllWeightKinds) {
      ForEachBlock(ProblemOf(Method::kTwoApprox, pattern), kind, 10,
                   [&](const std::vector<float>& scores, const std::vector<uint8_t>& kept) {
                     EXPECT_EQ(kept, GreedyByScanning(scores, pattern));
                     const auto quanta = QuantiseBlockByBits(scores);
                     EXPECT_GE(2 * KeptSum(quanta, kept), oracle.GreatestKeptSum(quanta));
                   });
    }
  }
}

// The greedy mask of this block takes 1 + epsilon and nothing beside it.
TEST_P(HeuristicsTest, TwoApproxMayLoseAlmostHalf) {
  const std::vector<float> weights = {1.0f, 1.001f, 0.0f, 1.0f};
  const auto stats =
      SolveWholeMatrix(solver(), ProblemOf(Method::kTwoApprox, {1, 2}), weights.data(), 2, 2)
          .Total();
  EXPECT_FLOAT_EQ(stats.value, 1.001f);
  EXPECT_NEAR(stats.bound, 2.0, 1e-8);
  EXPECT_EQ(stats.blocks_proven, 0);
}

TEST_P(HeuristicsTest, RowAndColumnMasksKeepTheGreatestOfEachLine) {
  for (const Pattern pattern : kJudged) {
    for (const WeightKind kind : kAllWeightKinds) {
      const std::vector<uint8_t> all(pattern.m * pattern.m, 1);
      ForEachBlock(ProblemOf(Method::kRowNm, pattern), kind, 10,
                   [&](const std::vector<float>& scores, const std::vector<uint8_t>& kept) {
                     EXPECT_EQ(kept, GreatestOfLines(scores, all, pattern, RowOf));
                   });
      ForEachBlock(ProblemOf(Method::kColumnNm, pattern), kind, 10,
                   [&](const std::vector<float>& scores, const std::vector<uint8_t>& kept) {
                     EXPECT_EQ(kept, GreatestOfLines(scores, all, pattern, ColumnOf));
                   });
    }
  }
}

TEST_P(HeuristicsTest, BiNmKeepsTheGreatestOfEachColumnOfTheRowMask) {
  for (const Pattern pattern : kJudged) {
    for (const WeightKind kind : kAllWeightKinds) {
      const std::vector<uint8_t> all(pattern.m * pattern.m, 1);
      ForEachBlock(ProblemOf(Method::kBiNm, pattern), kind, 10,
                   [&](const std::vector<float>& scores, const std::vector<uint8_t>& kept) {
                     const auto rows = GreatestOfLines(scores, all, pattern, RowOf);
                     EXPECT_EQ(kept, GreatestOfLines(scores, rows, pattern, ColumnOf));
                   });
    }
  }
}

TEST_P(HeuristicsTest, MaxRandomKeepsTheBestOfTheRandomMasks) {
  for (const Pattern pattern : kJudged) {
    const MaxRandomOptions options = {.samples = 40, .seed = 3};
    const RandomMasks masks(pattern, options);
    for (const WeightKind kind : kAllWeightKinds) {
      ForEachBlock(ProblemOf(Method::kMaxRandom, pattern, options), kind, 10,
                   [&](const std::vector<float>& scores, const std::vector<uint8_t>& kept) {
                     const auto quanta = QuantiseBlockByBits(scores);
                     std::vector<uint8_t> best;
                     for (int mask = 0; mask < options.samples; ++mask) {
                       std::vector<uint8_t> one(kept.size());
                       for (int e = 0; e < pattern.m * pattern.m; ++e) {
                         one[e] = masks.Keeps(mask, e / pattern.m, e % pattern.m);
                       }
                       if (best.empty() || KeptSum(quanta, one) > KeptSum(quanta, best)) best = one;
                     }
                     EXPECT_EQ(kept, best);
                   });
    }
  }
}

TEST_P(HeuristicsTest, SeedsMatterAndMoreSamplesAreNeverWorse) {
  const int m = 16, blocks = 20;
  const auto weights = GenerateBlocks(WeightKind::kGaussian, m, blocks, 23);
  const auto solve = [&](MaxRandomOptions options) {
    return SolveWholeMatrix(solver(), ProblemOf(Method::kMaxRandom, {8, m}, options),
                            weights.data(), m, blocks * m);
  };
  EXPECT_NE(solve({.samples = 10, .seed = 1}).mask, solve({.samples = 10, .seed = 2}).mask);
  double last = 0;
  for (const int samples : {1, 2, 10, 100, 1000}) {
    const double value = solve({.samples = samples}).Total().value;
    EXPECT_GT(value, last) << samples;  // 20 blocks: some gain at every step
    last = value;
  }
}

// Every method: line sums where it constrains lines, counts, and the bound by the test's own
// arithmetic.
TEST_P(HeuristicsTest, LineSumsCountsAndBoundsAreTrue) {
  for (const Method method : kHeuristics) {
    for (const Pattern pattern : kJudged) {
      for (const WeightKind kind : kAllWeightKinds) {
        SCOPED_TRACE(Name(kind) + ", " + Text(method, pattern));
        const auto [n, m] = pattern;
        const auto weights = GenerateWeights(kind, m, m, 29);
        const auto scores = MagnitudesOfBlock(weights, m, m, m, 0, 0);
        const auto solved =
            SolveWholeMatrix(solver(), ProblemOf(method, pattern), weights.data(), m, m);
        const auto kept = solved.KeptOfBlock(0, 0);
        const SolveStats stats = solved.Total();
        std::vector<int> sums;  // of the lines that the method constrains
        for (int k = 0; k < m; ++k) {
          int row = 0, column = 0;
          for (int l = 0; l < m; ++l) {
            row += kept[k * m + l];
            column += kept[l * m + k];
          }
          if (method != Method::kColumnNm) sums.push_back(row);
          if (method != Method::kRowNm) sums.push_back(column);
        }
        const int least = *std::min_element(sums.begin(), sums.end());
        const bool may_be_short = method == Method::kTwoApprox || method == Method::kBiNm;
        EXPECT_LE(*std::max_element(sums.begin(), sums.end()), n);
        EXPECT_GE(least, may_be_short ? 0 : n);
        EXPECT_EQ(stats.blocks_short, least < n);
        EXPECT_EQ(stats.kept, std::count(kept.begin(), kept.end(), 1));
        const auto value = static_cast<double>(KeptSum(scores, kept));
        const auto bound =
            static_cast<double>(DualBound(scores, pattern, solved.PotentialsOfBlock(0, 0)));
        EXPECT_NEAR(stats.value, value, 1e-12 * value);
        EXPECT_NEAR(stats.bound, bound, 1e-12 * bound);
        // (Lines that keep fewer may be worth more: no transposable mask is.)
        if (least == n) {
          EXPECT_GE(stats.bound, stats.value * (1 - 1e-12));
        }
        if (!IsTransposable(method)) {
          EXPECT_NEAR(stats.bound, stats.value, 1e-12 * value);
          EXPECT_EQ(stats.blocks_proven, 1);
        }
      }
    }
  }
}

// A 2:3 mask drops one entry of each line, so that one of the four ones goes; not so if the first
// row may keep a single entry.
TEST_P(HeuristicsTest, AShortMaskMayBeWorthMoreThanEveryTransposableOne) {
  const std::vector<float> weights = {0, 0, 0, 0, 1, 1, 0, 1, 1};
  const auto stats =
      SolveWholeMatrix(solver(), ProblemOf(Method::kTwoApprox, {2, 3}), weights.data(), 3, 3)
          .Total();
  EXPECT_EQ(stats.value, 4);
  EXPECT_NEAR(stats.bound, 3, 1e-8);
  EXPECT_EQ(stats.relative_gap(), 0);
  EXPECT_EQ(stats.blocks_short, 1);
  EXPECT_EQ(stats.blocks_proven, 0);
}

// The bound of a transposable method is OPTIMAL's, that of a one-sided one is not below it.
TEST_P(HeuristicsTest, BoundsAreThoseOfTheOptimumOrOfTheRelaxation) {
  const int m = 16;
  const auto weights = GenerateBlocks(WeightKind::kStudentT, m, 4, 31);
  const auto solve = [&](Method method) {
    return SolveWholeMatrix(solver(), ProblemOf(method, {4, m}), weights.data(), m, 4 * m).Total();
  };
  const double optimum = solve(Method::kOptimal).bound;
  for (const Method method : kHeuristics) {
    if (IsTransposable(method)) {
      EXPECT_NEAR(solve(method).bound, optimum, 2e-9 * optimum);
      EXPECT_LT(solve(method).value, optimum);
    } else {
      EXPECT_GT(solve(method).bound, optimum * 1.001);
    }
  }
}

// Certify() ignores the potentials of the side that a mask leaves free, whatever they are.
TEST_P(HeuristicsTest, TheCertificateOfAOneSidedMaskNeedsNoTrust) {
  const int m = 8;
  const auto weights = GenerateWeights(WeightKind::kGaussian, m, 2 * m, 37);
  for (const Method method : {Method::kRowNm, Method::kColumnNm}) {
    const Problem problem = ProblemOf(method, {3, m});
    auto solved = SolveWholeMatrix(solver(), problem, weights.data(), m, 2 * m);
    for (int block = 0; block < 2; ++block) {
      double* free = &solved.potentials[block * 2 * m + (method == Method::kRowNm ? m : 0)];
      std::fill_n(free, m, -7.0);
    }
    SolveStats stats;
    const Tile tile = {.weights = weights.data(),
                       .row_stride = 2 * m,
                       .rows = m,
                       .columns = 2 * m,
                       .mask = solved.mask.data(),
                       .mask_row_stride = MaskRowBytes(2 * m),
                       .stats = &stats,
                       .potentials = solved.potentials.data()};
    const MaskCertificate certificate = Certify(problem, tile);
    EXPECT_NEAR(certificate.stats.bound, solved.Total().bound, 1e-12 * solved.Total().bound);
    EXPECT_EQ(certificate.stats.blocks_proven, 2);
    EXPECT_EQ(certificate.lines_over, 0);
    EXPECT_EQ(certificate.lines_under, 0);
    // For transposable masks the same mask is none.
    EXPECT_GT(Certify(ProblemOf(Method::kOptimal, {3, m}), tile).lines_over, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, HeuristicsTest, testing::Values(kReferenceBackend, kCpuBackend),
                         BackendName);

}  // namespace
}  // namespace tsenor
