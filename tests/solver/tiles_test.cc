// Tiles, strides, threads and callers: the same bits however the work is cut, and nothing else
// written.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "tests/solver/backends.h"
#include "tests/support/generators.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {
namespace {

Problem SomeProblem(Method method, Pattern pattern = {4, 8}) {
  Problem problem;
  problem.pattern = pattern;
  problem.options.method = method;
  problem.options.tsenor.iterations = 30;
  return problem;
}

bool SameStats(const SolveStats& x, const SolveStats& y) {
  return x.value == y.value && x.bound == y.bound && x.score_sum == y.score_sum &&
         x.kept == y.kept && x.blocks == y.blocks && x.blocks_proven == y.blocks_proven &&
         x.blocks_short == y.blocks_short && x.sweeps == y.sweeps &&
         x.augmentations == y.augmentations;
}

void ExpectSameAnswer(const SolvedMatrix& x, const SolvedMatrix& y) {
  EXPECT_EQ(x.mask, y.mask);
  EXPECT_EQ(x.potentials, y.potentials);
  EXPECT_TRUE(std::equal(x.block_rows.begin(), x.block_rows.end(), y.block_rows.begin(),
                         y.block_rows.end(), SameStats));
}

using TilesTest = BackendTest;

TEST_P(TilesTest, TilesCutAnywhereGiveTheSameBitsInOneBatch) {
  constexpr int64_t kRows = 53, kColumns = 37;  // 7 x 5 blocks, incomplete ones at both edges
  const auto weights = GenerateWeights(WeightKind::kGaussian, kRows, kColumns, 1);
  for (const Method method : kAllMethods) {
    const Problem problem = SomeProblem(method);
    const auto whole = SolveWholeMatrix(solver(), problem, weights.data(), kRows, kColumns);
    for (int64_t cut = 1; cut < 7; ++cut) {
      SolvedMatrix cut_up = whole;
      std::fill(cut_up.mask.begin(), cut_up.mask.end(), 0xff);
      std::fill(cut_up.potentials.begin(), cut_up.potentials.end(), -1);
      std::fill(cut_up.block_rows.begin(), cut_up.block_rows.end(), SolveStats{});
      const Tile all = {.weights = weights.data(),
                        .row_stride = kColumns,
                        .rows = kRows,
                        .columns = kColumns,
                        .mask = cut_up.mask.data(),
                        .mask_row_stride = MaskRowBytes(kColumns),
                        .stats = cut_up.block_rows.data(),
                        .potentials = cut_up.potentials.data()};
      Tile first = all, second = all;
      first.rows = cut * 8;
      second.rows = kRows - cut * 8;
      second.weights = weights.data() + cut * 8 * kColumns;
      second.mask = all.mask + cut * 8 * all.mask_row_stride;
      second.stats = all.stats + cut;
      second.potentials = all.potentials + cut * 5 * 16;
      const Tile tiles[] = {second, first};  // order does not matter either
      ASSERT_TRUE(solver().Solve({.problem = problem, .tiles = tiles}).ok());
      ExpectSameAnswer(cut_up, whole);
    }
  }
}

TEST_P(TilesTest, TilesOfManyMatricesShareABatch) {
  constexpr int kMatrices = 20;
  const Problem problem = SomeProblem(Method::kOptimal);
  std::vector<std::vector<float>> weights;
  std::vector<SolvedMatrix> alone, together;
  for (int k = 0; k < kMatrices; ++k) {
    const int64_t rows = 8 * (1 + k % 3), columns = 8 * (1 + k % 5);
    weights.push_back(
        GenerateWeights(kAllWeightKinds[k % std::size(kAllWeightKinds)], rows, columns, k));
    alone.push_back(SolveWholeMatrix(solver(), problem, weights[k].data(), rows, columns));
    together.push_back(alone.back());
    std::fill(together[k].mask.begin(), together[k].mask.end(), 0);
  }
  std::vector<Tile> tiles;
  for (int k = 0; k < kMatrices; ++k) {
    tiles.push_back({.weights = weights[k].data(),
                     .row_stride = together[k].columns,
                     .rows = together[k].rows,
                     .columns = together[k].columns,
                     .mask = together[k].mask.data(),
                     .mask_row_stride = MaskRowBytes(together[k].columns),
                     .stats = together[k].block_rows.data(),
                     .potentials = together[k].potentials.data()});
  }
  ASSERT_TRUE(solver().Solve({.problem = problem, .tiles = tiles}).ok());
  for (int k = 0; k < kMatrices; ++k) ExpectSameAnswer(together[k], alone[k]);
}

TEST_P(TilesTest, StridesAreFollowedAndGapsLeftAlone) {
  constexpr int64_t kRows = 16, kColumns = 13, kStride = 20, kMaskStride = 5;
  const Problem problem = SomeProblem(Method::kOptimal);
  const auto dense = GenerateWeights(WeightKind::kGaussian, kRows, kColumns, 3);
  const auto expected = SolveWholeMatrix(solver(), problem, dense.data(), kRows, kColumns);
  // Weights between the rows are huge, so that reading them would change the answer.
  std::vector<float> spread(kRows * kStride, 1e30f);
  for (int64_t i = 0; i < kRows; ++i) {
    std::copy_n(dense.begin() + i * kColumns, kColumns, spread.begin() + i * kStride);
  }
  std::vector<uint8_t> mask(kRows * kMaskStride, 0xcd);
  std::vector<SolveStats> stats(3);
  stats[2].kept = -7;
  const Tile tile = {.weights = spread.data(),
                     .row_stride = kStride,
                     .rows = kRows,
                     .columns = kColumns,
                     .mask = mask.data(),
                     .mask_row_stride = kMaskStride,
                     .stats = stats.data()};  // and no potentials
  ASSERT_TRUE(solver().Solve({.problem = problem, .tiles = {&tile, 1}}).ok());
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t byte = 0; byte < kMaskStride; ++byte) {
      const uint8_t wanted = byte < 2 ? expected.mask[i * 2 + byte] : 0xcd;
      EXPECT_EQ(mask[i * kMaskStride + byte], wanted) << "row " << i << ", byte " << byte;
    }
  }
  EXPECT_EQ(stats[2].kept, -7);
}

