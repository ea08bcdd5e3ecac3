#include <cstdint>

#include "solver/cuda/kernels/block_solver.cuh"
#include "solver/cuda/kernels/block_state.cuh"
#include "solver/cuda/kernels/general.h"
#include "solver/cuda/kernels/launch_dependent.cuh"
#include "solver/cuda/primitives/group.cuh"
#include "solver/cuda/primitives/instructions.cuh"

namespace tsenor::cuda {
namespace {

// Threads of a CTA. Blocks of up to 32 x 32 share one, so that the limit of CTAs on a
// multiprocessor does not limit its warps.
template <int kWidth>
inline constexpr int kThreadsPerCta = kWidth <= 32 ? 128 : kWidth;

template <int kWidth>
inline constexpr int kBlocksPerCta = kThreadsPerCta<kWidth> / kWidth;

// CTAs that shall fit on a multiprocessor at a time: caps the registers of a thread at 64 for small
// blocks, which wait for each other's steps less the more warps there are.
template <int kWidth>
inline constexpr int kLeastCtas = kWidth <= 32 ? 8 : 1;

// Blocks that share a warp lie as many banks apart as they are wide, so that their lines do not
// compete for banks.
template <int kWidth>
__host__ __device__ size_t SharedBytesPerBlock(int m) {
  constexpr size_t kBanks = 32, kWord = 4;
  const size_t words = sizeof(BlockState<kWidth>) / kWord + Entries<kWidth>::Words(m);
  const size_t aligned = (words + kBanks - 1) / kBanks * kBanks;
  return kWord * (aligned + kWidth % kBanks);
}

extern __shared__ __align__(16) unsigned char shared_memory[];

// Solves the blocks of `list`, or all blocks of the pass if list.blocks is null, a group of threads
// one at a time. The groups of a CTA take each next one together: they share the instructions that
// the cache holds (2^-(i + j) at 16:32: 6 % less time than each at its own pace).
template <int kWidth>
__global__ void __launch_bounds__(kThreadsPerCta<kWidth>, kLeastCtas<kWidth>)
    GeneralKernel(const __grid_constant__ Pass pass, BlockList list) {
  AllowNextKernel();
  WaitForKernelBefore();
  constexpr int kBlocks = kBlocksPerCta<kWidth>;
  const int group = kBlocks == 1 ? 0 : static_cast<int>(threadIdx.x) / kWidth;
  unsigned char* const memory =
      shared_memory + group * SharedBytesPerBlock<kWidth>(pass.problem.pattern.m);
  auto& state = *reinterpret_cast<BlockState<kWidth>*>(memory);
  auto* const entries = reinterpret_cast<int32_t*>(memory + sizeof(BlockState<kWidth>));
  const int64_t count = list.blocks == nullptr ? pass.blocks : *list.count;
  const int64_t step = int64_t{gridDim.x} * kBlocks;
  for (int64_t first = int64_t{blockIdx.x} * kBlocks; first < count; first += step) {
    const int64_t k = first + group;
    if (k >= count) return;  // the barrier does without it
    const int64_t index = list.blocks == nullptr ? k : list.blocks[k];
    BlockSolver<kWidth>(pass, index, state, entries).Run();
    __syncthreads();  // before the next block takes the memory, too
  }
}

template <int kWidth>
cudaError_t Launch(const Pass& pass, const BlockList& list, cudaStream_t stream) {
  constexpr int kBlocks = kBlocksPerCta<kWidth>;
  const auto kernel = GeneralKernel<kWidth>;
  const size_t shared_bytes = kBlocks * SharedBytesPerBlock<kWidth>(pass.problem.pattern.m);
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(shared_bytes));
  if (error != cudaSuccess) return error;
  auto ctas = static_cast<unsigned>((pass.blocks + kBlocks - 1) / kBlocks);
  if (list.blocks != nullptr) {
    error = LimitToResident(kernel, kThreadsPerCta<kWidth>, shared_bytes, ctas);
    if (error != cudaSuccess) return error;
    return LaunchDependent(kernel, ctas, kThreadsPerCta<kWidth>, shared_bytes, stream, pass, list);
  }
  kernel<<<ctas, kThreadsPerCta<kWidth>, shared_bytes, stream>>>(pass, list);
  return cudaGetLastError();
}

// Calls visit.template operator()<kWidth>() with the least width that holds blocks of m x m.
template <typename Visit>
auto VisitWidth(int m, Visit visit) {
  if (m <= 8) return visit.template operator()<8>();
  if (m <= 16) return visit.template operator()<16>();
  if (m <= 32) return visit.template operator()<32>();
  if (m <= 64) return visit.template operator()<64>();
  if (m <= 96) return visit.template operator()<96>();
  return visit.template operator()<128>();
}

}  // namespace

int GeneralThreads(int m) {
  return VisitWidth(m, [&]<int kWidth>() { return kThreadsPerCta<kWidth>; });
}

size_t GeneralSharedBytes(int m) {
  return VisitWidth(
      m, [&]<int kWidth>() { return kBlocksPerCta<kWidth> * SharedBytesPerBlock<kWidth>(m); });
}

cudaError_t LaunchGeneral(const Pass& pass, cudaStream_t stream) {
  return LaunchGeneralOnList(pass, BlockList{nullptr, nullptr}, stream);
}

cudaError_t LaunchGeneralOnList(const Pass& pass, const BlockList& list, cudaStream_t stream) {
  return VisitWidth(pass.problem.pattern.m,
                    [&]<int kWidth>() { return Launch<kWidth>(pass, list, stream); });
}

}  // namespace tsenor::cuda
