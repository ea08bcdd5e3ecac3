#include <algorithm>
#include <cstdint>

#include "solver/cuda/kernels/collect.h"
#include "solver/cuda/kernels/launch_dependent.cuh"
#include "solver/cuda/primitives/block_view.cuh"
#include "solver/cuda/primitives/instructions.cuh"

namespace tsenor::cuda {
namespace {

// One block row of the pass's tiles.
struct RowSpan {
  const PassTile* placed;
  int64_t number;  // within its tile
  int64_t index;   // of its first block in the workspace
};

// Number `k` of the block rows.
__device__ RowSpan SpanOf(const Pass& pass, int64_t k) {
  const PassTile& placed = pass.TileOf(k, &PassTile::first_row);
  const int64_t number = k - placed.first_row;
  return {&placed, number, placed.first_block + number * placed.blocks_per_row - pass.first_block};
}

// The bits of columns `first` .. `end` - 1, which lie in one byte of mask row `i` of a block row.
__device__ uint32_t BitsOf(const Pass& pass, const RowSpan& span, int64_t i, int64_t first,
                           int64_t end) {
  const int m = pass.problem.pattern.m, words = MaskWords(m);
  int64_t block = first / m;
  int j = static_cast<int>(first % m);
  uint32_t bits = 0;
  for (int64_t column = first; column < end; ++column) {
    const uint32_t word = pass.masks[((span.index + block) * m + i) * words + j / 32];
    bits |= (word >> (j % 32) & 1) << (column % 8);
    if (++j < m) continue;
    j = 0;
    ++block;
  }
  return bits;
}

// Writes the bytes of a mask: the CTAs (x, .) own block row first_row + x, a thread some of its
// byte columns, in all rows of the block. Reads a word or two a byte, out of the second-level
// cache.
constexpr int kPackThreads = 256;

__global__ void __launch_bounds__(kPackThreads) PackMasks(const __grid_constant__ Pass pass) {
  const RowSpan span = SpanOf(pass, pass.first_row + blockIdx.x);
  const int m = pass.problem.pattern.m;
  const Tile& tile = span.placed->tile;
  const int64_t row = span.number * m, rows = min(static_cast<int64_t>(m), tile.rows - row);
  const int64_t step = int64_t{gridDim.y} * kPackThreads;
  int64_t byte = int64_t{blockIdx.y} * kPackThreads + threadIdx.x;
  for (; 8 * byte < tile.columns; byte += step) {
    const int64_t end = min(8 * byte + 8, tile.columns);
    for (int64_t i = 0; i < rows; ++i) {
      tile.mask[(row + i) * tile.mask_row_stride + byte] =
          static_cast<uint8_t>(BitsOf(pass, span, i, 8 * byte, end));
    }
  }
}

__device__ void Add(const BlockResult& result, SolveStats& stats) {
  stats.value += result.value;
  stats.bound += result.bound;
  stats.score_sum += result.score_sum;
  stats.kept += result.kept;
  stats.blocks += 1;
  stats.blocks_proven += result.proven;
  stats.blocks_short += result.falls_short;
  stats.sweeps += result.sweeps;
  stats.augmentations += result.augmentations;
}

// Adds up one block row: warp w of the grid owns block row first_row + w. Its lanes fetch 32
// results at a time, and all of them add these up one after another.
constexpr int kSumThreads = 128;

__global__ void __launch_bounds__(kSumThreads) SumBlockRows(const __grid_constant__ Pass pass) {
  __shared__ BlockResult fetched[kSumThreads];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  BlockResult* const of_warp = fetched + threadIdx.x / 32 * 32;
  const int64_t row = (int64_t{blockIdx.x} * kSumThreads + threadIdx.x) / 32;
  if (row >= pass.rows) return;
  const RowSpan span = SpanOf(pass, pass.first_row + row);
  SolveStats stats;
  const int64_t blocks = span.placed->blocks_per_row;
  for (int64_t at = 0; at < blocks; at += 32) {
    const int count = static_cast<int>(min(int64_t{32}, blocks - at));
    if (lane < count) {
      of_warp[lane] = pass.results[span.index + at + lane];
      if (of_warp[lane].unsolved) atomicAdd(pass.unsolved, 1);
    }
    __syncwarp();
    for (int k = 0; k < count; ++k) Add(of_warp[k], stats);
    __syncwarp();
  }
  if (lane == 0) span.placed->tile.stats[span.number] = stats;
}

__device__ void Add(const PartResult& part, SolveStats& stats) {
  stats.value += part.value;
  stats.bound += part.bound;
  stats.score_sum += part.score_sum;
  stats.kept += part.kept;
  stats.blocks += part.proven;
  stats.blocks_proven += part.proven;
  stats.sweeps += part.sweeps;
  stats.augmentations += part.augmentations;
}

// The same where parts are summed already. Lane l of a warp adds up the parts l, l + 32, ... of its
// block row, with their listed blocks, and the lanes are added as a butterfly.
__global__ void __launch_bounds__(kSumThreads) SumParts(const __grid_constant__ Pass pass) {
  AllowNextKernel();
  WaitForKernelBefore();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t row = (int64_t{blockIdx.x} * kSumThreads + threadIdx.x) / 32;
  if (row >= pass.rows) return;
  const RowSpan span = SpanOf(pass, pass.first_row + row);
  const PassTile& placed = *span.placed;
  const PartResult* const parts = pass.parts + PartIndex(pass, placed, span.number, 0);
  SolveStats stats;
#pragma unroll 4
  for (int64_t p = lane; p < placed.patches_per_row; p += 32) {
    const PartResult part = parts[p];
    Add(part, stats);
    for (uint32_t listed = part.listed; listed != 0; listed &= listed - 1) {
      const int64_t block = p * PatchBlocks(pass.problem.pattern.m) + __ffs(listed) - 1;
      const BlockResult& result = pass.results[span.index + block];
      Add(result, stats);
      if (result.unsolved) atomicAdd(pass.unsolved, 1);
    }
  }
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const auto add = [lanes](auto& sum) { sum += __shfl_xor_sync(~0u, sum, lanes); };
    add(stats.value);
    add(stats.bound);
    add(stats.score_sum);
    add(stats.kept);
    add(stats.blocks);
    add(stats.blocks_proven);
    add(stats.sweeps);
    add(stats.augmentations);
  }
  if (lane == 0) placed.tile.stats[span.number] = stats;
}

__global__ void ClearCounts(const __grid_constant__ Pass pass, bool first) {
  AllowNextKernel();
  WaitForKernelBefore();
  *pass.hard_count = 0;
  *pass.odd_count = 0;
  if (first) *pass.unsolved = 0;
}

}  // namespace

