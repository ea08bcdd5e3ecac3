// From the workspace to the caller: masks as rows of bits, stats by block row.
#pragma once

#include <cuda_runtime_api.h>

#include "solver/cuda/kernels/pass.h"

namespace tsenor::cuda {

// Enqueues on `stream` what sets the counts of hard blocks and odd patches to 0, and before the
// `first` pass that of unsolved blocks. A kernel: the next one starts sooner after it than after a
// memset.
cudaError_t LaunchClearCounts(const Pass& pass, bool first, cudaStream_t stream);

// Enqueues on `stream`, after the kernel that solved the pass's blocks, what writes their bits to
// Tile::mask, unless the patch kernel has, and what adds up their results into Tile::stats.
//
// Deterministic: in an order that depends on a block row's length alone.
cudaError_t LaunchCollect(const Pass& pass, cudaStream_t stream);

}  // namespace tsenor::cuda
