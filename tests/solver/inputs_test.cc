// What goes into a block: edges, score kinds, data types.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "solver/scores.h"
#include "tests/solver/backends.h"
#include "tests/support/block_arithmetic.h"
#include "tests/support/generators.h"
#include "tests/support/lemon_oracle.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {
namespace {

class InputsTest : public BackendTest {};

TEST_P(InputsTest, IncompleteBlocksAreOptimalForTheZeroExtendedMatrix) {
  struct Shape {
    int64_t rows, columns;
  };
  for (const Pattern pattern : {Pattern{2, 4}, {1, 5}, {3, 8}, {8, 16}, {31, 32}}) {
    const int m = pattern.m;
    LemonOracle lemon(pattern);
    for (const auto [rows, columns] :
         {Shape{1, 1}, {1, 3 * m}, {2 * m, 1}, {m + 1, m - 1}, {2 * m - 1, m + m / 2}, {m, m}}) {
      SCOPED_TRACE(testing::Message() << pattern.n << ":" << m << ", " << rows << " x " << columns);
      const auto weights = GenerateWeights(WeightKind::kInt8, rows, columns, rows * 31 + columns);
      Problem problem;
      problem.pattern = pattern;
      const auto solved = SolveWholeMatrix(solver(), problem, weights.data(), rows, columns);
      int64_t kept_in_all = 0;
      for (int64_t i = 0; i < BlocksAlong(rows, m); ++i) {
        for (int64_t j = 0; j < BlocksAlong(columns, m); ++j) {
          const auto quanta =
              QuantiseBlockByBits(MagnitudesOfBlock(weights, rows, columns, m, i, j));
          const auto kept = solved.KeptOfBlock(i, j);
          ASSERT_LE(LineSumsOf(kept, m).greatest, pattern.n);
          ASSERT_EQ(KeptSum(quanta, kept), lemon.GreatestKeptSum(quanta));
          for (const uint8_t keep : kept) kept_in_all += keep;
        }
      }
      // Elements that do not exist are not counted; the blocks are full all the same.
      EXPECT_EQ(solved.Total().kept, kept_in_all);
      EXPECT_EQ(solved.Total().blocks_short, 0);
      EXPECT_EQ(solved.Total().blocks, BlocksAlong(rows, m) * BlocksAlong(columns, m));
      EXPECT_EQ(solved.Total().blocks_proven, solved.Total().blocks);
    }
  }
}

TEST_P(InputsTest, ColumnNormsMultiplyMagnitudesInFloat32) {
  const int64_t rows = 24, columns = 40;
  const auto weights = GenerateWeights(WeightKind::kGaussian, rows, columns, 1);
  std::vector<float> norms(columns), scores(rows * columns);
  for (int64_t j = 0; j < columns; ++j) norms[j] = 0.1f + static_cast<float>(j * j % 17);
  for (int64_t e = 0; e < rows * columns; ++e) {
    scores[e] = std::fabs(weights[e]) * norms[e % columns];
  }
  Problem problem;
  problem.pattern = {4, 8};
  const auto of_products = SolveWholeMatrix(solver(), problem, scores.data(), rows, columns);
  const auto of_magnitudes = SolveWholeMatrix(solver(), problem, weights.data(), rows, columns);
  problem.score_kind = ScoreKind::kMagnitudeTimesColumnNorm;
  const auto solved =
      SolveWholeMatrix(solver(), problem, weights.data(), rows, columns, norms.data());
  EXPECT_EQ(solved.mask, of_products.mask);
  EXPECT_EQ(solved.Total().value, of_products.Total().value);
  EXPECT_EQ(solved.Total().bound, of_products.Total().bound);
  EXPECT_NE(solved.mask, of_magnitudes.mask);
}

TEST_P(InputsTest, GivenScoresAreTakenAsTheyAre) {
  auto scores = GenerateWeights(WeightKind::kGaussian, 16, 16, 2);
  for (float& score : scores) score = std::fabs(score);
  Problem problem;
  problem.pattern = {4, 8};
  const auto of_magnitudes = SolveWholeMatrix(solver(), problem, scores.data(), 16, 16);
  problem.score_kind = ScoreKind::kGiven;
  const auto solved = SolveWholeMatrix(solver(), problem, scores.data(), 16, 16);
  EXPECT_EQ(solved.mask, of_magnitudes.mask);
  EXPECT_EQ(solved.potentials, of_magnitudes.potentials);
  // Negative zero is a zero.
  for (float& score : scores) score = -0.0f;
  const auto zeros = SolveWholeMatrix(solver(), problem, scores.data(), 16, 16);
  EXPECT_EQ(zeros.Total().value, 0);
  EXPECT_EQ(zeros.Total().blocks_proven, 4);
}

TEST_P(InputsTest, SixteenBitWeightsGiveTheAnswersOfTheirFloat32Values) {
  const int64_t rows = 24, columns = 33;
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    std::vector<uint16_t> elements(rows * columns);
    for (size_t e = 0; e < elements.size(); ++e) {
      // Any finite pattern of either type, signs and subnormals included.
      const uint32_t hash = static_cast<uint32_t>(e + 1) * 2654435761u;
      elements[e] = static_cast<uint16_t>((hash >> 16 & 0x83ff) | (hash % 7 << 10));
    }
    std::vector<float> floats(elements.size());
    LoadElements(dtype, elements.data(), 0, static_cast<int64_t>(elements.size()), floats.data());
    Problem problem;
    problem.pattern = {4, 8};
    const auto of_floats = SolveWholeMatrix(solver(), problem, floats.data(), rows, columns);
    problem.dtype = dtype;
    const auto solved = SolveWholeMatrix(solver(), problem, elements.data(), rows, columns);
    EXPECT_EQ(solved.mask, of_floats.mask);
    EXPECT_EQ(solved.potentials, of_floats.potentials);
    EXPECT_EQ(solved.Total().value, of_floats.Total().value);
  }
}

