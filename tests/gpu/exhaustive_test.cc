// M = 4: the exhaustive search finds the optimum where float32 arithmetic alone would not, in every
// shape, and adds up the same bits however a batch is put together.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "solver/scores.h"
#include "tests/gpu/cuda_test.h"
#include "tests/gpu/on_device.h"
#include "tests/support/generators.h"

namespace tsenor {
namespace {

// A score, from random bits.
using Draw = std::function<float(std::mt19937_64&)>;

float Uniform(std::mt19937_64& random) {
  return std::ldexp(static_cast<float>(random() >> 40), -24);
}

class ExhaustiveTest : public CudaTest {
 protected:
  // Solved without potentials, which the general kernel would find.
  SolvedMatrix Solve(const Problem& problem, const void* weights, int64_t rows, int64_t columns,
                     const float* norms = nullptr) {
    SolvedMatrix solved = Unsolved(problem, rows, columns);
    const Tile tile = TileOf(solved, weights, norms);
    const absl::Status status = cuda().Solve({.problem = problem, .tiles = {&tile, 1}});
    EXPECT_TRUE(status.ok()) << status.ToString();
    return solved;
  }

  static SolvedMatrix Unsolved(const Problem& problem, int64_t rows, int64_t columns) {
    SolvedMatrix solved;
    solved.pattern = problem.pattern;
    solved.rows = rows;
    solved.columns = columns;
    solved.mask.assign(rows * MaskRowBytes(columns), 0xa5);
    solved.block_rows.resize(BlocksAlong(rows, 4));
    return solved;
  }

  static Tile TileOf(SolvedMatrix& solved, const void* weights, const float* norms = nullptr) {
    return {.weights = weights,
            .row_stride = solved.columns,
            .rows = solved.rows,
            .columns = solved.columns,
            .column_norms = norms,
            .mask = solved.mask.data(),
            .mask_row_stride = MaskRowBytes(solved.columns),
            .stats = solved.block_rows.data()};
  }

  // Every block is worth what the cpu backend's is, to the last bit of long double: blocks whose
  // scores spread by less than 2^40 are summed exactly there.
  void JudgeBlocks(const Problem& problem, const void* weights, int64_t rows, int64_t columns,
                   const float* norms = nullptr) {
    const auto found = Solve(problem, weights, rows, columns, norms);
    const auto wanted = SolveWholeMatrix(cpu(), problem, weights, rows, columns, norms);
    const Tile tile = {.weights = weights,
                       .row_stride = columns,
                       .rows = rows,
                       .columns = columns,
                       .column_norms = norms};
    std::vector<float> scores(columns);
    std::vector<long double> more(BlocksAlong(columns, 4));
    for (int64_t row = 0; row < rows; ++row) {
      LoadScores(problem, tile, row, 0, columns, scores.data());
      for (int64_t j = 0; j < columns; ++j) {
        more[j / 4] += static_cast<long double>(scores[j]) *
                       (int{found.Keeps(row, j)} - int{wanted.Keeps(row, j)});
      }
      if (row % 4 < 3 && row + 1 < rows) continue;
      for (size_t block = 0; block < more.size(); ++block) {
        ASSERT_EQ(more[block], 0) << "block row " << row / 4 << ", block " << block;
        more[block] = 0;
      }
    }
    const SolveStats stats = found.Total(), expected = wanted.Total();
    EXPECT_NEAR(stats.value, expected.value, 1e-13 * expected.value);
    EXPECT_NEAR(stats.score_sum, expected.score_sum, 1e-13 * expected.score_sum);
    EXPECT_EQ(stats.bound, stats.value);
    EXPECT_EQ(stats.kept, expected.kept);
    EXPECT_EQ(stats.blocks_proven, expected.blocks);
  }

