// Where a patch (primitives/patch.cuh) lies, and its scores.
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/pass.h"
#include "solver/cuda/primitives/elements.cuh"
#include "solver/cuda/primitives/patch.cuh"

namespace tsenor::cuda {

// A patch of the pass. Its blocks have m lines each; in the patch they begin every kBlock lines.
struct PatchView {
  const PassTile* placed;
  int block_row;     // of its first block within the tile
  int block_column;  // the same

  // Of its first entry within the tile.
  __device__ int64_t row(int m) const { return int64_t{block_row} * m; }
  __device__ int64_t column(int m) const { return int64_t{block_column} * m; }
};

// Patch `number` of the pass's tiles.
template <int kBlock>
__device__ PatchView LocatePatch(const Pass& pass, int64_t number) {
  constexpr int kBlocks = kPatchLines / kBlock;
  const PassTile& placed = pass.TileOf(number, &PassTile::first_patch);
  // A tile has fewer than 2^32 patches, and a 64-bit division takes a hundred instructions.
  const auto in_tile = static_cast<uint32_t>(number - placed.first_patch);
  const auto per_row = static_cast<uint32_t>(placed.patches_per_row);
  return {&placed, static_cast<int>(in_tile / per_row * kBlocks),
          static_cast<int>(in_tile % per_row * kBlocks)};
}

// Eight neighbouring elements in one or two accesses.
template <typename BitsType>
struct alignas(sizeof(BitsType) < 4 ? 8 * sizeof(BitsType) : 16) Octet {
  BitsType element[8];
};

// The line of the matrix, counted from the patch's first, that lies in line `line` of the patch; -1
// beyond line m of a block.
template <int kBlock>
__device__ int Line(int line, int m) {
  return line % kBlock < m ? line / kBlock * m + line % kBlock : -1;
}

// The scores of a thread's entries, in the layout of primitives/patch.cuh. Those beyond the tile
// are 0, and so are those beyond line m of a block.
template <typename Element, int kBlock>
__device__ void LoadPatch(const Pass& pass, const PatchView& view, float (&score)[4][8]) {
  using Bits = typename Element::Bits;
  const PatchPlace place;
  const Tile& tile = view.placed->tile;
  const int m = pass.problem.pattern.m;
  const int64_t row = view.row(m), column = view.column(m);
  const Bits* const first = static_cast<const Bits*>(tile.weights) + row * tile.row_stride + column;
  const bool whole = m == kBlock && row + kPatchLines <= tile.rows &&
                     column + kPatchLines <= tile.columns &&
                     reinterpret_cast<uintptr_t>(tile.weights) % sizeof(Octet<Bits>) == 0 &&
                     tile.row_stride * sizeof(Bits) % alignof(Octet<Bits>) == 0;
  if (whole) {
    Octet<Bits> octet[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      octet[k] = *reinterpret_cast<const Octet<Bits>*>(first + place.row(k) * tile.row_stride +
                                                       place.column(0));
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int j = 0; j < 8; ++j) score[k][j] = fabsf(Element::ToFloat(octet[k].element[j]));
    }
  } else {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int64_t i = Line<kBlock>(place.row(k), m);
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const int64_t x = Line<kBlock>(place.column(j), m);
        const bool exists = i >= 0 && x >= 0 && row + i < tile.rows && column + x < tile.columns;
        score[k][j] = exists ? fabsf(Element::ToFloat(first[i * tile.row_stride + x])) : 0.0f;
      }
    }
  }
  if (pass.problem.score_kind != ScoreKind::kMagnitudeTimesColumnNorm) return;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const int64_t x = Line<kBlock>(place.column(j), m);
    const float norm = x >= 0 && column + x < tile.columns ? tile.column_norms[column + x] : 0.0f;
#pragma unroll
    for (int k = 0; k < 4; ++k) score[k][j] *= norm;
  }
}

}  // namespace tsenor::cuda
