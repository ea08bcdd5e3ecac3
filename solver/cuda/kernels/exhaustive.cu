#include <cstdint>

#include "solver/cuda/kernels/exhaustive.h"
#include "solver/cuda/primitives/block_view.cuh"
#include "solver/cuda/primitives/elements.cuh"
#include "solver/cuda/primitives/search.cuh"

namespace tsenor::cuda {
namespace {

constexpr int kM = 4;
constexpr int kThreads = 128;  // a CTA; 16 of them fit an H200's multiprocessor

// Sums over blocks.
struct Sums {
  double value = 0;
  double score_sum = 0;
  int kept = 0;
};

// A block row of one of the pass's tiles.
struct Strip {
  const PassTile* placed;
  int64_t number;  // within its tile
  int rows;        // that exist
};

__device__ Strip StripOf(const Pass& pass, int64_t k) {
  const PassTile& placed = pass.TileOf(k, &PassTile::first_row);
  const int64_t number = k - placed.first_row;
  const int64_t rows = min(int64_t{kM}, placed.tile.rows - number * kM);
  return {&placed, number, static_cast<int>(rows)};
}

// Four neighbouring elements in one access.
template <typename Bits>
struct alignas(kM * sizeof(Bits)) Quad {
  Bits element[kM];
};

// The scores (i, column + j) of a strip; those that do not exist are 0. `whole`: rows of the tile
// are aligned to quads.
template <typename Element>
__device__ void LoadBlock(const Pass& pass, const Strip& strip, int64_t column, bool whole,
                          double (&row)[kM][kM]) {
  using Bits = typename Element::Bits;
  const Tile& tile = strip.placed->tile;
  const int columns = static_cast<int>(min(int64_t{kM}, tile.columns - column));
  const bool given = pass.problem.score_kind == ScoreKind::kGiven;
  const bool normed = pass.problem.score_kind == ScoreKind::kMagnitudeTimesColumnNorm;
  float norm[kM];
#pragma unroll
  for (int j = 0; j < kM; ++j) {
    norm[j] = normed && j < columns ? tile.column_norms[column + j] : 1.0f;
  }
  const Bits* const first =
      static_cast<const Bits*>(tile.weights) + strip.number * kM * tile.row_stride + column;
#pragma unroll
  for (int i = 0; i < kM; ++i) {
    Quad<Bits> quad = {};
    const Bits* const at = first + i * tile.row_stride;
    if (i < strip.rows && whole) {
      quad = *reinterpret_cast<const Quad<Bits>*>(at);
    } else if (i < strip.rows) {
#pragma unroll
      for (int j = 0; j < kM; ++j) {
        if (j < columns) quad.element[j] = at[j];
      }
    }
#pragma unroll
    for (int j = 0; j < kM; ++j) {
      const float element = Element::ToFloat(quad.element[j]);
      row[i][j] = static_cast<double>(Finite(given ? element : fabsf(element) * norm[j]));
    }
  }
}

// Writes the bits of two neighbouring blocks, held by two neighbouring lanes: the even lane those
// of rows 0 and 1, the odd one those of rows 2 and 3, a byte a row. `mask` holds entries that
// exist.
__device__ void StoreMask(const Strip& strip, int64_t block, uint32_t mask) {
  const Tile& tile = strip.placed->tile;
  const uint32_t other = __shfl_xor_sync(~0u, mask, 1);
  const bool odd = block % 2 != 0;
  const uint32_t left = odd ? other : mask, right = odd ? mask : other;
  const int64_t byte = block / 2;
  if (8 * byte >= tile.columns) return;
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const int i = odd ? 2 + k : k;
    if (i >= strip.rows) continue;
    const uint32_t bits = (left >> 4 * i & 15) | (right >> 4 * i & 15) << 4;
    tile.mask[(strip.number * kM + i) * tile.mask_row_stride + byte] = static_cast<uint8_t>(bits);
  }
}

// Bits of the entries of a 4 x 4 block that exist.
__device__ uint32_t ExistingEntries(int64_t columns, int rows) {
  const uint32_t of_row = columns >= kM ? 15 : columns <= 0 ? 0 : (1u << columns) - 1;
  return of_row * 0x1111 & (rows == kM ? 0xffff : (1u << 4 * rows) - 1);
}

// Adds up what the CTA's threads hold, by halves: the same order in every run. The answer is thread
// 0's.
__device__ Sums SumOfThreads(const Sums& sums) {
  __shared__ double value[kThreads], score_sum[kThreads];
  __shared__ int kept[kThreads];
  const int k = static_cast<int>(threadIdx.x);
  value[k] = sums.value;
  score_sum[k] = sums.score_sum;
  kept[k] = sums.kept;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (k >= half) continue;
    value[k] += value[k + half];
    score_sum[k] += score_sum[k + half];
    kept[k] += kept[k + half];
  }
  return {value[0], score_sum[0], kept[0]};
}

