// One block of a pass: where it lies, and its scores.
#pragma once

#include <cfloat>
#include <cstdint>

#include "solver/cuda/kernels/pass.h"
#include "solver/cuda/primitives/elements.cuh"
#include "solver/cuda/primitives/line_set.cuh"

namespace tsenor::cuda {

struct BlockView {
  const Tile* tile;
  int64_t row;             // of its first entry within the tile
  int64_t column;          // the same
  int rows;                // that exist
  int columns;             // the same
  int64_t number_in_tile;  // blocks before it in the tile
};

// x / y, both >= 0: mostly in 32 bits, a quarter of the instructions.
inline __device__ int64_t Quotient(int64_t x, int64_t y) {
  if ((x | y) >> 32 != 0) return x / y;
  return static_cast<uint32_t>(x) / static_cast<uint32_t>(y);
}

// Block `number` of the pass's tiles.
inline __device__ BlockView Locate(const Pass& pass, int64_t number) {
  const int m = pass.problem.pattern.m;
  const PassTile& placed = pass.TileOf(number, &PassTile::first_block);
  const int64_t in_tile = number - placed.first_block;
  BlockView block;
  block.tile = &placed.tile;
  const int64_t block_row = Quotient(in_tile, placed.blocks_per_row);
  block.row = block_row * m;
  block.column = (in_tile - block_row * placed.blocks_per_row) * m;
  block.rows = static_cast<int>(min(static_cast<int64_t>(m), placed.tile.rows - block.row));
  block.columns =
      static_cast<int>(min(static_cast<int64_t>(m), placed.tile.columns - block.column));
  block.number_in_tile = in_tile;
  return block;
}

// Row `line` of a block's mask to where it belongs, if the row exists. REQUIRES: m is a multiple of
// 8 up to 64.
inline __device__ void StoreMaskRow(const BlockView& block, int line, uint64_t bits) {
  if (line >= block.rows) return;
  bits &= block.columns == 64 ? ~uint64_t{0} : (uint64_t{1} << block.columns) - 1;
  uint8_t* const at =
      block.tile->mask + (block.row + line) * block.tile->mask_row_stride + block.column / 8;
  for (int byte = 0; 8 * byte < block.columns; ++byte) {
    at[byte] = static_cast<uint8_t>(bits >> 8 * byte);
  }
}

// What no caller may pass (NaN, negative, infinite) becomes a score.
inline __device__ float Finite(float score) { return fminf(fmaxf(score, 0.0f), FLT_MAX); }

// One column of a block in memory: its scores are those of LoadScores() (solver/scores.h).
// Neighbouring threads that read neighbouring columns read coalesced.
class ColumnReader {
 public:
  // REQUIRES: 0 <= j < m.
  __device__ ColumnReader(const Pass& pass, const BlockView& block, int j)
      : dtype_(pass.problem.dtype),
        given_(pass.problem.score_kind == ScoreKind::kGiven),
        rows_(j < block.columns ? block.rows : 0),
        norm_(1) {
    const Tile& tile = *block.tile;
    const auto element_bytes = static_cast<int64_t>(SizeOf(dtype_));
    stride_ = tile.row_stride * element_bytes;
    first_ = static_cast<const char*>(tile.weights) + block.row * stride_ +
             (block.column + j) * element_bytes;
    const bool normed = pass.problem.score_kind == ScoreKind::kMagnitudeTimesColumnNorm;
    if (normed && rows_ > 0) norm_ = tile.column_norms[block.column + j];
  }

  // The scores of rows `row`, `row` + 1, .. as `scores`; 0 beyond the last row that exists.
  template <int kCount>
  __device__ void Read(int row, float (&scores)[kCount]) const {
    uint32_t bits[kCount];
    if (dtype_ == DType::kFloat32) {
      ReadBits<uint32_t>(row, bits);
#pragma unroll
      for (int k = 0; k < kCount; ++k) scores[k] = __uint_as_float(bits[k]);
    } else if (SizeOf(dtype_) == 2) {
      ReadBits<uint16_t>(row, bits);
      if (dtype_ == DType::kFloat16) {
        Convert<Float16Element>(bits, scores);
      } else {
        Convert<BFloat16Element>(bits, scores);
      }
    } else {
      ReadBits<uint8_t>(row, bits);
      if (dtype_ == DType::kFloat8E4M3) {
        Convert<Float8E4M3Element>(bits, scores);
      } else {
        Convert<Float8E5M2Element>(bits, scores);
      }
    }
#pragma unroll
    for (float& score : scores) score = Finite(given_ ? score : fabsf(score) * norm_);
  }

 private:
  template <typename Bits, int kCount>
  __device__ void ReadBits(int row, uint32_t (&bits)[kCount]) const {
    const char* from = first_ + row * stride_;
#pragma unroll
    for (int k = 0; k < kCount; ++k, from += stride_) {
      bits[k] = row + k < rows_ ? __ldg(reinterpret_cast<const Bits*>(from)) : 0;
    }
  }

  template <typename Element, int kCount>
  static __device__ void Convert(const uint32_t (&bits)[kCount], float (&elements)[kCount]) {
#pragma unroll
    for (int k = 0; k < kCount; ++k) {
      elements[k] = Element::ToFloat(static_cast<typename Element::Bits>(bits[k]));
    }
  }

  const DType dtype_;
  const bool given_;
  const int rows_;  // that exist
  const char* first_;
  int64_t stride_;  // bytes
  float norm_;
};

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

// Calls visit(i, score) for the scores (i, j), i < m, of column `j` < m of the block, in their
// order.
template <typename Visit>
__device__ void VisitColumn(const Pass& pass, const BlockView& block, int j, Visit visit) {
  const int m = pass.problem.pattern.m;
  const ColumnReader column(pass, block, j);
  for (int first = 0; first < m; first += kLinesAtATime) {
    float scores[kLinesAtATime];
    column.Read(first, scores);
#pragma unroll
    for (int k = 0; k < kLinesAtATime; ++k) {
      if (first + k < m) visit(first + k, scores[k]);
    }
  }
}

}  // namespace tsenor::cuda
