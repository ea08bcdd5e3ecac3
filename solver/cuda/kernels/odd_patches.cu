#include <cstdint>

#include "solver/cuda/kernels/launch_dependent.cuh"
#include "solver/cuda/kernels/odd_patches.h"
#include "solver/cuda/kernels/patch_solver.cuh"
#include "solver/cuda/primitives/instructions.cuh"

namespace tsenor::cuda {
namespace {

// A CTA solves kPatchWarps patches at a time of the list of odd ones, or of all. Its warps take
// each next one together: then the compiler knows that all lanes of a warp do, too, and does
// without a guard at every exchange between lanes (a quarter of the code); and they share the
// instructions that the cache holds.
template <typename Element, int kBlock, bool kWhole>
__global__ void __launch_bounds__(32 * kPatchWarps, kPatchCtas)
    OddPatchKernel(const __grid_constant__ Pass pass,
                   const __grid_constant__ PatchSchedules schedules, bool listed) {
  __shared__ PatchMemory<kBlock> memory[kPatchWarps];
  AllowNextKernel();
  WaitForKernelBefore();
  const int warp = threadIdx.x / 32;
  const uint32_t step = gridDim.x * kPatchWarps;
  const uint32_t count = listed ? *pass.odd_count : static_cast<uint32_t>(pass.patches);
  for (uint32_t first = blockIdx.x * kPatchWarps; first < count; first += step) {
    const uint32_t k = first + warp;
    if (k >= count) return;  // the barrier does without it
    const uint32_t number = listed ? pass.odd_patches[k] : k;
    PatchSolver<Element, kBlock, kWhole, false>(pass, schedules, pass.first_patch + number,
                                                memory[warp])
        .Run();
    __syncthreads();  // before the next patch takes the memory, too
  }
}

template <typename Element, int kBlock, bool kWhole>
cudaError_t LaunchBlock(const Pass& pass, const PatchSchedules& schedules, bool listed,
                        cudaStream_t stream) {
  const auto kernel = OddPatchKernel<Element, kBlock, kWhole>;
  auto ctas = static_cast<unsigned>((pass.patches + kPatchWarps - 1) / kPatchWarps);
  constexpr unsigned kThreads = 32 * kPatchWarps;
  if (listed) {
    const cudaError_t error = LimitToResident(kernel, kThreads, 0, ctas);
    if (error != cudaSuccess) return error;
  }
  return LaunchDependent(kernel, ctas, kThreads, 0, stream, pass, schedules, listed);
}

template <typename Element, int kBlock>
cudaError_t LaunchPlace(const Pass& pass, const PatchSchedules& schedules, bool listed,
                        cudaStream_t stream) {
  return pass.problem.pattern.m == kBlock
             ? LaunchBlock<Element, kBlock, true>(pass, schedules, listed, stream)
             : LaunchBlock<Element, kBlock, false>(pass, schedules, listed, stream);
}

template <typename Element>
cudaError_t Launch(const Pass& pass, const PatchSchedules& schedules, bool listed,
                   cudaStream_t stream) {
  switch (PatchBlock(pass.problem.pattern.m)) {
    case 8:
      return LaunchPlace<Element, 8>(pass, schedules, listed, stream);
    case 16:
      return LaunchPlace<Element, 16>(pass, schedules, listed, stream);
    default:
      return LaunchPlace<Element, 32>(pass, schedules, listed, stream);
  }
}

}  // namespace

cudaError_t LaunchOddPatches(const Pass& pass, const PatchSchedules& schedules, bool listed,
                             cudaStream_t stream) {
  switch (pass.problem.dtype) {
    case DType::kFloat32:
      return Launch<Float32Element>(pass, schedules, listed, stream);
    case DType::kFloat16:
      return Launch<Float16Element>(pass, schedules, listed, stream);
    case DType::kBFloat16:
      return Launch<BFloat16Element>(pass, schedules, listed, stream);
    case DType::kFloat8E4M3:
      return Launch<Float8E4M3Element>(pass, schedules, listed, stream);
    case DType::kFloat8E5M2:
      return Launch<Float8E5M2Element>(pass, schedules, listed, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace tsenor::cuda
