// What is refused before any work is done, and the words in which it is refused.
#include "solver/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "solver/scores.h"

namespace tsenor {
namespace {

using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kGreatest = std::numeric_limits<float>::max();

// Every message names field, value and bound.
void ExpectRefused(const absl::Status& status, const std::vector<std::string>& words) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status.ToString();
  for (const std::string& word : words) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(word));
  }
}

Problem Good() {
  Problem problem;
  problem.pattern = {2, 4};
  return problem;
}

TEST(ValidateProblemTest, EveryPatternInRangeIsAccepted) {
  for (int m = 1; m <= 128; ++m) {
    for (int n = 0; n <= m; ++n) {
      Problem problem = Good();
      problem.pattern = {n, m};
      ASSERT_TRUE(ValidateProblem(problem).ok()) << n << ":" << m;
    }
  }
}

TEST(ValidateProblemTest, PatternsOutOfRangeAreRefused) {
  struct Case {
    Pattern pattern;
    std::vector<std::string> words;
  };
  for (const Case& test : {Case{{0, 0}, {"pattern.m", "is 0", "[1, 128]"}},
                           Case{{1, -1}, {"pattern.m", "is -1", "[1, 128]"}},
                           Case{{1, 129}, {"pattern.m", "is 129", "[1, 128]"}},
                           Case{{5, 4}, {"pattern.n", "is 5", "= 4"}},
                           Case{{-1, 4}, {"pattern.n", "is -1", "[0", "= 4"}}}) {
    Problem problem = Good();
    problem.pattern = test.pattern;
    ExpectRefused(ValidateProblem(problem), test.words);
  }
}

TEST(ValidateProblemTest, UnknownEnumsAreRefused) {
  Problem problem = Good();
  problem.dtype = static_cast<DType>(77);
  ExpectRefused(ValidateProblem(problem), {"dtype", "77"});
  problem = Good();
  problem.score_kind = static_cast<ScoreKind>(-3);
  ExpectRefused(ValidateProblem(problem), {"score kind", "-3"});
  problem = Good();
  problem.options.method = static_cast<Method>(9);
  ExpectRefused(ValidateProblem(problem), {"method", "9"});
}

TEST(ValidateProblemTest, GapTolerancesOutOfRangeAreRefused) {
  for (const double tolerance : {0.0, -1e-9, 1.5, double{kNan}, double{kInfinity}}) {
    Problem problem = Good();
    problem.options.optimal.gap_tolerance = tolerance;
    ExpectRefused(ValidateProblem(problem), {"gap_tolerance", "(0, 1]"});
  }
  for (const double tolerance : {1e-300, 1e-9, 1.0}) {
    Problem problem = Good();
    problem.options.optimal.gap_tolerance = tolerance;
    EXPECT_TRUE(ValidateProblem(problem).ok()) << tolerance;
  }
}

TEST(ValidateProblemTest, TsenorOptionsOutOfRangeAreRefused) {
  struct Case {
    TsenorOptions options;
    std::vector<std::string> words;
  };
  for (const Case& test : {Case{{.tau = 0}, {"tau", "is 0", "(0, 500]"}},
                           Case{{.tau = -1}, {"tau", "is -1", "(0, 500]"}},
                           Case{{.tau = 500.5}, {"tau", "is 500.5", "(0, 500]"}},
                           Case{{.tau = kNan}, {"tau", "nan", "(0, 500]"}},
                           Case{{.iterations = 0}, {"iterations", "is 0", "[1, 10000]"}},
                           Case{{.iterations = 10001}, {"iterations", "is 10001", "[1, 10000]"}},
                           Case{{.swaps = -1}, {"swaps", "is -1", "[0, 1000]"}},
                           Case{{.swaps = 1001}, {"swaps", "is 1001", "[0, 1000]"}}}) {
    Problem problem = Good();
    problem.options.method = Method::kTsenor;
    problem.options.tsenor = test.options;
    ExpectRefused(ValidateProblem(problem), test.words);
  }
  Problem problem = Good();
  problem.options.tsenor = {.tau = 500, .iterations = 10000, .swaps = 1000};
  EXPECT_TRUE(ValidateProblem(problem).ok());
}

TEST(ValidateProblemTest, SamplesOutOfRangeAreRefused) {
  for (const int samples : {-1, 0, 100001}) {
    Problem problem = Good();
    problem.options.method = Method::kMaxRandom;
    problem.options.max_random.samples = samples;
    ExpectRefused(ValidateProblem(problem),
                  {"max_random.samples", "is " + std::to_string(samples), "[1, 100000]"});
  }
  Problem problem = Good();
  problem.options.max_random = {.samples = 100000, .seed = ~uint64_t{0}};
  EXPECT_TRUE(ValidateProblem(problem).ok());
}

TEST(ValidateProblemTest, EveryMethodIsGood) {
  for (const Method method : kAllMethods) {
    Problem problem = Good();
    problem.options.method = method;
    EXPECT_TRUE(ValidateProblem(problem).ok()) << static_cast<int>(method);
  }
}