// sign * significand * 2^exponent of a small floating-point format, by the definition of the
// formats.
double DecodeByDefinition(uint16_t bits, int fraction_bits, int exponent_bits) {
  const int fraction = bits & ((1 << fraction_bits) - 1);
  const int biased = bits >> fraction_bits & ((1 << exponent_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = bits >> 15 ? -1 : 1;
  if (biased == (1 << exponent_bits) - 1) {
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  if (biased == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp(fraction + (1 << fraction_bits), biased - bias - fraction_bits);
}

void ExpectEveryPatternLoads(DType dtype, int fraction_bits, int exponent_bits) {
  std::vector<uint16_t> elements(65536);
  for (int k = 0; k < 65536; ++k) elements[k] = static_cast<uint16_t>(k);
  std::vector<float> loaded(65536);
  LoadElements(dtype, elements.data(), 0, 65536, loaded.data());
  for (int k = 0; k < 65536; ++k) {
    const double expected = DecodeByDefinition(elements[k], fraction_bits, exponent_bits);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(loaded[k])) << k;
    } else {
      ASSERT_EQ(loaded[k], expected) << k;
      ASSERT_EQ(std::signbit(loaded[k]), std::signbit(expected)) << k;
    }
  }
}

TEST(LoadElementsTest, EveryFloat16PatternIsExact) {
  ExpectEveryPatternLoads(DType::kFloat16, 10, 5);
}

TEST(LoadElementsTest, EveryBFloat16PatternIsExact) {
  ExpectEveryPatternLoads(DType::kBFloat16, 7, 8);
}

TEST(LoadElementsTest, Float32IsCopiedBitByBitFromTheGivenIndex) {
  const float elements[] = {1, -0.0f, std::numeric_limits<float>::denorm_min(),
                            std::numeric_limits<float>::infinity(), -2.5f};
  float loaded[3];
  LoadElements(DType::kFloat32, elements, 1, 3, loaded);
  for (int k = 0; k < 3; ++k) {
    EXPECT_EQ(std::bit_cast<uint32_t>(loaded[k]), std::bit_cast<uint32_t>(elements[k + 1]));
  }
}

TEST(LoadScoresTest, EntriesBeyondTheTileScoreZero) {
  const float weights[] = {-1, 2, -3, 4, -5, 6};
  const Tile tile = {.weights = weights, .row_stride = 3, .rows = 2, .columns = 3};
  Problem problem;
  problem.pattern = {2, 4};
  std::vector<float> scores(4, -1);
  LoadScores(problem, tile, 1, 1, 4, scores.data());
  EXPECT_EQ(scores, (std::vector<float>{5, 6, 0, 0}));
  LoadScores(problem, tile, 2, 0, 4, scores.data());
  EXPECT_EQ(scores, std::vector<float>(4, 0));
  scores.assign(4, -1);
  LoadScores(problem, tile, 0, 4, 4, scores.data());
  EXPECT_EQ(scores, std::vector<float>(4, 0));
}

INSTANTIATE_TEST_SUITE_P(Backends, InputsTest, testing::Values(kReferenceBackend, kCpuBackend),
                         BackendName);

}  // namespace
}  // namespace tsenor
