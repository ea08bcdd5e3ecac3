#include <algorithm>
#include <cstdint>

#include "solver/cuda/kernels/collect.h"

namespace tsenor::cuda {
namespace {

// The part of one block row that a pass solves.
struct RowSpan {
  const PassTile* placed;
  int64_t number;  // of the block row within its tile
  int64_t first;   // of its blocks: the pass solves first .. end - 1
  int64_t end;
  int64_t index;  // of block `first` in the workspace
};

// Number `k` of the block rows of the pass's tiles. Its span is empty if the pass does not reach
// it.
__device__ RowSpan SpanOf(const Pass& pass, int64_t k) {
  const PassTile& placed = pass.TileOf(k, &PassTile::first_row);
  RowSpan span;
  span.placed = &placed;
  span.number = k - placed.first_row;
  const int64_t first_block = placed.first_block + span.number * placed.blocks_per_row;
  span.first = max(pass.first_block - first_block, int64_t{0});
  span.end = min(pass.first_block + pass.blocks - first_block, placed.blocks_per_row);
  span.index = first_block + span.first - pass.first_block;
  return span;
}

// The bits of columns `first` .. `end` - 1, which lie in one byte of mask row `i` of a block row.
__device__ uint32_t BitsOf(const Pass& pass, const RowSpan& span, int64_t i, int64_t first,
                           int64_t end) {
  const int m = pass.problem.pattern.m, words = MaskWords(m);
  int64_t block = first / m - span.first;
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
  const int64_t span_end = min(span.end * m, tile.columns);
  const int64_t step = int64_t{gridDim.y} * kPackThreads;
  int64_t byte = span.first * m / 8 + int64_t{blockIdx.y} * kPackThreads + threadIdx.x;
  for (; 8 * byte < span_end; byte += step) {
    const int64_t first = max(8 * byte, span.first * m), end = min(8 * byte + 8, span_end);
    const bool begun = first > 8 * byte;  // by the pass before
    for (int64_t i = 0; i < rows; ++i) {
      uint8_t* const at = tile.mask + (row + i) * tile.mask_row_stride + byte;
      const uint32_t bits = BitsOf(pass, span, i, first, end);
      *at = static_cast<uint8_t>(begun ? *at | bits : bits);
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
  SolveStats* const target = span.placed->tile.stats + span.number;
  SolveStats stats;
  if (span.first > 0) stats = *target;  // begun by the pass before
  const int64_t blocks = span.end - span.first;
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
  if (lane == 0) *target = stats;
}

}  // namespace

cudaError_t LaunchCollect(const Pass& pass, cudaStream_t stream) {
  // So many CTAs a block row that short ones are wide enough; longer rows are looped over.
  constexpr int64_t kMostCtasPerRow = 64;
  const int64_t ctas = (MaskRowBytes(pass.columns) + kPackThreads - 1) / kPackThreads;
  const dim3 pack_grid(static_cast<unsigned>(pass.rows),
                       static_cast<unsigned>(std::min(ctas, kMostCtasPerRow)));
  PackMasks<<<pack_grid, kPackThreads, 0, stream>>>(pass);
  constexpr int kRowsPerCta = kSumThreads / 32;
  const auto sum_grid = static_cast<unsigned>((pass.rows + kRowsPerCta - 1) / kRowsPerCta);
  SumBlockRows<<<sum_grid, kSumThreads, 0, stream>>>(pass);
  return cudaGetLastError();
}

}  // namespace tsenor::cuda
