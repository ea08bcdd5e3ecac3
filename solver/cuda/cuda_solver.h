// The CUDA backend: all methods on NVIDIA GPUs of compute capability 8.0 and later.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "solver/solver.h"

namespace tsenor {

// GPUs that this process can use; 0 where there is no driver, too.
int CudaDeviceCount();

// A solver on GPU number `device`, "cuda:<device>".
//
// Takes batches in host memory, which it stages and solves in pieces before Solve() returns, and in
// device memory, which it solves on the batch's stream. There, an internal error that would leave a
// block without an optimum leaves it with a feasible mask that does not count as proven, and a
// stream that is being captured into a graph takes at most 32 tiles, and not Method::kMaxRandom.
//
// Errors: NotFound if there is no such GPU; FailedPrecondition if it is too old; Unavailable if it
// does not answer.
absl::StatusOr<std::unique_ptr<Solver>> MakeCudaSolver(int device);

}  // namespace tsenor