TEST(ValidateShapeTest, ShapesThatMDoesNotDivideNeedPadding) {
  EXPECT_TRUE(ValidateShape({2, 4}, 8, 12, Edge::kRefuse).ok());
  ExpectRefused(ValidateShape({2, 4}, 9, 12, Edge::kRefuse), {"rows", "is 9", "= 4"});
  ExpectRefused(ValidateShape({2, 4}, 8, 13, Edge::kRefuse), {"columns", "is 13", "= 4"});
  EXPECT_TRUE(ValidateShape({2, 4}, 9, 13, Edge::kPad).ok());
  EXPECT_TRUE(ValidateShape({2, 4}, 1, 1, Edge::kPad).ok());
}

TEST(ValidateShapeTest, EmptyNegativeAndAbsurdShapesAreRefused) {
  for (const Edge edge : {Edge::kRefuse, Edge::kPad}) {
    ExpectRefused(ValidateShape({2, 4}, 0, 4, edge), {"rows", "is 0", "[1, 1073741824]"});
    ExpectRefused(ValidateShape({2, 4}, 4, 0, edge), {"columns", "is 0", "[1, 1073741824]"});
    ExpectRefused(ValidateShape({2, 4}, -4, 4, edge), {"rows", "is -4"});
    ExpectRefused(ValidateShape({2, 4}, 4, (int64_t{1} << 30) + 4, edge),
                  {"columns", "is 1073741828", "1073741824"});
    EXPECT_TRUE(ValidateShape({2, 4}, int64_t{1} << 30, 4, edge).ok());
  }
}

TEST(ValidateColumnNormsTest, TheFirstBadNormIsNamed) {
  std::vector<float> norms(100, 0.5f);
  norms[7] = 0;
  norms[8] = -0.0f;
  norms[9] = kGreatest;
  EXPECT_TRUE(ValidateColumnNorms(norms.data(), 100).ok());
  for (const float bad : {kNan, -kNan, kInfinity, -kInfinity, -1.0f}) {
    for (const int index : {0, 50, 99}) {
      auto some_bad = norms;
      some_bad[index] = bad;
      some_bad[99] = -2;
      ExpectRefused(ValidateColumnNorms(some_bad.data(), 100),
                    {"column_norms[" + std::to_string(index) + "]", ">= 0"});
    }
  }
}

class FindInvalidWeightTest : public testing::Test {
 protected:
  static constexpr int64_t kRows = 5, kColumns = 1100, kStride = 1103;  // spans several runs

  std::optional<InvalidWeight> Find(ScoreKind kind = ScoreKind::kMagnitude) {
    Problem problem = Good();
    problem.score_kind = kind;
    const bool normed = kind == ScoreKind::kMagnitudeTimesColumnNorm;
    const Tile tile = {.weights = weights_.data(),
                       .row_stride = kStride,
                       .rows = kRows,
                       .columns = kColumns,
                       .column_norms = normed ? norms_.data() : nullptr};
    return FindInvalidWeight(problem, tile);
  }

  float& At(int64_t row, int64_t column) { return weights_[row * kStride + column]; }

  std::vector<float> weights_ = std::vector<float>(kRows * kStride, 0.25f);
  std::vector<float> norms_ = std::vector<float>(kColumns, 2.0f);
};

TEST_F(FindInvalidWeightTest, FindsNothingInGoodWeights) {
  At(1, 1) = -0.0f;
  At(2, 2) = kGreatest;
  At(3, 3) = std::numeric_limits<float>::denorm_min();
  for (int64_t row = 0; row < kRows; ++row) At(row, kColumns) = kNan;  // between the rows
  EXPECT_FALSE(Find(ScoreKind::kMagnitude));
  EXPECT_FALSE(Find(ScoreKind::kGiven));
  At(0, 0) = -kGreatest;
  EXPECT_FALSE(Find(ScoreKind::kMagnitude));
}

TEST_F(FindInvalidWeightTest, NamesPlaceValueAndReasonWhereverItIs) {
  struct Place {
    int64_t row, column;
  };
  struct Bad {
    float weight;
    const char* reason;
  };
  for (const auto [row, column] : {Place{0, 0},
                                   {0, kColumns - 1},
                                   {2, 511},
                                   {2, 512},
                                   {3, 700},
                                   {kRows - 1, 0},
                                   {kRows - 1, kColumns - 1}}) {
    for (const auto& [weight, reason] : {Bad{kNan, "NaN"}, Bad{-kNan, "NaN"},
                                         Bad{kInfinity, "infinite"}, Bad{-kInfinity, "infinite"}}) {
      for (const ScoreKind kind :
           {ScoreKind::kMagnitude, ScoreKind::kMagnitudeTimesColumnNorm, ScoreKind::kGiven}) {
        At(row, column) = weight;
        const auto found = Find(kind);
        ASSERT_TRUE(found) << row << ", " << column << ": " << weight;
        EXPECT_EQ(found->row, row);
        EXPECT_EQ(found->column, column);
        EXPECT_THAT(found->reason, HasSubstr(reason));
        if (weight == weight) {
          EXPECT_EQ(found->value, weight);
        }
        At(row, column) = 0.25f;
      }
    }
  }
}

