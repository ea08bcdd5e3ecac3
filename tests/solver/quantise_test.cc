// The quantisation rule against exact integer arithmetic on the bits of the scores.
#include "solver/quantise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/support/block_arithmetic.h"
#include "tests/support/generators.h"

namespace tsenor {
namespace {

std::vector<int64_t> QuantiseByRule(const std::vector<float>& scores) {
  const int shift = QuantisationShift(*std::max_element(scores.begin(), scores.end()));
  std::vector<int64_t> quanta;
  for (const float score : scores) quanta.push_back(Quantise(score, shift));
  return quanta;
}

TEST(QuantiseTest, EveryKindOfScoreEqualsExactArithmetic) {
  for (const WeightKind kind : kAllWeightKinds) {
    auto scores = GenerateWeights(kind, 64, 64, 5);
    for (float& score : scores) score = std::fabs(score);
    EXPECT_EQ(QuantiseByRule(scores), QuantiseBlockByBits(scores)) << Name(kind);
  }
}

TEST(QuantiseTest, AnyFloatsEqualExactArithmetic) {
  std::mt19937 random(3);
  for (int repeat = 0; repeat < 2000; ++repeat) {
    // Near exponents, so that most scores are not just zero quanta.
    const auto exponent = static_cast<uint32_t>(random() % 255);
    std::vector<float> scores;
    for (int k = 0; k < 16; ++k) {
      const uint32_t biased = exponent - std::min<uint32_t>(exponent, random() % 27);
      const auto fraction = static_cast<uint32_t>(random() & 0x7fffff);
      scores.push_back(std::bit_cast<float>(biased << 23 | fraction));
    }
    ASSERT_EQ(QuantiseByRule(scores), QuantiseBlockByBits(scores));
  }
}

TEST(QuantiseTest, TiesGoToTheEvenInteger) {
  const float half = 0x1p-25f;  // of a quantum, if the greatest score is in [0.5, 1)
  const int shift = QuantisationShift(0.75f);
  EXPECT_EQ(shift, 24);
  EXPECT_EQ(Quantise(half, shift), 0);
  EXPECT_EQ(Quantise(3 * half, shift), 2);
  EXPECT_EQ(Quantise(5 * half, shift), 2);
  EXPECT_EQ(Quantise(std::nextafter(half, 1.0f), shift), 1);
}

TEST(QuantiseTest, AGreatestScoreThatIsAPowerOfTwoMakesHalfOfAllQuanta) {
  // frexp(2^k) is 0.5 * 2^(k + 1): the greatest quantum is 2^23, for subnormal powers too.
  for (int k = -149; k <= 127; ++k) {
    const float power = std::ldexp(1.0f, k);
    EXPECT_EQ(Quantise(power, QuantisationShift(power)), 1 << 23) << "2^" << k;
  }
}

TEST(QuantiseTest, QuantaStayWithinTheDocumentedRange) {
  for (const float greatest : {std::numeric_limits<float>::max(), std::nextafter(1.0f, 0.0f),
                               std::nextafter(2.0f, 0.0f), std::numeric_limits<float>::min()}) {
    const int quantum = Quantise(greatest, QuantisationShift(greatest));
    EXPECT_GE(quantum, 1 << 23);
    EXPECT_LE(quantum, 1 << 24);
  }
  EXPECT_EQ(QuantisationShift(0), 0);
  EXPECT_EQ(Quantise(0, 0), 0);
  EXPECT_EQ(Quantise(-0.0f, 24), 0);
}

}  // namespace
}  // namespace tsenor
