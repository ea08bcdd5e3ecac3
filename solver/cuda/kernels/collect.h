// From the workspace to the caller: masks as rows of bits, stats by block row.
#pragma once

#include <cuda_runtime_api.h>

#include "solver/cuda/kernels/pass.h"

namespace tsenor::cuda {

// Enqueues on `stream`, after the kernel that solved the pass's blocks, what writes their bits to
// Tile::mask and adds their results to Tile::stats. Passes of the same tiles must follow each other
// in the order of their blocks: a block row that one pass ends within is continued by the next.
//
// Deterministic: a block row's stats are summed in the order of its blocks.
cudaError_t LaunchCollect(const Pass& pass, cudaStream_t stream);

}  // namespace tsenor::cuda
