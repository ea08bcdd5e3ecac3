// The CUDA backend finds the cpu backend's optimum in every size and kind of scores, and proves it.
//
// TSENOR_CAMPAIGN_BLOCKS blocks of each size, N and kind, and some more where patches are to be
// full (default 8); 1000 make a million blocks and more in each test. GTEST_TOTAL_SHARDS processes
// share the kinds.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <vector>

#include "solver/cuda/cuda_solver.h"
#include "tests/gpu/cuda_test.h"
#include "tests/support/block_arithmetic.h"
#include "tests/support/generators.h"

namespace tsenor {
namespace {

// Blocks of one kind, generated one by one, in several rows of blocks.
struct Blocks {
  Pattern pattern;
  int64_t rows, columns;  // of weights
  std::vector<float> weights;

  int64_t count() const { return rows / pattern.m * (columns / pattern.m); }
};

using Generator = std::vector<float> (*)(WeightKind kind, int m, int64_t count, uint64_t seed);

class CudaCampaignTest : public CudaTest, public testing::WithParamInterface<WeightKind> {
 protected:
  // `factor` times the blocks that are asked for, or as many more as make 32 rows and columns.
  Blocks Generate(Generator generate, Pattern pattern, int64_t factor = 1) const {
    const char* asked = std::getenv("TSENOR_CAMPAIGN_BLOCKS");
    const int64_t wanted = factor * (asked != nullptr ? std::max(1, std::atoi(asked)) : 8);
    const int m = pattern.m;
    const int64_t bands = BlocksAlong(32, m);
    const int64_t of_band = std::max(BlocksAlong(wanted, bands), BlocksAlong(32, m));
    Blocks blocks = {.pattern = pattern, .rows = bands * m, .columns = of_band * m, .weights = {}};
    for (int64_t band = 0; band < bands; ++band) {
      const auto drawn = generate(GetParam(), m, of_band, 7 + band);
      blocks.weights.insert(blocks.weights.end(), drawn.begin(), drawn.end());
    }
    return blocks;
  }

  static Problem ProblemOf(const Blocks& blocks) {
    Problem problem;
    problem.pattern = blocks.pattern;
    return problem;
  }

  static SolvedMatrix Solve(Solver& solver, const Blocks& blocks) {
    return SolveWholeMatrix(solver, ProblemOf(blocks), blocks.weights.data(), blocks.rows,
                            blocks.columns);
  }

  // Feasible, and proven to `gap` by the potentials, which are looked at apart from any backend.
  void JudgeProof(const Blocks& blocks, const SolvedMatrix& found, double gap) {
    const SolveStats stats = found.Total();
    EXPECT_LE(stats.relative_gap(), gap);
    EXPECT_EQ(stats.blocks, blocks.count());
    EXPECT_EQ(stats.blocks_proven, blocks.count());
    const MaskCertificate certificate =
        CertifyWholeMatrix(ProblemOf(blocks), blocks.weights.data(), found);
    EXPECT_EQ(certificate.lines_over, 0);
    EXPECT_EQ(certificate.lines_under, 0);
    EXPECT_EQ(certificate.stats.kept, blocks.count() * blocks.pattern.n * blocks.pattern.m);
    EXPECT_NEAR(certificate.stats.value, stats.value, 1e-12 * stats.score_sum);
    EXPECT_NEAR(certificate.stats.bound, stats.bound, 1e-12 * stats.score_sum);
  }

  // The cpu backend's value to 1e-9, and proven.
  void JudgeValue(const Blocks& blocks) {
    const SolvedMatrix found = Solve(cuda(), blocks);
    const SolveStats stats = found.Total(), expected = Solve(cpu(), blocks).Total();
    EXPECT_NEAR(stats.value, expected.value, 1e-9 * expected.value);
    EXPECT_NEAR(stats.score_sum, expected.score_sum, 1e-12 * expected.score_sum);
    EXPECT_EQ(stats.kept, expected.kept);
    JudgeProof(blocks, found, 1e-9);
  }

  // On scores that are whole quanta, the same integer as the cpu backend's, block by block.
  void JudgeIntegerOptimum(const Blocks& blocks) {
    const SolvedMatrix found = Solve(cuda(), blocks), wanted = Solve(cpu(), blocks);
    const int m = blocks.pattern.m;
    for (int64_t row = 0; row < blocks.rows / m; ++row) {
      for (int64_t column = 0; column < blocks.columns / m; ++column) {
        const auto quanta = QuantiseBlockByBits(
            MagnitudesOfBlock(blocks.weights, blocks.rows, blocks.columns, m, row, column));
        EXPECT_EQ(KeptSum(quanta, found.KeptOfBlock(row, column)),
                  KeptSum(quanta, wanted.KeptOfBlock(row, column)))
            << "block " << row << ", " << column;
      }
    }
  }
};

TEST_P(CudaCampaignTest, EverySizeHasTheOptimumOfTheCpuBackend) {
  int64_t integers = 0;
  for (const int m : {2, 3, 4, 5, 7, 8, 12, 16, 20, 24, 31, 32, 33, 48, 64, 65, 96, 127, 128}) {
    for (const int n : std::set{1, std::max(1, m / 4), m / 2, m - 1}) {
      SCOPED_TRACE(testing::Message() << n << ":" << m);
      JudgeValue(Generate(GenerateBlocks, {n, m}));
      const Blocks whole = Generate(GenerateQuantisedBlocks, {n, m});
      JudgeIntegerOptimum(whole);
      integers += whole.count();
      if (HasFailure()) return;
    }
  }
  RecordProperty("blocks", std::to_string(integers));
}

TEST_P(CudaCampaignTest, MasksAreProvenByTheirCertificatesAlone) {
  // Of each pattern so many times the blocks that are asked for: sizes take alike long.
  constexpr std::pair<Pattern, int64_t> kPatterns[] = {
      {{4, 8}, 320},  {{2, 8}, 160}, {{8, 16}, 80}, {{10, 20}, 20}, {{12, 24}, 20},
      {{16, 32}, 20}, {{8, 32}, 10}, {{24, 48}, 5}, {{32, 64}, 5},  {{64, 128}, 1},
  };
  int64_t certified = 0;
  for (const auto& [pattern, factor] : kPatterns) {
    SCOPED_TRACE(testing::Message() << pattern.n << ":" << pattern.m);
    const Blocks blocks = Generate(GenerateBlocks, pattern, factor);
    JudgeProof(blocks, Solve(cuda(), blocks), 1e-9);
    certified += blocks.count();
    if (HasFailure()) return;
  }
  RecordProperty("blocks", std::to_string(certified));
}

INSTANTIATE_TEST_SUITE_P(Scores, CudaCampaignTest, testing::ValuesIn(kAllWeightKinds),
                         [](const auto& test) { return Name(test.param); });

}  // namespace
}  // namespace tsenor
