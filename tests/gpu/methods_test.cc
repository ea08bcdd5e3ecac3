// The methods other than OPTIMAL on the GPU: the masks of the cpu backend, bit for bit, where they
// depend on the order of scores alone; TSENOR's where rounding does not decide.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "tests/gpu/cuda_test.h"
#include "tests/gpu/on_device.h"
#include "tests/support/generators.h"

namespace tsenor {
namespace {

Problem ProblemOf(Method method, Pattern pattern) {
  Problem problem;
  problem.pattern = pattern;
  problem.options.method = method;
  problem.options.max_random.samples = method == Method::kMaxRandom ? 200 : 1000;
  return problem;
}

std::string NameOfMethod(const testing::TestParamInfo<Method>& method) {
  constexpr const char* kNames[] = {"Optimal",   "Tsenor", "TwoApprox", "BiNm",
                                    "MaxRandom", "RowNm",  "ColumnNm"};
  return kNames[static_cast<int>(method.param)];
}

class MethodsTest : public CudaTest, public testing::WithParamInterface<Method> {
 protected:
  static bool IsExact() { return GetParam() != Method::kTsenor; }

  // What value, bound and counts say of the mask and the potentials must be so.
  static void JudgeCertificate(const Problem& problem, const float* weights,
                               const SolvedMatrix& solved) {
    const MaskCertificate certificate = CertifyWholeMatrix(problem, weights, solved);
    const SolveStats stats = solved.Total();
    EXPECT_EQ(certificate.lines_over, 0);
    EXPECT_EQ(certificate.lines_under > 0, stats.blocks_short > 0);
    EXPECT_NEAR(certificate.stats.value, stats.value, 1e-12 * stats.score_sum);
    EXPECT_NEAR(certificate.stats.bound, stats.bound, 1e-12 * stats.score_sum);
    EXPECT_NEAR(certificate.stats.score_sum, stats.score_sum, 1e-12 * stats.score_sum);
    EXPECT_EQ(certificate.stats.kept, stats.kept);
  }

  // `found` is as good as `wanted`: the same, but for bounds of different optima.
  static void ExpectEqual(const SolvedMatrix& found, const SolvedMatrix& wanted) {
    const SolveStats stats = found.Total(), expected = wanted.Total();
    EXPECT_EQ(found.mask, wanted.mask);
    EXPECT_NEAR(stats.value, expected.value, 1e-12 * expected.score_sum);
    EXPECT_NEAR(stats.bound, expected.bound, 1e-9 * expected.bound);
    EXPECT_NEAR(stats.score_sum, expected.score_sum, 1e-12 * expected.score_sum);
    EXPECT_EQ(stats.kept, expected.kept);
    EXPECT_EQ(stats.blocks, expected.blocks);
    EXPECT_EQ(stats.blocks_short, expected.blocks_short);
    EXPECT_EQ(stats.sweeps, expected.sweeps);
    EXPECT_EQ(stats.augmentations, 0);
  }

  // Float32 sums in another order leave shares 1e-5 apart: some near ties fall the other way, most
  // in small blocks of few different scores.
  static void ExpectNear(const SolvedMatrix& found, const SolvedMatrix& wanted) {
    const SolveStats stats = found.Total(), expected = wanted.Total();
    EXPECT_NEAR(stats.value, expected.value, 1e-2 * expected.value);
    EXPECT_NEAR(stats.bound, expected.bound, 1e-9 * expected.bound);
    EXPECT_NEAR(stats.kept, expected.kept, 4 + 1e-2 * static_cast<double>(expected.kept));
    EXPECT_EQ(stats.blocks, expected.blocks);
    EXPECT_EQ(stats.sweeps, expected.sweeps);
    EXPECT_EQ(stats.augmentations, 0);
  }

