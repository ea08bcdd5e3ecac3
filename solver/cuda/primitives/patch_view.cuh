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
  // Whether all of its blocks lie in the tile, with all of their m lines.
  template <int kBlock>
  __device__ bool Inside(int m) const {
    const int lines = kPatchLines / kBlock * m;
    return row(m) + lines <= placed->tile.rows && column(m) + lines <= placed->tile.columns;
  }
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

// Neighbouring elements in one access of up to 16 bytes, or in some.
template <typename BitsType, int kCount>
struct alignas(kCount * sizeof(BitsType) < 16 ? kCount * sizeof(BitsType) : 16) Neighbours {
  BitsType element[kCount];

  // Whether they may be read at any multiple of kCount elements from the start of a tile's rows.
  static __device__ bool AreAligned(const Tile& tile) {
    return (reinterpret_cast<uintptr_t>(tile.weights) |
            static_cast<uintptr_t>(tile.row_stride) * sizeof(BitsType)) %
               alignof(Neighbours) ==
           0;
  }
};

// The line of the matrix, counted from the patch's first, that lies in line `line` of the patch; -1
// beyond line m of a block.
template <int kBlock>
__device__ int Line(int line, int m) {
  return line % kBlock < m ? line / kBlock * m + line % kBlock : -1;
}

// Weights whose magnitudes are the scores of a thread's entries, in the layout of
// primitives/patch.cuh. Those beyond the tile are 0, and so are those beyond line m of a block.
// kWhole: m is kBlock.
template <typename Element, int kBlock, bool kWhole>
__device__ void LoadPatch(const Pass& pass, const PatchView& view, float (&weight)[4][8]) {
  using Bits = typename Element::Bits;
  const PatchPlace place;
  const Tile& tile = view.placed->tile;
  const int m = kWhole ? kBlock : pass.problem.pattern.m;
  const int64_t row = view.row(m), column = view.column(m);
  const Bits* const first = static_cast<const Bits*>(tile.weights) + row * tile.row_stride + column;
  constexpr int kTogether = kWhole ? 8 : 4;
  using Together = Neighbours<Bits, kTogether>;
  if (view.Inside<kBlock>(m) && m % kTogether == 0 && Together::AreAligned(tile)) {
    Together read[4][8 / kTogether] = {};
    const Bits* at = first + Line<kBlock>(place.row(0), m) * tile.row_stride;
#pragma unroll
    for (int k = 0; k < 4; ++k, at += tile.row_stride) {
#pragma unroll
      for (int c = 0; c < 8 / kTogether; ++c) {
        const int x = Line<kBlock>(place.column(kTogether * c), m);
        if (!kWhole && (x < 0 || place.row(k) % kBlock >= m)) continue;
        read[k][c] = *reinterpret_cast<const Together*>(at + x);
      }
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        weight[k][j] = Element::ToFloat(read[k][j / kTogether].element[j % kTogether]);
      }
    }
  } else {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int64_t i = Line<kBlock>(place.row(k), m);
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const int64_t x = Line<kBlock>(place.column(j), m);
        const bool exists = i >= 0 && x >= 0 && row + i < tile.rows && column + x < tile.columns;
        weight[k][j] = exists ? Element::ToFloat(first[i * tile.row_stride + x]) : 0.0f;
      }
    }
  }
  if (pass.problem.score_kind != ScoreKind::kMagnitudeTimesColumnNorm) return;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const int64_t x = Line<kBlock>(place.column(j), m);
    const float norm = x >= 0 && column + x < tile.columns ? tile.column_norms[column + x] : 0.0f;
#pragma unroll
    for (int k = 0; k < 4; ++k) weight[k][j] *= norm;
  }
}

}  // namespace tsenor::cuda
