// Random blocks of every kind, size and number of kept entries: integer optima equal LEMON's, and
// the proof holds in float64.
//
// 20,000 blocks on the cpu backend; TSENOR_CAMPAIGN_BLOCKS sets another number. The reference
// backend judges a share of the same blocks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <numeric>
#include <random>
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
#else
constexpr int kCampaignBlocks = 20000;
#endif

// How many of 20,000 blocks an edge length gets, and one in how many of them the reference backend,
// whose steps grow as n m^3. Large blocks are dear, yet all N come with each edge length. The
// slowest come first, so that two cores end together.
struct Share {
  int m;
  int blocks;
  int reference_stride;
};
void PrintTo(const Share& share, std::ostream* out) { *out << "M = " << share.m; }
constexpr Share kShares[] = {{128, 400, 128}, {96, 500, 64}, {64, 1000, 48}, {48, 1200, 24},
                             {32, 2000, 8},   {24, 1900, 4}, {20, 2000, 2},  {16, 2200, 1},
                             {12, 2200, 1},   {8, 2200, 1},  {7, 2200, 1},   {4, 2200, 1}};

int BlocksAsked() {
  const char* asked = std::getenv("TSENOR_CAMPAIGN_BLOCKS");
  return asked != nullptr ? std::max(1, std::atoi(asked)) : kCampaignBlocks;
}

// Blocks of each kind by N. Kinds take turns; N runs through shuffled lists of 1 .. m-1.
std::map<int, std::map<WeightKind, int>> Draw(int m, int blocks) {
  std::mt19937_64 random(m);
  std::vector<int> ns(m - 1);
  std::iota(ns.begin(), ns.end(), 1);
  std::map<int, std::map<WeightKind, int>> drawn;
  for (int k = 0; k < blocks; ++k) {
    if (k % (m - 1) == 0) std::shuffle(ns.begin(), ns.end(), random);
    ++drawn[ns[k % (m - 1)]][kAllWeightKinds[k % std::size(kAllWeightKinds)]];
  }
  return drawn;
}

class CampaignTest : public testing::TestWithParam<std::tuple<Backend, Share>> {
 protected:
  void SetUp() override { solver_ = std::get<0>(GetParam()).make(); }

  // Of the blocks asked for, those of this edge length and backend.
  static int Blocks() {
    const auto& [backend, share] = GetParam();
    const int64_t blocks = int64_t{BlocksAsked()} * share.blocks / 20000;
    const bool is_reference = std::string(backend.name) == kReferenceBackend.name;
    return static_cast<int>(
        std::max<int64_t>(1, blocks / (is_reference ? share.reference_stride : 1)));
  }

  // Judges `count` blocks twice: rounded to quanta against LEMON's integers, and as they are by
  // their own proof.
  void JudgeBlocks(WeightKind kind, int count, LemonOracle& lemon) {
    const Pattern pattern = lemon.pattern();
    const int m = pattern.m;
    const auto seed = static_cast<uint64_t>(1000 * m + pattern.n);
    Problem problem;
    problem.pattern = pattern;
    const auto quantised = GenerateQuantisedBlocks(kind, m, count, seed);
    const auto integer = SolveWholeMatrix(*solver_, problem, quantised.data(), m, count * m);
    const auto weights = GenerateBlocks(kind, m, count, seed);
    const auto solved = SolveWholeMatrix(*solver_, problem, weights.data(), m, count * m);
    for (int block = 0; block < count; ++block) {
      SCOPED_TRACE(testing::Message() << "block " << block);
      ASSERT_NO_FATAL_FAILURE(JudgeIntegerOptimum(integer, block, quantised, lemon));
      ASSERT_NO_FATAL_FAILURE(JudgeProof(solved, block, weights));
    }
    EXPECT_EQ(integer.Total().blocks_proven, count);
    EXPECT_EQ(solved.Total().blocks_proven, count);
    ASSERT_NO_FATAL_FAILURE(JudgeStats(solved, weights));
  }

