// The CUDA backend finds what the cpu backend finds, in every type and cut; its contract.
#include "solver/cuda/cuda_solver.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "tests/gpu/cuda_test.h"
#include "tests/support/generators.h"

namespace tsenor {
namespace {

Problem Optimal(Pattern pattern) {
  Problem problem;
  problem.pattern = pattern;
  return problem;
}

class CudaSolverTest : public CudaTest {
 protected:
  // Solved without potentials.
  SolvedMatrix SolveWithoutPotentials(Pattern pattern, const std::vector<float>& weights,
                                      int64_t rows, int64_t columns) {
    SolvedMatrix solved;
    solved.pattern = pattern;
    solved.rows = rows;
    solved.columns = columns;
    solved.mask.assign(rows * MaskRowBytes(columns), 0xa5);
    solved.block_rows.resize(BlocksAlong(rows, pattern.m));
    const Tile tile = {.weights = weights.data(),
                       .row_stride = columns,
                       .rows = rows,
                       .columns = columns,
                       .mask = solved.mask.data(),
                       .mask_row_stride = MaskRowBytes(columns),
                       .stats = solved.block_rows.data()};
    EXPECT_TRUE(cuda().Solve({.problem = Optimal(pattern), .tiles = {&tile, 1}}).ok());
    return solved;
  }
};

// Weights of `dtype` whose bits are random; never infinite or NaN.
std::vector<uint8_t> RandomElements(DType dtype, int64_t count) {
  std::mt19937_64 random(static_cast<uint64_t>(dtype) + 1);
  std::vector<uint8_t> bytes(count * SizeOf(dtype));
  const size_t size = SizeOf(dtype);
  for (int64_t k = 0; k < count; ++k) {
    const uint64_t bits = random();
    for (size_t b = 0; b < size; ++b) bytes[k * size + b] = static_cast<uint8_t>(bits >> 8 * b);
    bytes[(k + 1) * size - 1] &= 0xbf;  // the exponent's highest bit: below 2, whatever the type
  }
  return bytes;
}

TEST_F(CudaSolverTest, EveryTypeAndScoreKindIsReadAsByTheCpuBackendIncompleteBlocksToo) {
  constexpr int64_t kRows = 45, kColumns = 70;
  std::vector<float> norms(kColumns);
  for (int64_t j = 0; j < kColumns; ++j) norms[j] = static_cast<float>(1 + j % 5);
  norms[3] = 0;
  for (const DType dtype : kAllDTypes) {
    const auto elements = RandomElements(dtype, kRows * kColumns);
    for (const Pattern pattern : {Pattern{2, 4}, {4, 8}, {5, 12}, {16, 32}, {20, 40}}) {
      for (const bool normed : {false, true}) {
        SCOPED_TRACE(testing::Message() << NameOf(dtype) << " M = " << pattern.m << " " << normed);
        Problem problem = Optimal(pattern);
        problem.dtype = dtype;
        if (normed) problem.score_kind = ScoreKind::kMagnitudeTimesColumnNorm;
        const float* of_columns = normed ? norms.data() : nullptr;
        const SolveStats found =
            SolveWholeMatrix(cuda(), problem, elements.data(), kRows, kColumns, of_columns).Total();
        const SolveStats wanted =
            SolveWholeMatrix(cpu(), problem, elements.data(), kRows, kColumns, of_columns).Total();
        EXPECT_NEAR(found.score_sum, wanted.score_sum, 1e-12 * wanted.score_sum);
        EXPECT_NEAR(found.value, wanted.value, 1e-9 * wanted.value);
        EXPECT_LE(found.relative_gap(), 1e-9);
        EXPECT_EQ(found.blocks_proven, wanted.blocks);
      }
    }
  }
}

// Without potentials the search alone answers; aligned rows are read in vectors, others are not.
TEST_F(CudaSolverTest, ExhaustiveSearchProvesWhatTheGeneralKernelFinds) {
  for (const int64_t columns : {1, 3, 4, 7, 8, 61, 64, 1000, 1024}) {
    for (const int n : {1, 2, 3}) {
      SCOPED_TRACE(testing::Message() << n << ":4, " << columns << " columns");
      constexpr int64_t kRows = 10;
      const auto weights = GenerateWeights(WeightKind::kGaussian, kRows, columns, columns);
      const auto with = SolveWholeMatrix(cuda(), Optimal({n, 4}), weights.data(), kRows, columns);
      const auto without = SolveWithoutPotentials({n, 4}, weights, kRows, columns);
      EXPECT_EQ(without.mask, with.mask);
      for (size_t row = 0; row < with.block_rows.size(); ++row) {
        SolveStats stats = with.block_rows[row];
        EXPECT_NEAR(stats.bound, stats.value, 1e-9 * stats.bound);
        stats.bound = stats.value;
        EXPECT_TRUE(SameStats(without.block_rows[row], stats));
      }
      const SolveStats wanted =
          SolveWholeMatrix(cpu(), Optimal({n, 4}), weights.data(), kRows, columns).Total();
      EXPECT_NEAR(without.Total().value, wanted.value, 1e-14 * wanted.score_sum);
    }
  }
}

TEST_F(CudaSolverTest, PatternsWithoutChoiceKeepNothingOrEverything) {
  for (const int m : {1, 2, 8, 33, 128}) {
    const auto weights = GenerateBlocks(WeightKind::kGaussian, m, 3, 1);
    for (const int n : {0, m}) {
      const auto solved = SolveWholeMatrix(cuda(), Optimal({n, m}), weights.data(), m, 3 * m);
      const SolveStats stats = solved.Total();
      EXPECT_EQ(stats.kept, int64_t{3} * n * m);
      EXPECT_EQ(stats.value, n == 0 ? 0 : stats.score_sum);
      EXPECT_EQ(stats.blocks_proven, 3);
    }
  }
}

TEST_F(CudaSolverTest, TilesCutAnywhereGiveTheSameBitsInOneBatch) {
  constexpr int64_t kRows = 53, kColumns = 37;  // 7 x 5 blocks, incomplete ones at both edges
  const auto weights = GenerateWeights(WeightKind::kGaussian, kRows, kColumns, 1);
  const Problem problem = Optimal({4, 8});
  const auto whole = SolveWholeMatrix(cuda(), problem, weights.data(), kRows, kColumns);
  for (int64_t cut = 1; cut < 7; ++cut) {
    SolvedMatrix cut_up = whole;
    std::fill(cut_up.mask.begin(), cut_up.mask.end(), 0xff);
    Tile first = {.weights = weights.data(),
                  .row_stride = kColumns,
                  .rows = cut * 8,
                  .columns = kColumns,
                  .mask = cut_up.mask.data(),
                  .mask_row_stride = MaskRowBytes(kColumns),
                  .stats = cut_up.block_rows.data(),
                  .potentials = cut_up.potentials.data()};
    Tile second = first;
    second.rows = kRows - cut * 8;
    second.weights = weights.data() + cut * 8 * kColumns;
    second.mask += cut * 8 * first.mask_row_stride;
    second.stats += cut;
    second.potentials += cut * 5 * 16;
    const Tile tiles[] = {second, first};
    ASSERT_TRUE(cuda().Solve({.problem = problem, .tiles = tiles}).ok());
    ExpectSameAnswer(cut_up, whole);
  }
}

TEST_F(CudaSolverTest, ManyTilesInABatchAndManyCallsAtATimeGiveTheSameBits) {
  constexpr int kMatrices = 100;  // more than one pass takes
  const Problem problem = Optimal({8, 16});
  std::vector<std::vector<float>> weights;
  std::vector<SolvedMatrix> alone;
  for (int k = 0; k < kMatrices; ++k) {
    const int64_t rows = 16 * (1 + k % 3), columns = 16 * (1 + k % 5);
    weights.push_back(
        GenerateWeights(kAllWeightKinds[k % std::size(kAllWeightKinds)], rows, columns, k));
    alone.push_back(SolveWholeMatrix(cuda(), problem, weights[k].data(), rows, columns));
  }
  const auto solve_together = [&] {
    std::vector<SolvedMatrix> together = alone;
    std::vector<Tile> tiles;
    for (int k = 0; k < kMatrices; ++k) {
      std::fill(together[k].mask.begin(), together[k].mask.end(), 0);
      tiles.push_back({.weights = weights[k].data(),
                       .row_stride = together[k].columns,
                       .rows = together[k].rows,
                       .columns = together[k].columns,
                       .mask = together[k].mask.data(),
                       .mask_row_stride = MaskRowBytes(together[k].columns),
                       .stats = together[k].block_rows.data(),
                       .potentials = together[k].potentials.data()});
    }
    EXPECT_TRUE(cuda().Solve({.problem = problem, .tiles = tiles}).ok());
    for (int k = 0; k < kMatrices; ++k) ExpectSameAnswer(together[k], alone[k]);
  };
  std::vector<std::thread> callers;
  for (int k = 0; k < 4; ++k) callers.emplace_back(solve_together);
  for (std::thread& caller : callers) caller.join();
}

TEST_F(CudaSolverTest, StridesAreFollowedAndGapsLeftAlone) {
  constexpr int64_t kRows = 16, kColumns = 13, kStride = 20, kMaskStride = 5;
  const auto dense = GenerateWeights(WeightKind::kGaussian, kRows, kColumns, 3);
  const Problem problem = Optimal({4, 8});
  const auto expected = SolveWholeMatrix(cuda(), problem, dense.data(), kRows, kColumns);
  std::vector<float> spread(kRows * kStride, 1e30f);  // huge between the rows
  for (int64_t i = 0; i < kRows; ++i) {
    std::copy_n(dense.begin() + i * kColumns, kColumns, spread.begin() + i * kStride);
  }
  std::vector<uint8_t> mask(kRows * kMaskStride, 0xcd);
  std::vector<SolveStats> stats(2);
  const Tile tile = {.weights = spread.data(),
                     .row_stride = kStride,
                     .rows = kRows,
                     .columns = kColumns,
                     .mask = mask.data(),
                     .mask_row_stride = kMaskStride,
                     .stats = stats.data()};  // and no potentials
  ASSERT_TRUE(cuda().Solve({.problem = problem, .tiles = {&tile, 1}}).ok());
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t byte = 0; byte < kMaskStride; ++byte) {
      const uint8_t wanted = byte < 2 ? expected.mask[i * 2 + byte] : 0xcd;
      EXPECT_EQ(mask[i * kMaskStride + byte], wanted) << "row " << i << ", byte " << byte;
    }
  }
}

