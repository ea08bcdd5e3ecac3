// The CUDA backend's kernels on this machine's processor (tests/support/device_emulation): what
// they solve, and what they leave to each other. The emulation fails where threads do not meet.
#include <gtest/gtest.h>

#include <bit>
#include <memory>
#include <random>
#include <vector>

#include "solver/cpu/cpu_solver.h"
#include "tests/support/device_emulation/emulated_pass.h"
#include "tests/support/device_emulation/lockstep.h"
#include "tests/support/generators.h"

namespace tsenor {
namespace {

Problem Optimal(Pattern pattern) {
  Problem problem;
  problem.pattern = pattern;
  return problem;
}

class EmulatedKernelsTest : public testing::Test {
 protected:
  // `blocks` blocks of one kind: feasible, the cpu backend's value, proven.
  EmulatedPass Judge(WeightKind kind, Pattern pattern, int64_t blocks) {
    SCOPED_TRACE(Name(kind));
    return Judge(GenerateBlocks(kind, pattern.m, blocks, 11), pattern, blocks);
  }

  // The same of a row of blocks with these weights.
  EmulatedPass Judge(const std::vector<float>& weights, Pattern pattern, int64_t blocks) {
    SCOPED_TRACE(testing::Message() << pattern.n << ":" << pattern.m);
    const int64_t columns = blocks * pattern.m;
    const Problem problem = Optimal(pattern);
    EmulatedPass pass = EmulatePass(problem, weights.data(), pattern.m, columns);
    const SolveStats found = pass.solved.Total();
    const SolveStats wanted =
        SolveWholeMatrix(*cpu_, problem, weights.data(), pattern.m, columns).Total();
    EXPECT_NEAR(found.value, wanted.value, 1e-9 * wanted.value);
    EXPECT_GE(found.bound, found.value);
    EXPECT_LE(found.relative_gap(), 1e-9);
    EXPECT_EQ(found.blocks_proven, blocks);
    EXPECT_EQ(pass.unsolved, 0);
    const MaskCertificate certificate = CertifyWholeMatrix(problem, weights.data(), pass.solved);
    EXPECT_EQ(certificate.lines_over, 0);
    EXPECT_EQ(certificate.lines_under, 0);
    EXPECT_NEAR(certificate.stats.value, found.value, 1e-12 * found.score_sum);
    EXPECT_NEAR(certificate.stats.bound, found.bound, 1e-12 * found.score_sum);
    for (const uint32_t block : pass.listed) EXPECT_TRUE(pass.results[block].proven) << block;
    return pass;
  }

