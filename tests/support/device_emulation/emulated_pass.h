// What the CUDA backend's kernels find in one pass, in the open: for tests and for development
// without a GPU. Programs that include it link tsenor_emulated_cuda.
#pragma once

#include <cstdint>
#include <vector>

#include "solver/cuda/kernels/pass.h"
#include "solver/problem.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {

struct EmulatedPass {
  SolvedMatrix solved;
  // Of the patch kernel, where it takes part (LaunchConfig::patches).
  std::vector<cuda::PartResult> parts;
  std::vector<uint32_t> listed;  // numbers of the blocks that it left to the general kernel
  // Of the general kernel: by block number, of the listed blocks, or of all without a patch kernel.
  std::vector<cuda::BlockResult> results;
  int32_t unsolved = 0;

  int64_t blocks() const { return static_cast<int64_t>(results.size()); }
  // Per block of those that the patch kernel solved itself; 0 if there are none.
  double AugmentationsOfParts() const;
};

// Solves `weights` (of problem.dtype, row-major, no gaps) as one pass: kernels that solve, and
// kernels that collect. REQUIRES: the matrix fits into one pass.
EmulatedPass EmulatePass(const Problem& problem, const void* weights, int64_t rows, int64_t columns,
                         const float* column_norms = nullptr);

}  // namespace tsenor