TEST_F(CudaSolverTest, ScoresThatNoCallerMayPassEnd) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  auto weights = GenerateWeights(WeightKind::kGaussian, 32, 32, 5);
  const float bad[] = {nan, infinity, -infinity, -1e30f};
  for (size_t k = 0; k < weights.size(); k += 3) weights[k] = bad[k % 4];
  for (const ScoreKind kind : {ScoreKind::kMagnitude, ScoreKind::kGiven}) {
    Problem problem = Optimal({16, 32});
    problem.score_kind = kind;
    EXPECT_EQ(SolveWholeMatrix(cuda(), problem, weights.data(), 32, 32).Total().kept, 512);
  }
}

TEST_F(CudaSolverTest, WhatTheBackendDoesNotSupportIsRefused) {
  int stream = 0;
  Batch batch;
  batch.problem = Optimal({2, 4});
  batch.stream = &stream;
  EXPECT_EQ(cuda().Solve(batch).code(), absl::StatusCode::kInvalidArgument);
  batch.stream = nullptr;
  EXPECT_TRUE(cuda().Solve(batch).ok());  // no tiles
  batch.problem = Optimal({5, 4});
  EXPECT_EQ(cuda().Solve(batch).code(), absl::StatusCode::kInvalidArgument);
}

TEST(CudaDevicesTest, AGpuThatIsNotThereIsNotFound) {
  EXPECT_EQ(MakeCudaSolver(-1).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(MakeCudaSolver(CudaDeviceCount()).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace tsenor