TEST_F(FindInvalidWeightTest, TheFirstOneInRowMajorOrderWins) {
  At(4, 0) = kNan;
  At(2, 1050) = kInfinity;
  At(2, 1060) = kNan;
  const auto found = Find();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->row, 2);
  EXPECT_EQ(found->column, 1050);
}

TEST_F(FindInvalidWeightTest, NegativeScoresAreBadOnlyWhenGiven) {
  At(1, 9) = -1e-40f;
  EXPECT_FALSE(Find(ScoreKind::kMagnitude));
  const auto found = Find(ScoreKind::kGiven);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->row, 1);
  EXPECT_EQ(found->column, 9);
  EXPECT_THAT(found->reason, HasSubstr("negative"));
}

TEST_F(FindInvalidWeightTest, ProductsThatOverflowAreFound) {
  At(3, 1000) = -kGreatest;
  norms_[1000] = 1;
  EXPECT_FALSE(Find(ScoreKind::kMagnitudeTimesColumnNorm));
  norms_[1000] = 1.5f;
  const auto found = Find(ScoreKind::kMagnitudeTimesColumnNorm);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->row, 3);
  EXPECT_EQ(found->column, 1000);
  EXPECT_EQ(found->value, -double{kGreatest});
  EXPECT_THAT(found->reason, HasSubstr("overflow"));
}

// Elements of one byte or two, by their bits.
class FindInvalidNarrowWeightTest : public testing::Test {
 protected:
  static constexpr int64_t kRows = 3, kColumns = 37, kStride = 41;

  void Set(int64_t row, int64_t column, uint32_t bits) {
    std::memcpy(&bytes_[(row * kStride + column) * SizeOf(problem_.dtype)], &bits,
                SizeOf(problem_.dtype));
  }

  std::optional<InvalidWeight> Find(ScoreKind kind, const float* norms = nullptr) {
    problem_.score_kind = kind;
    return FindInvalidWeight(problem_, {.weights = bytes_.data(),
                                        .row_stride = kStride,
                                        .rows = kRows,
                                        .columns = kColumns,
                                        .column_norms = norms});
  }

  Problem problem_ = Good();
  std::vector<uint8_t> bytes_ = std::vector<uint8_t>(kRows * kStride * sizeof(float));  // zeros
};

TEST_F(FindInvalidNarrowWeightTest, EveryBitPatternIsJudgedByItsValue) {
  for (const DType dtype :
       {DType::kFloat16, DType::kBFloat16, DType::kFloat8E4M3, DType::kFloat8E5M2}) {
    SCOPED_TRACE(NameOf(dtype));
    problem_.dtype = dtype;
    for (uint32_t bits = 0; bits < 1u << (8 * SizeOf(dtype)); ++bits) {
      float value = 0;
      LoadElements(dtype, &bits, 0, 1, &value);
      const int64_t row = bits % kRows, column = bits % kColumns;
      Set(row, column, bits);
      for (const ScoreKind kind : {ScoreKind::kMagnitude, ScoreKind::kGiven}) {
        const char* reason = std::isnan(value)                        ? "NaN"
                             : std::isinf(value)                      ? "infinite"
                             : value < 0 && kind == ScoreKind::kGiven ? "negative"
                                                                      : nullptr;
        const auto found = Find(kind);
        ASSERT_EQ(found.has_value(), reason != nullptr) << bits;
        if (!found) continue;
        ASSERT_EQ(found->row, row);
        ASSERT_EQ(found->column, column);
        ASSERT_THAT(found->reason, HasSubstr(reason));
      }
      Set(row, column, 0);
    }
  }
}

TEST_F(FindInvalidNarrowWeightTest, ProductsThatOverflowAreFoundUnderTheirOwnNorm) {
  struct Case {
    DType dtype;
    uint32_t greatest;
    double value;
  };
  for (const auto& [dtype, greatest, value] :
       {Case{DType::kFloat16, 0x7bff, 65504}, Case{DType::kFloat8E4M3, 0x7e, 448},
        Case{DType::kFloat8E5M2, 0xfb, -57344}}) {
    SCOPED_TRACE(NameOf(dtype));
    problem_.dtype = dtype;
    std::vector<float> norms(kColumns, 1);
    norms[30] = kGreatest / 400;  // overflows with each of the three
    Set(1, 20, greatest);
    EXPECT_FALSE(Find(ScoreKind::kMagnitudeTimesColumnNorm, norms.data()));
    Set(2, 30, greatest);
    const auto found = Find(ScoreKind::kMagnitudeTimesColumnNorm, norms.data());
    ASSERT_TRUE(found);
    EXPECT_EQ(found->row, 2);
    EXPECT_EQ(found->column, 30);
    EXPECT_EQ(found->value, value);
    EXPECT_THAT(found->reason, HasSubstr("overflow"));
    Set(1, 20, 0);
    Set(2, 30, 0);
  }
}

}  // namespace
}  // namespace tsenor