  void Judge(const Problem& problem, const float* weights, int64_t rows, int64_t columns) {
    const auto found = SolveWholeMatrix(cuda(), problem, weights, rows, columns);
    const auto wanted = SolveWholeMatrix(cpu(), problem, weights, rows, columns);
    JudgeCertificate(problem, weights, found);
    IsExact() ? ExpectEqual(found, wanted) : ExpectNear(found, wanted);
  }
};

TEST_P(MethodsTest, MasksOfEveryKindAndSizeAreThoseOfTheCpuBackend) {
  for (const int m : {2, 3, 4, 5, 8, 12, 16, 20, 24, 31, 32, 33, 48, 64, 65, 96, 127, 128}) {
    for (const int n : std::set{1, std::max(1, m / 4), m / 2, m - 1}) {
      for (const WeightKind kind : kAllWeightKinds) {
        SCOPED_TRACE(testing::Message() << Name(kind) << " " << n << ":" << m);
        const int64_t blocks = m <= 32 ? 20 : 4;
        const auto weights = GenerateBlocks(kind, m, blocks, 7);
        Judge(ProblemOf(GetParam(), {n, m}), weights.data(), m, blocks * m);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(MethodsTest, EveryTypeAndScoreKindIsReadIncompleteBlocksToo) {
  constexpr int64_t kRows = 45, kColumns = 70;
  std::vector<float> norms(kColumns);
  for (int64_t j = 0; j < kColumns; ++j) norms[j] = static_cast<float>(1 + j % 5);
  for (const DType dtype : kAllDTypes) {
    // Bits below those of 2.0, whatever the type; half of the entries negative.
    std::vector<uint8_t> elements(kRows * kColumns * SizeOf(dtype));
    for (size_t k = 0; k < elements.size(); ++k) elements[k] = (k * k * 2654435761u >> 13) & 0xbf;
    for (const Pattern pattern : {Pattern{2, 4}, {4, 8}, {5, 12}, {16, 32}, {20, 40}}) {
      for (const bool normed : {false, true}) {
        SCOPED_TRACE(testing::Message() << NameOf(dtype) << " M = " << pattern.m << " " << normed);
        Problem problem = ProblemOf(GetParam(), pattern);
        problem.dtype = dtype;
        if (normed) problem.score_kind = ScoreKind::kMagnitudeTimesColumnNorm;
        const float* of_columns = normed ? norms.data() : nullptr;
        const auto found =
            SolveWholeMatrix(cuda(), problem, elements.data(), kRows, kColumns, of_columns);
        const auto wanted =
            SolveWholeMatrix(cpu(), problem, elements.data(), kRows, kColumns, of_columns);
        IsExact() ? ExpectEqual(found, wanted) : ExpectNear(found, wanted);
      }
    }
  }
}

TEST_P(MethodsTest, PatternsWithoutChoiceKeepNothingOrEverything) {
  for (const int m : {1, 2, 4, 8, 33, 128}) {
    const auto weights = GenerateBlocks(WeightKind::kGaussian, m, 3, 1);
    for (const int n : {0, m}) {
      Judge(ProblemOf(GetParam(), {n, m}), weights.data(), m, 3 * m);
    }
  }
}

TEST_P(MethodsTest, BatchesInDeviceMemoryGetTheSameBits) {
  constexpr int64_t kRows = 100, kColumns = 300;
  const Problem problem = ProblemOf(GetParam(), {8, 16});
  const auto weights = GenerateWeights(WeightKind::kStudentT, kRows, kColumns, 3);
  const auto expected = SolveWholeMatrix(cuda(), problem, weights.data(), kRows, kColumns);
  SolvedMatrix solved = expected;
  const OnDevice on_device(weights);
  const OnDevice mask(std::vector<uint8_t>(expected.mask.size(), 0xa5));
  const OnDevice stats(std::vector<SolveStats>(expected.block_rows.size()));
  const OnDevice potentials(std::vector<double>(expected.potentials.size(), -1));
  const Tile tile = {.weights = on_device.data(),
                     .row_stride = kColumns,
                     .rows = kRows,
                     .columns = kColumns,
                     .mask = mask.data(),
                     .mask_row_stride = MaskRowBytes(kColumns),
                     .stats = stats.data(),
                     .potentials = potentials.data()};
  const absl::Status status =
      cuda().Solve({.problem = problem, .tiles = {&tile, 1}, .memory = MemorySpace::kDevice});
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  solved.mask = mask.Get();
  solved.block_rows = stats.Get();
  solved.potentials = potentials.Get();
  ExpectSameAnswer(solved, expected);
}

TEST_P(MethodsTest, ABlockDoesNotDependOnItsNeighbours) {
  constexpr int64_t kBlocks = 37;
  for (const int m : {4, 8, 16, 32, 64, 128}) {
    const Problem problem = ProblemOf(GetParam(), {m / 2, m});
    const auto weights = GenerateWeights(WeightKind::kStudentT, kBlocks * m, m, m);
    const auto together = SolveWholeMatrix(cuda(), problem, weights.data(), kBlocks * m, m);
    for (int64_t block = 0; block < kBlocks; block += 5) {
      const auto alone = SolveWholeMatrix(cuda(), problem, weights.data() + block * m * m, m, m);
      EXPECT_EQ(alone.KeptOfBlock(0, 0), together.KeptOfBlock(block, 0))
          << block << " of M = " << m;
      EXPECT_TRUE(SameStats(alone.block_rows[0], together.block_rows[block]));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, MethodsTest,
                         testing::Values(Method::kTsenor, Method::kTwoApprox, Method::kBiNm,
                                         Method::kMaxRandom, Method::kRowNm, Method::kColumnNm),
                         NameOfMethod);

class OptionsTest : public CudaTest {};

TEST_F(OptionsTest, OtherSeedsAndMoreSamplesChooseAmongOtherMasks) {
  const auto weights = GenerateWeights(WeightKind::kGaussian, 64, 256, 1);
  for (const int m : {8, 32, 64}) {
    Problem problem = ProblemOf(Method::kMaxRandom, {m / 2, m});
    for (const MaxRandomOptions options : {MaxRandomOptions{1, 0}, {33, 5}, {1000, 7}}) {
      problem.options.max_random = options;
      EXPECT_EQ(SolveWholeMatrix(cuda(), problem, weights.data(), 64, 256).mask,
                SolveWholeMatrix(cpu(), problem, weights.data(), 64, 256).mask);
    }
  }
}

// On Gaussian weights nearly all masks are the same, whatever the options.
TEST_F(OptionsTest, TsenorsSettingsAreHeeded) {
  const auto weights = GenerateWeights(WeightKind::kGaussian, 256, 1024, 1);
  for (const Pattern pattern : {Pattern{16, 32}, {8, 32}, {31, 32}, {8, 16}, {32, 64}, {48, 96}}) {
    Problem problem = ProblemOf(Method::kTsenor, pattern);
    for (const TsenorOptions options :
         {TsenorOptions{}, {200, 1, 0}, {200, 2, 1000}, {20, 50, 0}, {500, 1000, 3}}) {
      SCOPED_TRACE(testing::Message()
                   << pattern.n << ":" << pattern.m << ", T = " << options.iterations);
      problem.options.tsenor = options;
      const auto found = SolveWholeMatrix(cuda(), problem, weights.data(), 256, 1024);
      const auto wanted = SolveWholeMatrix(cpu(), problem, weights.data(), 256, 1024);
      const int64_t block_rows = BlocksAlong(256, pattern.m);
      const int64_t block_columns = BlocksAlong(1024, pattern.m);
      int64_t different = 0;
      for (int64_t i = 0; i < block_rows; ++i) {
        for (int64_t j = 0; j < block_columns; ++j) {
          different += found.KeptOfBlock(i, j) != wanted.KeptOfBlock(i, j);
        }
      }
      EXPECT_LE(different, 1 + block_rows * block_columns / 50);
      EXPECT_NEAR(found.Total().value, wanted.Total().value, 1e-5 * wanted.Total().value);
    }
  }
}

}  // namespace
}  // namespace tsenor
