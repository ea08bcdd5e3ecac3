// From transport plans to masks: the second half of TSENOR (arXiv 2505.23949).
#pragma once

#include <cuda_runtime_api.h>

#include "solver/cuda/kernels/pass.h"

namespace tsenor::cuda {

// Enqueues on `stream` the kernel that rounds pass.plans to pass.masks: greedily by descending
// plan, ties by descending score, then row by row; then at most TsenorOptions::swaps swaps a block.
// REQUIRES: 0 < n < m; the plans are there.
cudaError_t LaunchRounding(const Pass& pass, cudaStream_t stream);

}  // namespace tsenor::cuda
