// Blocks of 4 x 4: every mask is tried, one block a thread.
#pragma once

#include <cuda_runtime_api.h>

#include "solver/cuda/kernels/pass.h"

namespace tsenor::cuda {

// Enqueues on `stream` the kernel that writes mask and stats of all tiles of the pass, without
// workspace. Scores are summed and compared in float64, so that the search is the proof: the bound
// is the value. Where a tile wants potentials, its stats keep the bound that is there: these
// potentials'.
//
// Deterministic: a block row's stats are summed in an order that depends on its width alone.
//
// REQUIRES: m = 4, 0 < n < 4; pass.first_block = 0, pass.blocks those of all its tiles.
cudaError_t LaunchExhaustive(const Pass& pass, cudaStream_t stream);

}  // namespace tsenor::cuda
