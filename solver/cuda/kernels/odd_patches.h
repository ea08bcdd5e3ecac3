// Any patch: with ties or outliers, cut by the end of a tile, of blocks that do not fill their
// place.
#pragma once

#include <cuda_runtime_api.h>

#include "solver/cuda/kernels/pass.h"
#include "solver/cuda/kernels/patch_schedule.h"

namespace tsenor::cuda {

// What LaunchPatches() does, for all patches of the pass, or for those that are `listed` as odd.
cudaError_t LaunchOddPatches(const Pass& pass, const PatchSchedules& schedules, bool listed,
                             cudaStream_t stream);

}  // namespace tsenor::cuda
