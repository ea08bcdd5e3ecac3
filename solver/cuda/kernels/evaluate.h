// What the masks of methods other than OPTIMAL are worth.
#pragma once

#include <cuda_runtime_api.h>

#include "solver/cuda/kernels/pass.h"

namespace tsenor::cuda {

// Enqueues on `stream`, after the kernel that wrote pass.masks, what evaluates them into
// pass.results. There, bound and score sum of a transposable method must be those that the
// optimum's kernel found. For kRowNm and kColumnNm these, too, are found here, and the potentials:
// the least score that a line keeps.
cudaError_t LaunchEvaluate(const Pass& pass, cudaStream_t stream);

}  // namespace tsenor::cuda
