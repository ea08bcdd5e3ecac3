// SolveMatrix(): one call from a matrix to its mask, with every check on the way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "solver/mask_bits.h"
#include "tests/solver/backends.h"
#include "tests/support/generators.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class SolveMatrixTest : public testing::Test {
 protected:
  void ExpectRefused(const absl::Status& status, const testing::Matcher<std::string>& message) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), message);
  }

  const std::unique_ptr<Solver> solver_ = MakeReferenceSolver();
  const std::vector<float> weights_ = GenerateWeights(WeightKind::kGaussian, 8, 12, 1);
  Problem problem_ = {.pattern = {2, 4},
                      .dtype = DType::kFloat32,
                      .score_kind = ScoreKind::kMagnitude,
                      .options = {}};
};

TEST_F(SolveMatrixTest, GivesTheMaskAndTheSumOfAllBlocks) {
  const auto result = SolveMatrix(*solver_, problem_, weights_.data(), 8, 12);
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  const auto expected = SolveWholeMatrix(*solver_, problem_, weights_.data(), 8, 12);
  EXPECT_EQ(result->mask, expected.mask);
  EXPECT_EQ(result->stats.blocks, 6);
  EXPECT_EQ(result->stats.kept, 48);
  EXPECT_EQ(result->stats.value, expected.Total().value);
}

TEST_F(SolveMatrixTest, RefusesWhatTheProblemTheShapeOrTheWeightsForbid) {
  problem_.pattern.n = 5;
  ExpectRefused(SolveMatrix(*solver_, problem_, weights_.data(), 8, 12).status(),
                HasSubstr("pattern.n is 5"));
  problem_.pattern = {2, 5};
  ExpectRefused(SolveMatrix(*solver_, problem_, weights_.data(), 8, 12).status(),
                AllOf(HasSubstr("is 8"), HasSubstr("= 5")));
  EXPECT_TRUE(SolveMatrix(*solver_, problem_, weights_.data(), 8, 12, Edge::kPad).ok());
  problem_.pattern = {2, 4};
  auto bad = weights_;
  bad[3 * 12 + 7] = std::numeric_limits<float>::quiet_NaN();
  ExpectRefused(SolveMatrix(*solver_, problem_, bad.data(), 8, 12).status(),
                AllOf(HasSubstr("row 3"), HasSubstr("column 7"), HasSubstr("NaN")));
}

TEST_F(SolveMatrixTest, NormsComeWithTheirScoreKindAndNoOther) {
  std::vector<float> norms(12, 1.0f);
  ExpectRefused(
      SolveMatrix(*solver_, problem_, weights_.data(), 8, 12, Edge::kRefuse, norms.data()).status(),
      HasSubstr("column_norms is set"));
  problem_.score_kind = ScoreKind::kMagnitudeTimesColumnNorm;
  ExpectRefused(SolveMatrix(*solver_, problem_, weights_.data(), 8, 12).status(),
                HasSubstr("column_norms is missing"));
  norms[11] = -1;
  ExpectRefused(
      SolveMatrix(*solver_, problem_, weights_.data(), 8, 12, Edge::kRefuse, norms.data()).status(),
      HasSubstr("column_norms[11] is -1"));
  norms[11] = 2;
  EXPECT_TRUE(
      SolveMatrix(*solver_, problem_, weights_.data(), 8, 12, Edge::kRefuse, norms.data()).ok());
}

TEST(MaskBitsTest, BitsAreSetFromAnyPositionAndOthersLeft) {
  for (int first = 0; first < 20; ++first) {
    for (int count = 0; count <= 40; ++count) {
      std::vector<uint8_t> row(9, 0);
      row[8] = 0x80;
      std::vector<uint8_t> kept;
      for (int k = 0; k < count; ++k) kept.push_back((k * k + first) % 3 == 0);
      SetMaskBits(row.data(), first, kept.data(), count);
      for (int bit = 0; bit < 71; ++bit) {
        const bool wanted = bit >= first && bit < first + count && kept[bit - first] != 0;
        ASSERT_EQ(row[bit / 8] >> (bit % 8) & 1, wanted) << first << ", " << count << ", " << bit;
      }
      ASSERT_EQ(row[8], 0x80);
    }
  }
}

TEST(MaskBitsTest, PackedEntriesSetTheSameBits) {
  for (int first = 0; first < 20; ++first) {
    for (int count = 1; count <= 128; ++count) {
      std::vector<uint8_t> kept;
      uint64_t packed[2] = {};
      for (int k = 0; k < count; ++k) {
        kept.push_back((k * k + first) % 3 == 0);
        packed[k / 64] |= uint64_t{kept[k]} << (k % 64);
      }
      std::vector<uint8_t> expected((first + count + 7) / 8, 0);
      std::vector<uint8_t> row = expected;
      SetMaskBits(expected.data(), first, kept.data(), count);
      SetMaskBits(row.data(), first, packed, count);
      ASSERT_EQ(row, expected) << first << ", " << count;
    }
  }
}

}  // namespace
}  // namespace tsenor