TEST_P(TilesTest, UnusedBitsOfTheLastByteAreZero) {
  for (int64_t columns = 1; columns <= 24; ++columns) {
    const auto weights = GenerateWeights(WeightKind::kGaussian, 8, columns, columns);
    const auto solved = SolveWholeMatrix(solver(), SomeProblem(Method::kOptimal, {2, 3}),
                                         weights.data(), 8, columns);
    for (int64_t i = 0; i < 8; ++i) {
      const uint8_t last = solved.mask[(i + 1) * MaskRowBytes(columns) - 1];
      if (columns % 8 != 0) {
        EXPECT_EQ(last >> (columns % 8), 0) << columns << " columns";
      }
    }
  }
}

TEST_P(TilesTest, BitsStandForTheirEntriesFromTheLeastSignificantOn) {
  // The greatest entry of each line is known: 1:3 must keep a permuted diagonal.
  constexpr int64_t kColumns = 15;
  std::vector<float> weights(3 * kColumns, 0.1f);
  for (int64_t j = 0; j < kColumns; ++j) weights[(j / 3 + j) % 3 * kColumns + j] = 1;
  const auto solved = SolveWholeMatrix(solver(), SomeProblem(Method::kOptimal, {1, 3}),
                                       weights.data(), 3, kColumns);
  std::vector<uint8_t> expected(3 * 2, 0);
  for (int64_t j = 0; j < kColumns; ++j) {
    expected[(j / 3 + j) % 3 * 2 + j / 8] |= static_cast<uint8_t>(1 << (j % 8));
  }
  EXPECT_EQ(solved.mask, expected);
}

TEST_P(TilesTest, StatsAreTheSumsOfTheirBlocksInOrder) {
  constexpr int64_t kBlocks = 9;
  for (const Method method : kAllMethods) {
    const Problem problem = SomeProblem(method);
    const auto weights = GenerateBlocks(WeightKind::kStudentT, 8, kBlocks, 13);
    const auto row = SolveWholeMatrix(solver(), problem, weights.data(), 8, 8 * kBlocks);
    SolveStats sum;
    for (int64_t block = 0; block < kBlocks; ++block) {
      std::vector<float> alone;
      for (int i = 0; i < 8; ++i) {
        const auto begin = weights.begin() + (i * kBlocks + block) * 8;
        alone.insert(alone.end(), begin, begin + 8);
      }
      const auto solved = SolveWholeMatrix(solver(), problem, alone.data(), 8, 8);
      EXPECT_EQ(solved.KeptOfBlock(0, 0), row.KeptOfBlock(0, block));
      sum += solved.block_rows[0];
    }
    EXPECT_TRUE(SameStats(sum, row.block_rows[0]));
    EXPECT_EQ(sum.blocks, kBlocks);
  }
}

