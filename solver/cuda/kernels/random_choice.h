// Method::kMaxRandom: the best of random masks (solver/random_masks.h).
#pragma once

#include <cuda_runtime_api.h>

#include "solver/cuda/kernels/pass.h"

namespace tsenor::cuda {

// Enqueues on `stream` the kernel that writes to pass.masks, for each block of the pass, the first
// of pass.random_masks that keeps most: that of the cpu backend. REQUIRES: 0 < n < m; the random
// masks are there.
cudaError_t LaunchRandomChoice(const Pass& pass, cudaStream_t stream);

}  // namespace tsenor::cuda
