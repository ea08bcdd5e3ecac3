// The transport plans of TSENOR (arXiv 2505.23949): Dykstra's algorithm, in registers.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "solver/cuda/kernels/pass.h"

namespace tsenor::cuda {

// Plans are integers that are ordered like the shares S: 2^k (1 + f) as (k + f)
// 2^kPlanFractionBits, S = 1 is 0. What lies below 2^-kPlanRange is equal.
inline constexpr int kPlanFractionBits = 21;
inline constexpr int kPlanRange = 1016;

// Enqueues on `stream` the kernel that finds the plans of the pass's blocks, and writes them to
// pass.plans. REQUIRES: 0 < n < m.
cudaError_t LaunchEntropicPlans(const Pass& pass, cudaStream_t stream);

}  // namespace tsenor::cuda