TEST_P(TilesTest, TheCertificateFindsWhatTheSolverReports) {
  for (const Method method : kAllMethods) {
    for (const WeightKind kind : kAllWeightKinds) {
      const Problem problem = SomeProblem(method);
      const auto weights = GenerateWeights(kind, 20, 30, 17);
      const auto solved = SolveWholeMatrix(solver(), problem, weights.data(), 20, 30);
      const MaskCertificate certificate = CertifyWholeMatrix(problem, weights.data(), solved);
      const SolveStats reported = solved.Total();
      const double rounding = 1e-12 * reported.score_sum;
      EXPECT_NEAR(certificate.stats.value, reported.value, rounding) << Name(kind);
      EXPECT_NEAR(certificate.stats.bound, reported.bound, rounding) << Name(kind);
      EXPECT_NEAR(certificate.stats.score_sum, reported.score_sum, rounding) << Name(kind);
      EXPECT_EQ(certificate.stats.kept, reported.kept) << Name(kind);
      EXPECT_EQ(certificate.stats.blocks, reported.blocks) << Name(kind);
      EXPECT_EQ(certificate.lines_over, 0) << Name(kind);
    }
  }
}

TEST_P(TilesTest, CallersAtTheSameTimeGetTheAnswersTheyGetAlone) {
  constexpr int kCallers = 4, kRepeats = 5;
  std::vector<std::vector<float>> weights;
  std::vector<SolvedMatrix> alone;
  // Two with random masks, so that each takes those of the other's problem from the cache.
  const Method methods[kCallers] = {Method::kOptimal, Method::kTsenor, Method::kMaxRandom,
                                    Method::kMaxRandom};
  const auto problem = [&methods](int caller) {
    return SomeProblem(methods[caller], {4 + caller, 8 + 3 * caller});
  };
  for (int caller = 0; caller < kCallers; ++caller) {
    weights.push_back(GenerateWeights(WeightKind::kGaussian, 40, 60, caller));
    alone.push_back(SolveWholeMatrix(solver(), problem(caller), weights[caller].data(), 40, 60));
  }
  std::vector<std::vector<SolvedMatrix>> answers(kCallers);
  std::vector<std::thread> threads;
  for (int caller = 0; caller < kCallers; ++caller) {
    threads.emplace_back([&, caller] {
      for (int repeat = 0; repeat < kRepeats; ++repeat) {
        answers[caller].push_back(
            SolveWholeMatrix(solver(), problem(caller), weights[caller].data(), 40, 60));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int caller = 0; caller < kCallers; ++caller) {
    for (const SolvedMatrix& answer : answers[caller]) ExpectSameAnswer(answer, alone[caller]);
  }
}

// Block rows of few blocks may be solved side by side where nobody asks for potentials: narrow
// tiles beside wide and incomplete ones, of every score kind, with gaps in weights and masks.
TEST(CpuTilesTest, NarrowTilesHaveTheSameAnswerBesideAnyOthers) {
  const auto solver = *MakeCpuSolver({.threads = 2});
  constexpr int64_t kGap = 3, kTiles = 24;
  for (const Problem& base :
       {SomeProblem(Method::kTsenor), SomeProblem(Method::kOptimal),
        SomeProblem(Method::kTsenor, {16, 32}), SomeProblem(Method::kOptimal, {8, 16}),
        SomeProblem(Method::kTsenor, {3, 12})}) {
    for (const ScoreKind kind : {ScoreKind::kMagnitude, ScoreKind::kMagnitudeTimesColumnNorm}) {
      Problem problem = base;
      problem.score_kind = kind;
      const int m = problem.pattern.m;
      std::vector<std::vector<float>> weights(kTiles), norms(kTiles);
      std::vector<std::vector<uint8_t>> masks(kTiles);
      std::vector<std::vector<SolveStats>> stats(kTiles);
      std::vector<SolvedMatrix> expected;
      std::vector<Tile> tiles;
      for (int k = 0; k < kTiles; ++k) {
        // Every fifth tile is wide, every seventh ends inside its blocks.
        const int64_t rows = m * (1 + k % 3) - (k % 7 == 6 ? 1 : 0);
        const int64_t columns = m * (k % 5 == 4 ? 19 : 1 + k % 8) - (k % 7 == 3 ? 2 : 0);
        const int64_t mask_stride = MaskRowBytes(columns) + 1;
        const auto dense = GenerateWeights(kAllWeightKinds[k % std::size(kAllWeightKinds)], rows,
                                           columns, static_cast<uint32_t>(k));
        for (int64_t column = 0; column < columns; ++column) {
          norms[k].push_back(1.0f + static_cast<float>(column * (k + 1) % 7));
        }
        const bool normed = kind == ScoreKind::kMagnitudeTimesColumnNorm;
        expected.push_back(SolveWholeMatrix(*solver, problem, dense.data(), rows, columns,
                                            normed ? norms[k].data() : nullptr));
        weights[k].assign(static_cast<size_t>(rows * (columns + kGap)), 1e30f);
        for (int64_t i = 0; i < rows; ++i) {
          std::copy_n(dense.begin() + i * columns, columns,
                      weights[k].begin() + i * (columns + kGap));
        }
        masks[k].assign(static_cast<size_t>(rows * mask_stride), 0xcd);
        stats[k].resize(static_cast<size_t>(BlocksAlong(rows, m)));
        tiles.push_back({.weights = weights[k].data(),
                         .row_stride = columns + kGap,
                         .rows = rows,
                         .columns = columns,
                         .column_norms = normed ? norms[k].data() : nullptr,
                         .mask = masks[k].data(),
                         .mask_row_stride = mask_stride,
                         .stats = stats[k].data()});
      }
      ASSERT_TRUE(solver->Solve({.problem = problem, .tiles = tiles}).ok());
      for (int k = 0; k < kTiles; ++k) {
        for (int64_t i = 0; i < tiles[k].rows; ++i) {
          const int64_t bytes = MaskRowBytes(tiles[k].columns);
          const uint8_t* const row = masks[k].data() + i * tiles[k].mask_row_stride;
          EXPECT_TRUE(std::equal(row, row + bytes, expected[k].mask.data() + i * bytes))
              << "tile " << k << ", row " << i;
          EXPECT_EQ(row[bytes], 0xcd);
        }
        EXPECT_TRUE(std::equal(stats[k].begin(), stats[k].end(), expected[k].block_rows.begin(),
                               expected[k].block_rows.end(), SameStats))
            << "tile " << k;
      }
    }
  }
}

TEST(CpuThreadsTest, AnyNumberOfThreadsGivesTheSameBits) {
  for (const Method method : kAllMethods) {
    for (const WeightKind kind : kAllWeightKinds) {
      const Problem problem = SomeProblem(method, {8, 16});
      const auto weights = GenerateWeights(kind, 70, 130, 23);
      const auto one =
          SolveWholeMatrix(*MakeCpuSolverWithThreads(1), problem, weights.data(), 70, 130);
      for (const int threads : {2, 3, 8}) {
        SCOPED_TRACE(testing::Message() << Name(kind) << ", " << threads << " threads");
        ExpectSameAnswer(
            SolveWholeMatrix(*MakeCpuSolverWithThreads(threads), problem, weights.data(), 70, 130),
            one);
      }
    }
  }
}

TEST(CpuThreadsTest, AbsurdNumbersOfThreadsAreRefused) {
  for (const int threads : {-1, 1025}) {
    const auto solver = MakeCpuSolver({.threads = threads});
    ASSERT_EQ(solver.status().code(), absl::StatusCode::kInvalidArgument) << threads;
    EXPECT_NE(solver.status().message().find(std::to_string(threads)), absl::string_view::npos);
  }
}

TEST(CpuThreadsTest, TheInfoTellsTheThreadsThatWereAskedFor) {
  EXPECT_EQ(MakeCpuSolverWithThreads(3)->info().threads, 3);
  EXPECT_GE(MakeCpuSolverWithThreads(0)->info().threads, 1);
  EXPECT_EQ(MakeCpuSolverWithThreads(1)->info().name, "cpu");
  EXPECT_EQ(MakeReferenceSolver()->info().name, "reference");
}

INSTANTIATE_TEST_SUITE_P(Backends, TilesTest, testing::Values(kReferenceBackend, kCpuBackend),
                         BackendName);

}  // namespace
}  // namespace tsenor
