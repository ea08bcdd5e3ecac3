// The methods that look at the order of scores alone: kTwoApprox, kBiNm, kRowNm and kColumnNm.
#pragma once

#include <cuda_runtime_api.h>

#include "solver/cuda/kernels/pass.h"

namespace tsenor::cuda {

// Enqueues on `stream` the kernel that writes the masks of the pass's blocks to pass.masks: those
// of the cpu backend, to the bit. REQUIRES: one of these methods; 0 < n < m, but for kRowNm and
// kColumnNm.
cudaError_t LaunchHeuristics(const Pass& pass, cudaStream_t stream);

}  // namespace tsenor::cuda
