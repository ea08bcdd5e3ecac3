// Random blocks of every kind and size: integer optima equal LEMON's, and the proof holds in
// float64.
//
// 5,000 blocks on the cpu backend; TSENOR_CAMPAIGN_BLOCKS sets another number. The reference
// backend judges the same blocks up to M = 16, one of each case up to M = 32, and some of the cases
// above.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tests/solver/backends.h"
#include "tests/support/block_arithmetic.h"
#include "tests/support/generators.h"
#include "tests/support/lemon_oracle.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {
namespace {

// The thread sanitizer makes loops some 10 times slower, and these have no threads to look at.
#ifdef __SANITIZE_THREAD__
constexpr int kCampaignBlocks = 500;
constexpr int kReferenceStride = 31;
#else
constexpr int kCampaignBlocks = 5000;
// The reference backend needs O(n m^3) steps a block: from M = 48 on it is given every 6th case. 6
// shares no factor with the 5 values of N, so that the cases run through both kinds and N.
constexpr int kReferenceStride = 6;
#endif

constexpr int kEdgeLengths[] = {4, 7, 8, 12, 16, 24, 32, 48, 64, 96, 128};

// Kept entries per line that each M is tried with: the extremes, both halves, the middle.
std::set<int> KeptPerLine(int m) { return {1, m / 4, m / 2, m - m / 4, m - 1}; }

int BlocksAsked() {
  const char* asked = std::getenv("TSENOR_CAMPAIGN_BLOCKS");
  return asked != nullptr ? std::max(1, std::atoi(asked)) : kCampaignBlocks;
}

// Blocks of each (M, N, kind) that make up the campaign.
int BlocksPerCase() {
  int cases = 0;
  for (const int m : kEdgeLengths) {
    cases += static_cast<int>(KeptPerLine(m).size() * std::size(kAllWeightKinds));
  }
  return (BlocksAsked() + cases - 1) / cases;
}

bool IsReference(const Backend& backend) {
  return std::string(backend.name) == kReferenceBackend.name;
}

// Blocks of case number `index` of its M that `backend` can afford.
int CountFor(const Backend& backend, int m, int index) {
  if (!IsReference(backend) || m <= 16) return BlocksPerCase();
  return m <= 32 || index % kReferenceStride == 0 ? 1 : 0;
}

class CampaignTest : public testing::TestWithParam<std::tuple<Backend, int>> {
 protected:
  void SetUp() override { solver_ = std::get<0>(GetParam()).make(); }

  // Judges `count` blocks twice: unrefined against LEMON's integers, refined by its own proof.
  void JudgeBlocks(WeightKind kind, Pattern pattern, int count) {
    const int m = pattern.m;
    const auto weights = GenerateBlocks(kind, m, count, 100 * m + pattern.n);
    Problem problem;
    problem.pattern = pattern;
    const auto refined = SolveWholeMatrix(*solver_, problem, weights.data(), m, count * m);
    problem.options.optimal.gap_tolerance = 1;
    const auto integer = SolveWholeMatrix(*solver_, problem, weights.data(), m, count * m);
    LemonOracle lemon(pattern);
    for (int block = 0; block < count; ++block) {
      SCOPED_TRACE(testing::Message() << "block " << block);
      const auto scores = MagnitudesOfBlock(weights, m, count * m, m, 0, block);
      ASSERT_NO_FATAL_FAILURE(JudgeIntegerOptimum(integer, block, scores, lemon));
      ASSERT_NO_FATAL_FAILURE(JudgeProof(integer, block, scores, 1e-4));
      ASSERT_NO_FATAL_FAILURE(JudgeProof(refined, block, scores, 1e-9));
    }
    EXPECT_EQ(refined.Total().blocks_proven, count);
    ASSERT_NO_FATAL_FAILURE(JudgeStats(refined, weights));
    blocks_judged_ += count;
  }

  int blocks_judged() const { return blocks_judged_; }

 private:
  static void JudgeIntegerOptimum(const SolvedMatrix& solved, int block,
                                  const std::vector<float>& scores, LemonOracle& lemon) {
    const auto kept = solved.KeptOfBlock(0, block);
    const LineSums sums = LineSumsOf(kept, solved.pattern.m);
    ASSERT_EQ(sums.least, solved.pattern.n);
    ASSERT_EQ(sums.greatest, solved.pattern.n);
    const auto quanta = QuantiseBlockByBits(scores);
    ASSERT_EQ(KeptSum(quanta, kept), lemon.GreatestKeptSum(quanta));
  }

  // The bound that the potentials prove is at most `gap` (relative) above the mask's value, and
  // never below.
  static void JudgeProof(const SolvedMatrix& solved, int block, const std::vector<float>& scores,
                         long double gap) {
    const auto kept = solved.KeptOfBlock(0, block);
    const LineSums sums = LineSumsOf(kept, solved.pattern.m);
    ASSERT_EQ(sums.least, solved.pattern.n);
    ASSERT_EQ(sums.greatest, solved.pattern.n);
    const long double value = KeptSum(scores, kept);
    const long double bound = DualBound(scores, solved.pattern, solved.PotentialsOfBlock(0, block));
    ASSERT_GE(bound, value * (1 - 1e-12L));
    ASSERT_LE(bound - value, gap * bound);
  }

  // The sums that the solver reports are those of its mask and potentials.
  static void JudgeStats(const SolvedMatrix& solved, const std::vector<float>& weights) {
    long double value = 0;
    long double bound = 0;
    long double score_sum = 0;
    for (int block = 0; block < solved.columns / solved.pattern.m; ++block) {
      const auto scores =
          MagnitudesOfBlock(weights, solved.rows, solved.columns, solved.pattern.m, 0, block);
      value += KeptSum(scores, solved.KeptOfBlock(0, block));
      bound += DualBound(scores, solved.pattern, solved.PotentialsOfBlock(0, block));
      for (const float score : scores) score_sum += score;
    }
    const SolveStats stats = solved.Total();
    const double rounding = static_cast<double>(1e-12L * score_sum);
    ASSERT_NEAR(stats.value, static_cast<double>(value), rounding);
    ASSERT_NEAR(stats.bound, static_cast<double>(bound), rounding);
    ASSERT_NEAR(stats.score_sum, static_cast<double>(score_sum), rounding);
  }

  std::unique_ptr<Solver> solver_;
  int blocks_judged_ = 0;
};

TEST_P(CampaignTest, IntegerOptimaEqualLemonAndTheProofHoldsInFloat64) {
  const auto& [backend, m] = GetParam();
  int index = 0;
  for (const WeightKind kind : kAllWeightKinds) {
    for (const int n : KeptPerLine(m)) {
      SCOPED_TRACE(testing::Message() << Name(kind) << " " << n << ":" << m);
      const int count = CountFor(backend, m, index++);
      if (count > 0) JudgeBlocks(kind, {n, m}, count);
      if (HasFatalFailure()) return;
    }
  }
  RecordProperty("blocks", blocks_judged());
  // Together the edge lengths make up the number asked for.
  if (!IsReference(backend)) {
    EXPECT_EQ(blocks_judged(), index * BlocksPerCase());
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, CampaignTest,
                         testing::Combine(testing::Values(kReferenceBackend, kCpuBackend),
                                          testing::ValuesIn(kEdgeLengths)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param).name) + "M" +
                                  std::to_string(std::get<1>(test.param));
                         });

}  // namespace
}  // namespace tsenor
