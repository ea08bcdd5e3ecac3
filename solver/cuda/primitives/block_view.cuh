// One block of a pass: where it lies, and its scores.
#pragma once

#include <cfloat>
#include <cstdint>

#include "solver/cuda/kernels/pass.h"
#include "solver/cuda/primitives/elements.cuh"

namespace tsenor::cuda {

struct BlockView {
  const Tile* tile;
  int64_t row;             // of its first entry within the tile
  int64_t column;          // the same
  int rows;                // that exist
  int columns;             // the same
  int64_t number_in_tile;  // blocks before it in the tile
};

// Block `number` of the pass's tiles.
inline __device__ BlockView Locate(const Pass& pass, int64_t number) {
  const int m = pass.problem.pattern.m;
  const PassTile& placed = pass.TileOf(number, &PassTile::first_block);
  const int64_t in_tile = number - placed.first_block;
  BlockView block;
  block.tile = &placed.tile;
  block.row = in_tile / placed.blocks_per_row * m;
  block.column = in_tile % placed.blocks_per_row * m;
  block.rows = static_cast<int>(min(static_cast<int64_t>(m), placed.tile.rows - block.row));
  block.columns =
      static_cast<int>(min(static_cast<int64_t>(m), placed.tile.columns - block.column));
  block.number_in_tile = in_tile;
  return block;
}

// What no caller may pass (NaN, negative, infinite) becomes a score.
inline __device__ float Finite(float score) { return score > 0 ? fminf(score, FLT_MAX) : 0.0f; }

template <typename Element, typename Visit>
__device__ void VisitColumnOf(const Pass& pass, const BlockView& block, int j, Visit visit) {
  const Tile& tile = *block.tile;
  const int m = pass.problem.pattern.m;
  const int rows = j < block.columns ? block.rows : 0;
  const auto* const first = static_cast<const typename Element::Bits*>(tile.weights) +
                            block.row * tile.row_stride + block.column + j;
  const bool given = pass.problem.score_kind == ScoreKind::kGiven;
  const bool normed = pass.problem.score_kind == ScoreKind::kMagnitudeTimesColumnNorm;
  const float norm = normed && rows > 0 ? tile.column_norms[block.column + j] : 1.0f;
#pragma unroll 4
  for (int i = 0; i < rows; ++i) {
    const float element = Element::ToFloat(first[i * tile.row_stride]);
    visit(i, Finite(given ? element : fabsf(element) * norm));
  }
  for (int i = rows; i < m; ++i) visit(i, 0.0f);
}

// Calls visit(i, score) for the scores (i, j), i < m, of column `j` < m of the block, in their
// order: those of LoadScores() (solver/scores.h). Neighbouring threads that visit neighbouring
// columns read coalesced.
template <typename Visit>
__device__ void VisitColumn(const Pass& pass, const BlockView& block, int j, Visit visit) {
  switch (pass.problem.dtype) {
    case DType::kFloat32:
      return VisitColumnOf<Float32Element>(pass, block, j, visit);
    case DType::kFloat16:
      return VisitColumnOf<Float16Element>(pass, block, j, visit);
    case DType::kBFloat16:
      return VisitColumnOf<BFloat16Element>(pass, block, j, visit);
    case DType::kFloat8E4M3:
      return VisitColumnOf<Float8E4M3Element>(pass, block, j, visit);
    case DType::kFloat8E5M2:
      return VisitColumnOf<Float8E5M2Element>(pass, block, j, visit);
  }
}

template <typename Element>
__device__ float ScoreOf(const Pass& pass, const BlockView& block, int i, int j) {
  const Tile& tile = *block.tile;
  const auto* const elements = static_cast<const typename Element::Bits*>(tile.weights);
  const float element =
      Element::ToFloat(elements[(block.row + i) * tile.row_stride + block.column + j]);
  if (pass.problem.score_kind == ScoreKind::kGiven) return Finite(element);
  const bool normed = pass.problem.score_kind == ScoreKind::kMagnitudeTimesColumnNorm;
  return Finite(fabsf(element) * (normed ? tile.column_norms[block.column + j] : 1.0f));
}

// The score of one entry, i, j < m; the same as VisitColumn()'s.
inline __device__ float ScoreAt(const Pass& pass, const BlockView& block, int i, int j) {
  if (i >= block.rows || j >= block.columns) return 0;
  switch (pass.problem.dtype) {
    case DType::kFloat32:
      return ScoreOf<Float32Element>(pass, block, i, j);
    case DType::kFloat16:
      return ScoreOf<Float16Element>(pass, block, i, j);
    case DType::kBFloat16:
      return ScoreOf<BFloat16Element>(pass, block, i, j);
    case DType::kFloat8E4M3:
      return ScoreOf<Float8E4M3Element>(pass, block, i, j);
    case DType::kFloat8E5M2:
      return ScoreOf<Float8E5M2Element>(pass, block, i, j);
  }
  return 0;
}

}  // namespace tsenor::cuda
