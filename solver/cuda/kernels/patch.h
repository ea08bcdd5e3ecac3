// The patch kernels: Method::kOptimal for M <= 32.
#pragma once

#include <cuda_runtime_api.h>

#include "solver/cuda/kernels/pass.h"
#include "solver/cuda/kernels/patch_schedule.h"

namespace tsenor::cuda {

// Enqueues on `stream` the kernels (this one, and kernels/odd_patches.h) that solve the pass's
// blocks but for the hard ones, which they add to the list. They write potentials (where wanted),
// the sums of the parts, and masks: to the workspace, or, if m is a multiple of 8, to where they
// belong (0 for the hard blocks).
//
// REQUIRES: 0 < n < m <= 32; schedules of SchedulesFor(n, m).
cudaError_t LaunchPatches(const Pass& pass, const PatchSchedules& schedules, cudaStream_t stream);

}  // namespace tsenor::cuda
