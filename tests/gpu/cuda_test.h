// What the tests of the CUDA backend share.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "solver/cpu/cpu_solver.h"
#include "solver/cuda/cuda_solver.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {

// A test with the first GPU, and the cpu backend to judge it by. Skips where there is no GPU.
class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    if (CudaDeviceCount() == 0) GTEST_SKIP() << "this machine has no GPU";
    auto cuda = MakeCudaSolver(0);
    ASSERT_TRUE(cuda.ok()) << cuda.status().ToString();
    cuda_ = *std::move(cuda);
    cpu_ = *MakeCpuSolver();
  }

  Solver& cuda() { return *cuda_; }
  Solver& cpu() { return *cpu_; }

 private:
  std::unique_ptr<Solver> cuda_, cpu_;
};

inline bool SameStats(const SolveStats& x, const SolveStats& y) {
  return x.value == y.value && x.bound == y.bound && x.score_sum == y.score_sum &&
         x.kept == y.kept && x.blocks == y.blocks && x.blocks_proven == y.blocks_proven &&
         x.blocks_short == y.blocks_short && x.sweeps == y.sweeps &&
         x.augmentations == y.augmentations;
}

inline void ExpectSameAnswer(const SolvedMatrix& x, const SolvedMatrix& y) {
  EXPECT_EQ(x.mask, y.mask);
  EXPECT_EQ(x.potentials, y.potentials);
  EXPECT_TRUE(std::equal(x.block_rows.begin(), x.block_rows.end(), y.block_rows.begin(),
                         y.block_rows.end(), SameStats));
}

}  // namespace tsenor
