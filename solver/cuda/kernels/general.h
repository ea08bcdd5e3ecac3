// The general kernel: Method::kOptimal for every pattern, element type and score kind.
#pragma once

#include <cuda_runtime_api.h>

#include "solver/cuda/kernels/pass.h"

namespace tsenor::cuda {

// Threads of a CTA, and its shared memory in bytes, for blocks of m x m.
int GeneralThreads(int m);
size_t GeneralSharedBytes(int m);

// Enqueues on `stream` the kernel that fills in the pass's results and masks, and the potentials of
// the tiles that want them.
//
// REQUIRES: 1 <= m <= 128, pass.blocks >= 1, GeneralSharedBytes(m) available to a CTA.
cudaError_t LaunchGeneral(const Pass& pass, cudaStream_t stream);

// Some of a pass's blocks, in device memory, in any order: their indices in the workspace (block
// number minus Pass::first_block). How many there are, only the device knows.
struct BlockList {
  const uint32_t* blocks;
  const uint32_t* count;
};

// The same for the blocks of `list` alone, as it is when the kernel starts. What is found for a
// block does not depend on the list. Costs a launch if the list is empty.
//
// REQUIRES: as above; the list names no block twice, and none beyond pass.blocks.
cudaError_t LaunchGeneralOnList(const Pass& pass, const BlockList& list, cudaStream_t stream);

}  // namespace tsenor::cuda
