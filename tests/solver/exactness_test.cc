// Integer optima of small blocks: equal to the best of all masks, and to LEMON's network simplex.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/solver/backends.h"
#include "tests/support/block_arithmetic.h"
#include "tests/support/brute_force.h"
#include "tests/support/lemon_oracle.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {
namespace {

class ExactnessTest : public BackendTest {
 protected:
  // Solves `count` blocks side by side, `score(block, i, j)` each, in one batch. Small integers are
  // whole quanta, so that the answer is the integer optimum.
  template <typename Score>
  SolvedMatrix SolveBlocks(Pattern pattern, int64_t count, Score score) {
    const int m = pattern.m;
    weights_.clear();
    for (int i = 0; i < m; ++i) {
      for (int64_t block = 0; block < count; ++block) {
        for (int j = 0; j < m; ++j) weights_.push_back(static_cast<float>(score(block, i, j)));
      }
    }
    Problem problem;
    problem.pattern = pattern;
    return SolveWholeMatrix(solver(), problem, weights_.data(), m, count * m);
  }

  // Judges each block: exact line sums, and of all masks the greatest sum of quanta by `oracle`.
  template <typename Oracle>
  void ExpectOptimal(const SolvedMatrix& solved, Oracle oracle) {
    const int m = solved.pattern.m;
    for (int64_t block = 0; block < solved.columns / m; ++block) {
      const auto quanta = QuantiseBlockByBits(
          MagnitudesOfBlock(weights_, solved.rows, solved.columns, m, 0, block));
      const auto kept = solved.KeptOfBlock(0, block);
      const LineSums sums = LineSumsOf(kept, m);
      ASSERT_EQ(sums.least, solved.pattern.n) << "block " << block;
      ASSERT_EQ(sums.greatest, solved.pattern.n) << "block " << block;
      ASSERT_EQ(KeptSum(quanta, kept), oracle(quanta)) << "block " << block;
    }
  }

 private:
  std::vector<float> weights_;
};

// Digit `position` of `number` in base `base`: number 0, 1, 2, ... runs through all blocks.
int64_t Digit(int64_t number, int position, int base) {
  for (int k = 0; k < position; ++k) number /= base;
  return number % base;
}

int64_t Power(int base, int exponent) {
  int64_t power = 1;
  for (int k = 0; k < exponent; ++k) power *= base;
  return power;
}

TEST_P(ExactnessTest, EveryBlockOfTinyIntegersIsTheBestOfAllMasks) {
  struct Range {
    int m;
    int scores;  // 0 .. scores - 1
  };
  for (const auto [m, scores] : {Range{1, 4}, Range{2, 4}, Range{3, 2}}) {
    for (int n = 0; n <= m; ++n) {
      SCOPED_TRACE(testing::Message() << n << ":" << m);
      const Pattern pattern = {n, m};
      const auto solved =
          SolveBlocks(pattern, Power(scores, m * m),
                      [&](int64_t block, int i, int j) { return Digit(block, i * m + j, scores); });
      ExpectOptimal(solved,
                    [&](const auto& quanta) { return GreatestKeptSumByTrying(quanta, pattern); });
    }
  }
}

TEST_P(ExactnessTest, SmallIntegersUpToSixBySixEqualLemonForEveryN) {
  std::mt19937_64 random(20251122);
  for (int m = 1; m <= 6; ++m) {
    for (int n = 0; n <= m; ++n) {
      for (const int greatest : {1, 3, 20}) {
        SCOPED_TRACE(testing::Message() << n << ":" << m << ", scores 0.." << greatest);
        const Pattern pattern = {n, m};
        std::uniform_int_distribution<int> scores(0, greatest);
        const auto solved =
            SolveBlocks(pattern, 100, [&](int64_t, int, int) { return scores(random); });
        LemonOracle lemon(pattern);
        ExpectOptimal(solved, [&](const auto& quanta) { return lemon.GreatestKeptSum(quanta); });
      }
    }
  }
}

// The two oracles judge each other.
TEST(OraclesTest, LemonEqualsTryingEveryMask) {
  std::mt19937_64 random(1);
  std::uniform_int_distribution<int64_t> scores(-5, 20);
  for (int m = 1; m <= 4; ++m) {
    for (int n = 0; n <= m; ++n) {
      LemonOracle lemon({n, m});
      for (int repeat = 0; repeat < 20; ++repeat) {
        std::vector<int64_t> block(m * m);
        for (int64_t& score : block) score = scores(random);
        ASSERT_EQ(lemon.GreatestKeptSum(block), GreatestKeptSumByTrying(block, {n, m}));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, ExactnessTest, testing::Values(kReferenceBackend, kCpuBackend),
                         BackendName);

}  // namespace
}  // namespace tsenor