cudaError_t LaunchClearCounts(const Pass& pass, bool first, cudaStream_t stream) {
  return LaunchDependent(ClearCounts, 1, 1, 0, stream, pass, first);
}

cudaError_t LaunchCollect(const Pass& pass, cudaStream_t stream) {
  if (!pass.WritesMasks()) {
    // So many CTAs a block row that short ones are wide enough; longer rows are looped over.
    constexpr int64_t kMostCtasPerRow = 64;
    const int64_t ctas = (MaskRowBytes(pass.columns) + kPackThreads - 1) / kPackThreads;
    const dim3 pack_grid(static_cast<unsigned>(pass.rows),
                         static_cast<unsigned>(std::min(ctas, kMostCtasPerRow)));
    PackMasks<<<pack_grid, kPackThreads, 0, stream>>>(pass);
  }
  constexpr int kRowsPerCta = kSumThreads / 32;
  const auto sum_grid = static_cast<unsigned>((pass.rows + kRowsPerCta - 1) / kRowsPerCta);
  if (pass.parts != nullptr) {
    return LaunchDependent(SumParts, sum_grid, kSumThreads, 0, stream, pass);
  }
  SumBlockRows<<<sum_grid, kSumThreads, 0, stream>>>(pass);
  return cudaGetLastError();
}

}  // namespace tsenor::cuda