  void JudgeScores(const Draw& draw) {
    constexpr int64_t kRows = 40, kColumns = 1000;
    std::mt19937_64 random(1);
    std::vector<float> weights(kRows * kColumns);
    for (float& weight : weights) weight = draw(random) * (random() % 2 == 0 ? 1.0f : -1.0f);
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      std::vector<uint16_t> narrow(weights.size());
      for (size_t k = 0; k < weights.size(); ++k) {
        narrow[k] = static_cast<uint16_t>(std::bit_cast<uint32_t>(weights[k]) >> 16);
      }
      const void* const elements =
          dtype == DType::kFloat32 ? static_cast<const void*>(weights.data()) : narrow.data();
      for (int n = 1; n < 4; ++n) {
        SCOPED_TRACE(testing::Message() << n << ":4 " << NameOf(dtype));
        Problem problem;
        problem.pattern = {n, 4};
        problem.dtype = dtype;
        JudgeBlocks(problem, elements, kRows, kColumns);
      }
    }
  }
};

TEST_F(ExhaustiveTest, MasksThatDifferByLessThanFloat32Resolves) {
  JudgeScores([](auto& random) { return 1 + static_cast<float>(random() % 2) * 0x1p-23f; });
  JudgeScores([](auto& random) {
    const float score = 1 + static_cast<float>(random() % 8) * 0x1p-22f;
    return random() % 4 == 0 ? score / 2 : score;
  });
  JudgeScores([](auto& random) {
    return (1 + static_cast<float>(random() % 3) * 0x1p-7f) * (random() % 8 == 0 ? 0x1p-18f : 1);
  });
}

TEST_F(ExhaustiveTest, ScoresThatSpread) {
  JudgeScores([](auto& random) { return std::exp(8 * (Uniform(random) + Uniform(random) - 1)); });
  JudgeScores([](auto& random) { return std::ldexp(1 + Uniform(random), random() % 24); });
  JudgeScores([](auto& random) { return std::ldexp(1.0f, random() % 36); });
}

TEST_F(ExhaustiveTest, TiesAndZeros) {
  JudgeScores([](auto& random) { return random() % 10 < 7 ? 0 : Uniform(random); });
  JudgeScores([](auto& random) { return static_cast<float>(random() % 4); });
  JudgeScores([](auto&) { return 0.1f; });
  JudgeScores([](auto&) { return 0.0f; });
}

TEST_F(ExhaustiveTest, TheEndsOfFloat32) {
  JudgeScores([](auto& random) { return 0x1p-149f * static_cast<float>(random() % 1000); });
  JudgeScores([](auto& random) { return 0x1p-133f * static_cast<float>(random() % 300); });
  JudgeScores([](auto& random) { return 0x1p127f * (1 + Uniform(random) / 2); });
  JudgeScores([](auto& random) { return random() % 8 == 0 ? 0 : 0x1.fep127f; });
}

TEST_F(ExhaustiveTest, EveryTypeWithNormsOrGivenScores) {
  constexpr int64_t kRows = 36, kColumns = 344;
  std::mt19937_64 random(1);
  std::vector<float> norms(kColumns);
  for (float& norm : norms) norm = random() % 20 == 0 ? 0 : 0.5f + Uniform(random);
  for (const DType dtype : kAllDTypes) {
    // Positive, below 2: any element is a score, and a sum of 16 is exact in long double.
    std::vector<uint8_t> elements(kRows * kColumns * SizeOf(dtype));
    for (size_t k = 0; k < elements.size(); ++k) {
      const bool top = (k + 1) % SizeOf(dtype) == 0;
      elements[k] = static_cast<uint8_t>(top ? (0x38 | random() % 8) : random());
    }
    for (const ScoreKind kind : {ScoreKind::kMagnitudeTimesColumnNorm, ScoreKind::kGiven}) {
      for (int n = 1; n < 4; ++n) {
        SCOPED_TRACE(testing::Message() << n << ":4 " << NameOf(dtype));
        Problem problem;
        problem.pattern = {n, 4};
        problem.dtype = dtype;
        problem.score_kind = kind;
        const bool normed = kind == ScoreKind::kMagnitudeTimesColumnNorm;
        JudgeBlocks(problem, elements.data(), kRows, kColumns, normed ? norms.data() : nullptr);
      }
    }
  }
}

struct Shape {
  int64_t rows, columns;
};

constexpr Shape kShapes[] = {{4, 8192},    {4, 8193},    {8, 8200}, {5, 16384},
                             {4, 100'003}, {3, 270'336}, {4000, 1}, {4001, 4},
                             {999, 9},     {64, 260},    {37, 2047}};

TEST_F(ExhaustiveTest, FewWideRowsAndManyNarrowOnes) {
  for (const auto [rows, columns] : kShapes) {
    SCOPED_TRACE(testing::Message() << rows << " x " << columns);
    const auto weights = GenerateWeights(WeightKind::kGaussian, rows, columns, 1);
    Problem problem;
    problem.pattern = {2, 4};
    JudgeBlocks(problem, weights.data(), rows, columns);
  }
}

// A CTA's threads divide into teams that suit the widest tile.
TEST_F(ExhaustiveTest, WideAndNarrowTilesInOneBatchGiveTheBitsOfEachAlone) {
  Problem problem;
  problem.pattern = {2, 4};
  std::vector<std::vector<float>> weights;
  std::vector<SolvedMatrix> alone, together;
  for (int k = 0; k < 2 * static_cast<int>(std::size(kShapes)); ++k) {
    const auto [rows, columns] = kShapes[k / 2];
    weights.push_back(GenerateWeights(WeightKind::kStudentT, rows, columns, k));
    alone.push_back(Solve(problem, weights.back().data(), rows, columns));
    together.push_back(Unsolved(problem, rows, columns));
  }
  std::vector<Tile> tiles;
  for (size_t k = 0; k < weights.size(); ++k) {
    tiles.push_back(TileOf(together[k], weights[k].data()));
  }
  ASSERT_TRUE(cuda().Solve({.problem = problem, .tiles = tiles}).ok());
  for (size_t k = 0; k < weights.size(); ++k) ExpectSameAnswer(together[k], alone[k]);
}

// In device memory, from an address that allows no wide accesses.
TEST_F(ExhaustiveTest, AnyAlignmentGivesTheSameBits) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kFloat8E5M2}) {
    Problem problem;
    problem.pattern = {2, 4};
    problem.dtype = dtype;
    constexpr int64_t kRows = 60, kColumns = 4096;
    const size_t size = SizeOf(dtype);
    std::vector<uint8_t> elements(kRows * kColumns * size);
    std::mt19937_64 random(1);
    for (uint8_t& byte : elements) byte = static_cast<uint8_t>(random() & 0xbb);  // finite
    const auto expected = Solve(problem, elements.data(), kRows, kColumns);
    for (int64_t shift = 0; shift < 3; ++shift) {
      std::vector<uint8_t> shifted(shift * size);
      shifted.insert(shifted.end(), elements.begin(), elements.end());
      const OnDevice on_device(shifted);
      const OnDevice mask(std::vector<uint8_t>(expected.mask.size(), 0xa5));
      const OnDevice stats(std::vector<SolveStats>(expected.block_rows.size()));
      const Tile tile = {.weights = on_device.data() + shift * size,
                         .row_stride = kColumns,
                         .rows = kRows,
                         .columns = kColumns,
                         .mask = mask.data(),
                         .mask_row_stride = MaskRowBytes(kColumns),
                         .stats = stats.data()};
      ASSERT_TRUE(
          cuda()
              .Solve({.problem = problem, .tiles = {&tile, 1}, .memory = MemorySpace::kDevice})
              .ok());
      SolvedMatrix solved = expected;
      solved.mask = mask.Get();
      solved.block_rows = stats.Get();
      ExpectSameAnswer(solved, expected);
    }
  }
}

}  // namespace
}  // namespace tsenor
