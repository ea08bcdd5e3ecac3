// The general kernel: Method::kOptimal for every pattern, element type and score kind.
#pragma once

#include <cuda_runtime_api.h>

#include "solver/cuda/kernels/pass.h"

namespace tsenor::cuda {

// Shared memory of a CTA, in bytes, for blocks of m x m.
size_t GeneralSharedBytes(int m);

// Enqueues on `stream` the kernel that fills in the pass's results and masks, and the potentials of
// the tiles that want them. One CTA a block, one thread a line.
//
// REQUIRES: 1 <= m <= 128, pass.blocks >= 1, GeneralSharedBytes(m) available to a CTA.
cudaError_t LaunchGeneral(const Pass& pass, cudaStream_t stream);

}  // namespace tsenor::cuda
