// The CUDA backend's kernels on this machine's processor (tests/support/device_emulation): what
// they solve, and what they leave to each other. The emulation fails where threads do not meet.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "solver/certificate.h"
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
    SCOPED_TRACE(testing::Message() << Name(kind) << " " << pattern.n << ":" << pattern.m);
    const int64_t columns = blocks * pattern.m;
    const auto weights = GenerateBlocks(kind, pattern.m, blocks, 11);
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
    const Tile tile = {.weights = weights.data(),
                       .row_stride = columns,
                       .rows = pattern.m,
                       .columns = columns,
                       .mask = pass.solved.mask.data(),
                       .mask_row_stride = MaskRowBytes(columns),
                       .potentials = pass.solved.potentials.data()};
    const MaskCertificate certificate = Certify(problem, tile);
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
  for (const Pattern pattern :
       {Pattern{4, 8}, {3, 7}, {8, 16}, {10, 20}, {16, 32}, {32, 64}, {40, 80}}) {
    for (const WeightKind kind : kAllWeightKinds) {
      Judge(kind, pattern, pattern.m <= 32 ? 8 : 2);
      if (HasFailure()) return;
    }
  }
}

TEST_F(EmulatedKernelsTest, ThePatchKernelLeavesTiesAndNothingElse) {
  EXPECT_TRUE(Judge(WeightKind::kGaussian, {16, 32}, 32).listed.empty());
  EXPECT_TRUE(Judge(WeightKind::kBFloat16, {8, 16}, 32).listed.empty());
  EXPECT_EQ(Judge(WeightKind::kConstant, {16, 32}, 4).listed.size(), 4u);
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
