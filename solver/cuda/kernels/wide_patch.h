// The wide kernel: Method::kOptimal for 32 < M <= 64, for blocks without many ties or wild scores.
#pragma once

#include <cuda_runtime_api.h>

#include "solver/cuda/kernels/pass.h"
#include "solver/cuda/kernels/wide_schedule.h"

namespace tsenor::cuda {

// As LaunchPatches() (kernels/patch.h), which does the same for smaller blocks.
//
// REQUIRES: 0 < n < m, 32 < m <= 64; schedules of WideSchedulesFor(n, m).
cudaError_t LaunchWidePatches(const Pass& pass, const WideSchedules& schedules,
                              cudaStream_t stream);

}  // namespace tsenor::cuda
