// Elements and scores: the definition (solver/scores.h) against the formats' own, and the vector
// code of the CPU backend (solver/cpu/load-inl.h) against both, on every instruction set of this
// machine.

#define HWY_DISABLED_TARGETS HWY_SSSE3
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/solver/load_test.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "solver/cpu/load-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

// An entry for HWY_EXPORT, which wants a function of this file.
void LoadRowsHere(const Problem& problem, const Tile& tile, int64_t row, int64_t column,
                  int64_t rows, int64_t columns, float* out, int64_t out_stride) {
  LoadRows(problem, tile, row, column, rows, columns, out, out_stride);
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "solver/scores.h"
#include "tests/solver/forced_target.h"

namespace tsenor {
namespace cpu {

HWY_EXPORT(LoadRowsHere);

void LoadRows(const Problem& problem, const Tile& tile, int64_t row, int64_t column, int64_t rows,
              int64_t columns, float* out, int64_t out_stride) {
  HWY_DYNAMIC_DISPATCH(LoadRowsHere)(problem, tile, row, column, rows, columns, out, out_stride);
}

}  // namespace cpu

namespace {

// What the standards say of a format narrower than float32.
struct Definition {
  DType dtype;
  int exponent_bits;
  int fraction_bits;
  bool has_infinity;  // if not, the greatest exponent is one like the others, but for one NaN
};

constexpr Definition kDefinitions[] = {{DType::kFloat16, 5, 10, true},
                                       {DType::kBFloat16, 8, 7, true},
                                       {DType::kFloat8E4M3, 4, 3, false},
                                       {DType::kFloat8E5M2, 5, 2, true}};

// sign * significand * 2^exponent.
double Decode(const Definition& format, uint32_t bits) {
  const int fractions = 1 << format.fraction_bits;
  const int exponents = 1 << format.exponent_bits;
  const int fraction = static_cast<int>(bits) % fractions;
  const int exponent = static_cast<int>(bits) / fractions % exponents;
  const double sign = static_cast<int>(bits) / fractions / exponents == 1 ? -1 : 1;
  const int bias = exponents / 2 - 1;
  if (exponent == exponents - 1) {
    const bool is_nan = format.has_infinity ? fraction != 0 : fraction == fractions - 1;
    if (is_nan) return std::numeric_limits<double>::quiet_NaN();
    if (format.has_infinity) return sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - format.fraction_bits);
  return sign * std::ldexp(fractions + fraction, exponent - bias - format.fraction_bits);
}

// All bit patterns of the format, in order.
std::vector<uint8_t> EveryPattern(const Definition& format) {
  const size_t size = SizeOf(format.dtype);
  std::vector<uint8_t> bytes;
  for (uint32_t bits = 0; bits < 1u << (8 * size); ++bits) {
    for (size_t k = 0; k < size; ++k) bytes.push_back(static_cast<uint8_t>(bits >> (8 * k)));
  }
  return bytes;
}

void ExpectSameValue(float value, double expected, size_t bits) {
  if (std::isnan(expected)) {
    ASSERT_TRUE(std::isnan(value)) << bits;
  } else {
    ASSERT_EQ(value, expected) << bits;
    ASSERT_EQ(std::signbit(value), std::signbit(expected)) << bits;
  }
}

TEST(LoadElementsTest, EveryPatternOfEveryNarrowTypeIsExact) {
  for (const Definition& format : kDefinitions) {
    SCOPED_TRACE(NameOf(format.dtype));
    const std::vector<uint8_t> elements = EveryPattern(format);
    std::vector<float> loaded(elements.size() / SizeOf(format.dtype));
    LoadElements(format.dtype, elements.data(), 0, static_cast<int64_t>(loaded.size()),
                 loaded.data());
    for (size_t k = 0; k < loaded.size(); ++k) {
      ExpectSameValue(loaded[k], Decode(format, static_cast<uint32_t>(k)), k);
    }
  }
}

TEST(LoadElementsTest, TheGreatestValuesAreThoseOfTheStandards) {
  const uint8_t e4m3 = 0x7e, e5m2 = 0x7b;
  const uint16_t half = 0x7bff;
  float loaded = 0;
  LoadElements(DType::kFloat8E4M3, &e4m3, 0, 1, &loaded);
  EXPECT_EQ(loaded, 448);
  LoadElements(DType::kFloat8E5M2, &e5m2, 0, 1, &loaded);
  EXPECT_EQ(loaded, 57344);
  LoadElements(DType::kFloat16, &half, 0, 1, &loaded);
  EXPECT_EQ(loaded, 65504);
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

Problem ProblemOf(DType dtype, ScoreKind kind) {
  Problem problem;
  problem.dtype = dtype;
  problem.score_kind = kind;
  return problem;
}

// The vector code, on each instruction set.
class LoadRowsTest : public testing::TestWithParam<int64_t> {
 private:
  const ForcedTarget forced_{GetParam()};
};

TEST_P(LoadRowsTest, EveryPatternOfEveryNarrowTypeIsExact) {
  for (const Definition& format : kDefinitions) {
    SCOPED_TRACE(NameOf(format.dtype));
    const std::vector<uint8_t> elements = EveryPattern(format);
    const int64_t count = static_cast<int64_t>(elements.size() / SizeOf(format.dtype));
    const Tile tile = {
        .weights = elements.data(), .row_stride = count, .rows = 1, .columns = count};
    for (const ScoreKind kind : {ScoreKind::kMagnitude, ScoreKind::kGiven}) {
      std::vector<float> scores(count);
      cpu::LoadRows(ProblemOf(format.dtype, kind), tile, 0, 0, 1, count, scores.data(), count);
      for (size_t k = 0; k < scores.size(); ++k) {
        const double value = Decode(format, static_cast<uint32_t>(k));
        ExpectSameValue(scores[k], kind == ScoreKind::kGiven ? value : std::fabs(value), k);
      }
    }
  }
}

// Finite elements of all sizes, signs and subnormals included, at odd addresses for bytes.
std::vector<uint8_t> FiniteElements(DType dtype, int64_t count) {
  std::vector<uint8_t> bytes(count * SizeOf(dtype));
  for (size_t k = 0; k < bytes.size(); ++k) {
    const uint32_t hash = static_cast<uint32_t>(k + 1) * 2654435761u;
    // The most significant byte of an element, the last, keeps its exponent below all ones.
    bytes[k] = static_cast<uint8_t>(hash >> 24 & (k % 7 == 0 ? 0x83 : 0xbb));
  }
  return bytes;
}

// Whether LoadRows() writes what LoadScores() does, and nothing else.
void ExpectLoadScoresOfEachRow(const Problem& problem, const Tile& tile, int64_t row,
                               int64_t column, int64_t rows, int64_t columns) {
  const int64_t stride = columns + 1;
  std::vector<float> expected(rows * stride, -1), loaded(rows * stride, -1);
  for (int64_t i = 0; i < rows; ++i) {
    LoadScores(problem, tile, row + i, column, columns, &expected[i * stride]);
  }
  cpu::LoadRows(problem, tile, row, column, rows, columns, loaded.data(), stride);
  ASSERT_EQ(std::memcmp(loaded.data(), expected.data(), loaded.size() * sizeof(float)), 0)
      << NameOf(problem.dtype) << " " << static_cast<int>(problem.score_kind) << ", " << rows
      << " x " << columns << " from " << row << ", " << column;
}

TEST_P(LoadRowsTest, AreThoseOfLoadScoresForEveryStartCountAndEdge) {
  constexpr int64_t kRows = 3, kColumns = 75, kStride = 81;
  // Nothing lies behind the last one, so that a sanitizer sees who reads on.
  constexpr int64_t kElements = (kRows - 1) * kStride + kColumns;
  std::vector<float> norms(kColumns);
  for (int64_t j = 0; j < kColumns; ++j) norms[j] = 0.1f + static_cast<float>(j * j % 17);
  for (const DType dtype : kAllDTypes) {
    const std::vector<uint8_t> elements = FiniteElements(dtype, kElements);
    const Tile tile = {.weights = elements.data(),
                       .row_stride = kStride,
                       .rows = kRows,
                       .columns = kColumns,
                       .column_norms = norms.data()};
    for (const ScoreKind kind :
         {ScoreKind::kMagnitude, ScoreKind::kMagnitudeTimesColumnNorm, ScoreKind::kGiven}) {
      for (const int64_t row : {0, 1, 2, 3, 4}) {
        for (const int64_t column : {0, 1, 2, 7, 16, 43, 74, 75, 80}) {
          for (int64_t columns = 0; columns <= 70; ++columns) {
            for (const int64_t rows : {1, 3}) {
              ExpectLoadScoresOfEachRow(ProblemOf(dtype, kind), tile, row, column, rows, columns);
            }
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, LoadRowsTest, testing::ValuesIn(Targets()),
                         [](const auto& test) { return hwy::TargetName(test.param); });

}  // namespace
}  // namespace tsenor
#endif  // HWY_ONCE
