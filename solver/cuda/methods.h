// The kernels of the methods other than OPTIMAL, in their order.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "absl/status/status.h"
#include "solver/cuda/kernels/pass.h"
#include "solver/problem.h"

namespace tsenor::cuda {

// Whether blocks are left to the method of the problem: it is not kOptimal, and the pattern leaves
// a choice.
bool HasMethodKernels(const Problem& problem);

// Bytes of the masks that Method::kMaxRandom chooses among; 0 with other methods.
int64_t RandomMaskBytes(const Problem& problem);

// Enqueues on `stream` the copy of these masks to the device, which ends before the call returns.
// Errors: Unavailable.
absl::Status CopyRandomMasks(const Problem& problem, uint8_t* on_device, cudaStream_t stream);

// Enqueues on `stream`, after the kernel that solved the blocks of a transposable method optimally,
// what replaces their masks by those of the method; bounds and potentials stay. Errors:
// Unavailable. REQUIRES: HasMethodKernels(pass.problem).
absl::Status EnqueueMethod(const Pass& pass, cudaStream_t stream);

}  // namespace tsenor::cuda