 private:
  static std::vector<float> ScoresOf(const SolvedMatrix& solved, int block,
                                     const std::vector<float>& weights) {
    return MagnitudesOfBlock(weights, solved.rows, solved.columns, solved.pattern.m, 0, block);
  }

  static void JudgeIntegerOptimum(const SolvedMatrix& solved, int block,
                                  const std::vector<float>& weights, LemonOracle& lemon) {
    const auto quanta = QuantiseBlockByBits(ScoresOf(solved, block, weights));
    const auto kept = solved.KeptOfBlock(0, block);
    ASSERT_NO_FATAL_FAILURE(JudgeLineSums(kept, solved.pattern));
    ASSERT_EQ(KeptSum(quanta, kept), lemon.GreatestKeptSum(quanta));
  }

  // The bound that the potentials prove is at most 1e-9 (relative, the default) above the mask's
  // value, and never below.
  static void JudgeProof(const SolvedMatrix& solved, int block, const std::vector<float>& weights) {
    const auto scores = ScoresOf(solved, block, weights);
    const auto kept = solved.KeptOfBlock(0, block);
    ASSERT_NO_FATAL_FAILURE(JudgeLineSums(kept, solved.pattern));
    const long double value = KeptSum(scores, kept);
    const long double bound = DualBound(scores, solved.pattern, solved.PotentialsOfBlock(0, block));
    ASSERT_GE(bound, value * (1 - 1e-12L));
    ASSERT_LE(bound - value, 1e-9L * bound);
  }

  static void JudgeLineSums(const std::vector<uint8_t>& kept, Pattern pattern) {
    const LineSums sums = LineSumsOf(kept, pattern.m);
    ASSERT_EQ(sums.least, pattern.n);
    ASSERT_EQ(sums.greatest, pattern.n);
  }

  // The sums that the solver reports are those of its mask and potentials.
  static void JudgeStats(const SolvedMatrix& solved, const std::vector<float>& weights) {
    long double value = 0;
    long double bound = 0;
    long double score_sum = 0;
    for (int block = 0; block < solved.columns / solved.pattern.m; ++block) {
      const auto scores = ScoresOf(solved, block, weights);
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
};

TEST_P(CampaignTest, IntegerOptimaEqualLemonAndTheProofHoldsInFloat64) {
  const int m = std::get<1>(GetParam()).m;
  int judged = 0;
  for (const auto& [n, kinds] : Draw(m, Blocks())) {
    LemonOracle lemon({n, m});
    for (const auto& [kind, count] : kinds) {
      SCOPED_TRACE(testing::Message() << Name(kind) << " " << n << ":" << m);
      JudgeBlocks(kind, count, lemon);
      if (HasFatalFailure()) return;
      judged += count;
    }
  }
  RecordProperty("blocks", judged);
  EXPECT_EQ(judged, Blocks());
}

// What the campaign claims to cover.
TEST(CampaignSharesTest, AllBlocksAreSharedOutAndEveryNAndKindComes) {
  int blocks = 0;
  for (const Share& share : kShares) {
    const auto drawn = Draw(share.m, share.blocks);
    EXPECT_EQ(drawn.size(), share.m - 1) << share.m;
    std::map<WeightKind, int> of_kind;
    for (const auto& [n, kinds] : drawn) {
      for (const auto& [kind, count] : kinds) of_kind[kind] += count;
    }
    EXPECT_EQ(of_kind.size(), std::size(kAllWeightKinds)) << share.m;
    blocks += share.blocks;
  }
  EXPECT_EQ(blocks, 20000);
}

INSTANTIATE_TEST_SUITE_P(Backends, CampaignTest,
                         testing::Combine(testing::Values(kCpuBackend, kReferenceBackend),
                                          testing::ValuesIn(kShares)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param).name) + "M" +
                                  std::to_string(std::get<1>(test.param).m);
                         });

}  // namespace
}  // namespace tsenor