  const std::unique_ptr<Solver> cpu_ = *MakeCpuSolver();
};

TEST_F(EmulatedKernelsTest, EveryKindHasTheOptimumOfTheCpuBackend) {
  for (const Pattern pattern : {Pattern{4, 8},
                                {3, 7},
                                {8, 16},
                                {10, 20},
                                {16, 32},
                                {17, 33},
                                {24, 48},
                                {32, 64},
                                {40, 80}}) {
    for (const WeightKind kind : kAllWeightKinds) {
      Judge(kind, pattern, pattern.m <= 32 ? 8 : 3);
      if (HasFailure()) return;
    }
  }
}

TEST_F(EmulatedKernelsTest, PatchKernelsSolveNearlyAllBlocksThemselves) {
  for (const WeightKind kind :
       {WeightKind::kGaussian, WeightKind::kStudentT, WeightKind::kBFloat16, WeightKind::kInt8,
        WeightKind::kOutlier, WeightKind::kHugeEntries, WeightKind::kConstant}) {
    for (const Pattern pattern : {Pattern{16, 32}, {8, 16}, {4, 8}}) {
      EXPECT_TRUE(Judge(kind, pattern, 32).listed.empty());
    }
  }
  for (const WeightKind kind : {WeightKind::kColumnScaled, WeightKind::kRowScaled,
                                WeightKind::kSparse, WeightKind::kInt2, WeightKind::kPareto}) {
    for (const Pattern pattern : {Pattern{16, 32}, {8, 16}, {4, 8}}) {
      EXPECT_LE(Judge(kind, pattern, 32).listed.size(), 6u);
    }
  }
  EXPECT_TRUE(Judge(WeightKind::kGaussian, {32, 64}, 16).listed.empty());
  EXPECT_TRUE(Judge(WeightKind::kBFloat16, {32, 64}, 16).listed.empty());
  EXPECT_TRUE(Judge(WeightKind::kInt8, {16, 64}, 16).listed.empty());
}

// Lines a thousand times the others: the sweeps see them less where they begin.
TEST_F(EmulatedKernelsTest, PatchKernelsSolveHugeLines) {
  for (const WeightKind kind : {WeightKind::kHugeRow, WeightKind::kHugeColumns}) {
    for (const Pattern pattern : {Pattern{16, 32}, {8, 32}, {8, 16}, {4, 8}}) {
      EXPECT_LE(Judge(kind, pattern, 64).listed.size(), 5u) << Name(kind) << pattern.m;
    }
  }
  EXPECT_LT(Judge(WeightKind::kHugeRow, {16, 32}, 64).AugmentationsOfParts(), 2);
}

// Few bits, but steps that the noise of ties is as high as: often what it chose is not optimal, and
// blocks of 8 and 16 flip cycles of negative length.
TEST_F(EmulatedKernelsTest, PatchKernelsUndoWhatNoiseChoseBadly) {
  constexpr int64_t kBlocks = 64;
  for (const int levels : {6, 10, 16, 24}) {
    for (const Pattern pattern : {Pattern{4, 8}, {2, 8}, {3, 7}, {8, 16}, {16, 32}}) {
      SCOPED_TRACE(levels);
      std::mt19937 random(levels);
      std::vector<float> weights(kBlocks * pattern.m * pattern.m);
      for (float& weight : weights) weight = static_cast<float>(random() % levels);
      EXPECT_LE(Judge(weights, pattern, kBlocks).listed.size(), 1u);
    }
  }
}

// What makes the kernels fast: after the sweeps, few entries are missing.
TEST_F(EmulatedKernelsTest, SweepsLeaveFewPathsToTheFinish) {
  const auto paths = [&](WeightKind kind, Pattern pattern) {
    return Judge(kind, pattern, 64).AugmentationsOfParts();
  };
  EXPECT_LT(paths(WeightKind::kGaussian, {16, 32}), 1.6);
  EXPECT_LT(paths(WeightKind::kGaussian, {8, 32}), 1.6);
  EXPECT_LT(paths(WeightKind::kGaussian, {8, 16}), 0.6);
  EXPECT_LT(paths(WeightKind::kGaussian, {4, 8}), 0.2);
  EXPECT_LT(paths(WeightKind::kColumnScaled, {16, 32}), 2.5);
  EXPECT_LT(paths(WeightKind::kSparse, {16, 32}), 18);
  EXPECT_LT(paths(WeightKind::kInt2, {16, 32}), 12);
  EXPECT_LT(paths(WeightKind::kInt2, {8, 16}), 6);
  EXPECT_LT(paths(WeightKind::kConstant, {8, 16}), 6);
  EXPECT_LT(paths(WeightKind::kInt2, {4, 8}), 0.5);
  EXPECT_LT(paths(WeightKind::kSparse, {4, 8}), 0.6);
}

TEST_F(EmulatedKernelsTest, TheWideKernelSolvesTiesAndHugeScoresItself) {
  const WeightKind own[] = {
      WeightKind::kStudentT,    WeightKind::kColumnScaled, WeightKind::kRowColumnScaled,
      WeightKind::kInt2,        WeightKind::kSparse,       WeightKind::kConstant,
      WeightKind::kOutlier,     WeightKind::kPareto,       WeightKind::kHugeEntries,
      WeightKind::kHugeColumns, WeightKind::kHugeRow};
  for (const WeightKind kind : own) {
    const EmulatedPass pass = Judge(kind, {32, 64}, 8);
    EXPECT_LE(pass.listed.size(), 1u) << Name(kind);
    EXPECT_LT(pass.AugmentationsOfParts(), 16) << Name(kind);
  }
  // Without end: more paths than are worth their time there.
  EXPECT_EQ(Judge(WeightKind::kGeometric, {32, 64}, 2).listed.size(), 2u);
}

// Weights whose bits are random, below 2; never infinite or NaN.
std::vector<uint8_t> RandomElements(DType dtype, int64_t count) {
  std::mt19937_64 random(static_cast<uint64_t>(dtype) + 1);
  std::vector<uint8_t> bytes(count * SizeOf(dtype));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  for (size_t k = SizeOf(dtype) - 1; k < bytes.size(); k += SizeOf(dtype)) bytes[k] &= 0xbf;
  return bytes;
}

TEST_F(EmulatedKernelsTest, EveryTypeAndScoreKindIsReadIncompleteBlocksToo) {
  constexpr int64_t kRows = 70, kColumns = 136;
  std::vector<float> norms(kColumns);
  for (int64_t j = 0; j < kColumns; ++j) norms[j] = static_cast<float>(1 + j % 5) / 4;
  norms[3] = 0;
  for (const DType dtype : kAllDTypes) {
    const auto elements = RandomElements(dtype, kRows * kColumns);
    for (const Pattern pattern : {Pattern{8, 16}, {10, 20}, {17, 35}, {32, 64}}) {
      for (const bool normed : {false, true}) {
        SCOPED_TRACE(testing::Message() << NameOf(dtype) << " M = " << pattern.m << " " << normed);
        Problem problem = Optimal(pattern);
        problem.dtype = dtype;
        if (normed) problem.score_kind = ScoreKind::kMagnitudeTimesColumnNorm;
        const float* const of_columns = normed ? norms.data() : nullptr;
        const SolvedMatrix solved =
            EmulatePass(problem, elements.data(), kRows, kColumns, of_columns).solved;
        const SolveStats found = solved.Total();
        const SolveStats wanted =
            SolveWholeMatrix(*cpu_, problem, elements.data(), kRows, kColumns, of_columns).Total();
        EXPECT_NEAR(found.score_sum, wanted.score_sum, 1e-12 * wanted.score_sum);
        EXPECT_NEAR(found.value, wanted.value, 1e-9 * wanted.value);
        EXPECT_LE(found.relative_gap(), 1e-9);
        EXPECT_EQ(found.blocks_proven, wanted.blocks);
        int64_t kept = 0;
        for (const uint8_t byte : solved.mask) kept += std::popcount(byte);
        EXPECT_EQ(found.kept, kept);
      }
    }
  }
}

TEST_F(EmulatedKernelsTest, TheOrderInWhichThreadsRunDecidesNothing) {
  using device_emulation::ThreadOrder;
  for (const Pattern pattern : {Pattern{4, 8}, {16, 32}, {32, 64}}) {
    for (const WeightKind kind : {WeightKind::kColumnScaled, WeightKind::kInt2}) {
      const EmulatedPass forward = Judge(kind, pattern, 4);
      for (const ThreadOrder order : {ThreadOrder::kBackward, ThreadOrder::kShuffled}) {
        device_emulation::SetThreadOrder(order);
        const EmulatedPass other = Judge(kind, pattern, 4);
        device_emulation::SetThreadOrder(ThreadOrder::kForward);
        EXPECT_EQ(other.solved.mask, forward.solved.mask);
        EXPECT_EQ(other.solved.potentials, forward.solved.potentials);
        EXPECT_EQ(other.solved.Total().augmentations, forward.solved.Total().augmentations);
      }
    }
  }
}

}  // namespace
}  // namespace tsenor