// A CTA owns a block row, its thread t the blocks t, t + kThreads, ... Every weight is read once
// from device memory, and a bit written for it.
template <typename Element, int kN>
__global__ void __launch_bounds__(kThreads) ExhaustiveKernel(const __grid_constant__ Pass pass) {
  const Strip strip = StripOf(pass, blockIdx.x);
  const Tile& tile = strip.placed->tile;
  constexpr uintptr_t kQuadBytes = sizeof(Quad<typename Element::Bits>);
  const bool whole = reinterpret_cast<uintptr_t>(tile.weights) % kQuadBytes == 0 &&
                     tile.row_stride % kM == 0 && tile.columns % kM == 0;
  const int64_t blocks = strip.placed->blocks_per_row;
  Sums sums;
  for (int64_t first = 0; first < blocks; first += kThreads) {
    const int64_t block = first + threadIdx.x;
    uint32_t mask = 0;
    if (block < blocks) {
      double row[kM][kM];
      LoadBlock<Element>(pass, strip, block * kM, whole, row);
      double total = 0;
#pragma unroll
      for (const auto& scores : row) total += (scores[0] + scores[1]) + (scores[2] + scores[3]);
      const Candidate best = BestMask<kN>(row, total);
      mask = best.mask & ExistingEntries(tile.columns - block * kM, strip.rows);
      sums.value += best.sum;
      sums.score_sum += total;
      sums.kept += __popc(mask);
    }
    StoreMask(strip, block, mask);
  }
  const Sums of_row = SumOfThreads(sums);
  if (threadIdx.x > 0) return;
  SolveStats& stats = tile.stats[strip.number];
  const double bound = tile.potentials != nullptr ? stats.bound : of_row.value;
  stats = SolveStats();
  stats.value = of_row.value;
  stats.bound = bound;
  stats.score_sum = of_row.score_sum;
  stats.kept = of_row.kept;
  stats.blocks = stats.blocks_proven = blocks;
}

template <typename Element>
void Launch(const Pass& pass, unsigned rows, cudaStream_t stream) {
  switch (pass.problem.pattern.n) {
    case 1:
      ExhaustiveKernel<Element, 1><<<rows, kThreads, 0, stream>>>(pass);
      break;
    case 2:
      ExhaustiveKernel<Element, 2><<<rows, kThreads, 0, stream>>>(pass);
      break;
    default:
      ExhaustiveKernel<Element, 3><<<rows, kThreads, 0, stream>>>(pass);
  }
}

}  // namespace

cudaError_t LaunchExhaustive(const Pass& pass, cudaStream_t stream) {
  const auto rows = static_cast<unsigned>(pass.rows);
  switch (pass.problem.dtype) {
    case DType::kFloat32:
      Launch<Float32Element>(pass, rows, stream);
      break;
    case DType::kFloat16:
      Launch<Float16Element>(pass, rows, stream);
      break;
    case DType::kBFloat16:
      Launch<BFloat16Element>(pass, rows, stream);
      break;
    case DType::kFloat8E4M3:
      Launch<Float8E4M3Element>(pass, rows, stream);
      break;
    case DType::kFloat8E5M2:
      Launch<Float8E5M2Element>(pass, rows, stream);
      break;
  }
  return cudaGetLastError();
}

}  // namespace tsenor::cuda
