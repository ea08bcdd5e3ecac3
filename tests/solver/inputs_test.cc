// What goes into a block: edges, score kinds, data types.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
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

TEST_P(InputsTest, NarrowWeightsGiveTheAnswersOfTheirFloat32Values) {
  const int64_t rows = 24, columns = 33;
  struct Narrow {
    DType dtype;
    uint32_t sign_and_fraction, exponent;  // their bits; the upper half of all exponents stays free
  };
  for (const auto& [dtype, sign_and_fraction, exponent] :
       {Narrow{DType::kFloat16, 0x83ff, 0x3c00}, Narrow{DType::kBFloat16, 0x807f, 0x3f80},
        Narrow{DType::kFloat8E4M3, 0x87, 0x38}, Narrow{DType::kFloat8E5M2, 0x83, 0x3c}}) {
    SCOPED_TRACE(NameOf(dtype));
    std::vector<uint8_t> bytes(rows * columns * SizeOf(dtype));
    for (int64_t e = 0; e < rows * columns; ++e) {
      const uint32_t hash = static_cast<uint32_t>(e + 1) * 2654435761u;
      // Every seventh is subnormal or zero.
      const uint32_t bits = hash >> 16 & (sign_and_fraction | (e % 7 != 0 ? exponent : 0));
      std::memcpy(&bytes[e * SizeOf(dtype)], &bits, SizeOf(dtype));
    }
    std::vector<float> floats(rows * columns);
    LoadElements(dtype, bytes.data(), 0, rows * columns, floats.data());
    Problem problem;
    problem.pattern = {4, 8};
    const auto of_floats = SolveWholeMatrix(solver(), problem, floats.data(), rows, columns);
    problem.dtype = dtype;
    const auto solved = SolveWholeMatrix(solver(), problem, bytes.data(), rows, columns);
    EXPECT_EQ(solved.mask, of_floats.mask);
    EXPECT_EQ(solved.potentials, of_floats.potentials);
    EXPECT_EQ(solved.Total().value, of_floats.Total().value);
    EXPECT_EQ(solved.Total().bound, of_floats.Total().bound);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, InputsTest, testing::Values(kReferenceBackend, kCpuBackend),
                         BackendName);

}  // namespace
}  // namespace tsenor
