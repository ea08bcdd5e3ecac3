// The patch kernel: nearly all patches. Others it leaves to odd_patches.cu, so that the
// instructions of what is common fit into their cache: with the others' in between, it took a tenth
// longer.
#include <cstdint>

#include "solver/cuda/kernels/launch_dependent.cuh"
#include "solver/cuda/kernels/odd_patches.h"
#include "solver/cuda/kernels/patch.h"
#include "solver/cuda/kernels/patch_solver.cuh"
#include "solver/cuda/primitives/instructions.cuh"

namespace tsenor::cuda {
namespace {

template <typename Element, int kBlock>
__global__ void __launch_bounds__(32 * kPatchWarps, kPatchCtas)
    PatchKernel(const __grid_constant__ Pass pass, const __grid_constant__ PatchSchedules schedules,
                uint32_t patches) {
  __shared__ PatchMemory<kBlock> memory[kPatchWarps];
  AllowNextKernel();
  WaitForKernelBefore();
  const int warp = threadIdx.x / 32;
  const uint32_t number = blockIdx.x * kPatchWarps + warp;
  if (number >= patches) return;
  PatchSolver<Element, kBlock, true, true> solver(pass, schedules, pass.first_patch + number,
                                                  memory[warp]);
  if (!solver.Run() && threadIdx.x % 32 == 0) {
    pass.odd_patches[atomicAdd(pass.odd_count, 1u)] = number;
  }
}

template <typename Element, int kBlock>
cudaError_t LaunchBlock(const Pass& pass, const PatchSchedules& schedules, cudaStream_t stream) {
  const auto patches = static_cast<uint32_t>(pass.patches);
  const unsigned ctas = (patches + kPatchWarps - 1) / kPatchWarps;
  return LaunchDependent(PatchKernel<Element, kBlock>, ctas, 32 * kPatchWarps, 0, stream, pass,
                         schedules, patches);
}

template <typename Element>
cudaError_t Launch(const Pass& pass, const PatchSchedules& schedules, cudaStream_t stream) {
  switch (pass.problem.pattern.m) {
    case 8:
      return LaunchBlock<Element, 8>(pass, schedules, stream);
    case 16:
      return LaunchBlock<Element, 16>(pass, schedules, stream);
    default:
      return LaunchBlock<Element, 32>(pass, schedules, stream);
  }
}

cudaError_t LaunchPlainPatches(const Pass& pass, const PatchSchedules& schedules,
                               cudaStream_t stream) {
  switch (pass.problem.dtype) {
    case DType::kFloat32:
      return Launch<Float32Element>(pass, schedules, stream);
    case DType::kFloat16:
      return Launch<Float16Element>(pass, schedules, stream);
    case DType::kBFloat16:
      return Launch<BFloat16Element>(pass, schedules, stream);
    case DType::kFloat8E4M3:
      return Launch<Float8E4M3Element>(pass, schedules, stream);
    case DType::kFloat8E5M2:
      return Launch<Float8E5M2Element>(pass, schedules, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace

cudaError_t LaunchPatches(const Pass& pass, const PatchSchedules& schedules, cudaStream_t stream) {
  const int m = pass.problem.pattern.m;
  if (m != PatchBlock(m)) return LaunchOddPatches(pass, schedules, /*listed=*/false, stream);
  const cudaError_t error = LaunchPlainPatches(pass, schedules, stream);
  if (error != cudaSuccess) return error;
  return LaunchOddPatches(pass, schedules, /*listed=*/true, stream);
}

}  // namespace tsenor::cuda
