// The scores of a wide patch (primitives/wide_patch.cuh), as they are loaded.
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/pass.h"
#include "solver/cuda/primitives/elements.cuh"
#include "solver/cuda/primitives/patch_view.cuh"
#include "solver/cuda/primitives/wide_patch.cuh"

namespace tsenor::cuda {

// Reads one block, a quarter of it at a time.
template <typename Element>
class WideReader {
 public:
  __device__ WideReader(const Pass& pass, const PatchView& view)
      : tile_(view.placed->tile),
        m_(pass.problem.pattern.m),
        normed_(pass.problem.score_kind == ScoreKind::kMagnitudeTimesColumnNorm),
        column_(view.column(m_)),
        rows_(static_cast<int>(min(int64_t{m_}, tile_.rows - view.row(m_)))),
        columns_(static_cast<int>(min(int64_t{m_}, tile_.columns - column_))),
        first_(static_cast<const Bits*>(tile_.weights) + view.row(m_) * tile_.row_stride + column_),
        whole_(rows_ == WideScores::kLines && columns_ == WideScores::kLines &&
               reinterpret_cast<uintptr_t>(tile_.weights) % sizeof(Neighbours<Bits, 8>) == 0 &&
               tile_.row_stride * sizeof(Bits) % alignof(Neighbours<Bits, 8>) == 0) {}

  // Those that exist.
  __device__ int rows() const { return rows_; }
  __device__ int columns() const { return columns_; }

  // The scores of the thread's entries in patch (r, c); 0 where there is none.
  __device__ void Read(int r, int c, float (&score)[4][8]) const {
    const WidePlace place;
    const int row = place.row(4 * r), column = place.column(8 * c);
    if (whole_) {
      Neighbours<Bits, 8> octet[4];
      const Bits* at = first_ + row * tile_.row_stride + column;
#pragma unroll
      for (int k = 0; k < 4; ++k, at += tile_.row_stride) {
        octet[k] = *reinterpret_cast<const Neighbours<Bits, 8>*>(at);
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int j = 0; j < 8; ++j) score[k][j] = fabsf(Element::ToFloat(octet[k].element[j]));
      }
    } else {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const Bits* const at = first_ + (row + k) * tile_.row_stride + column;
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          const bool exists = row + k < rows_ && column + j < columns_;
          score[k][j] = exists ? fabsf(Element::ToFloat(at[j])) : 0.0f;
        }
      }
    }
    if (!normed_) return;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const float norm = column + j < columns_ ? tile_.column_norms[column_ + column + j] : 0.0f;
#pragma unroll
      for (int k = 0; k < 4; ++k) score[k][j] *= norm;
    }
  }

 private:
  using Bits = typename Element::Bits;

  const Tile& tile_;
  const int m_;
  const bool normed_;
  const int64_t column_;  // of the first entry within the tile
  const int rows_, columns_;
  const Bits* const first_;
  const bool whole_;
};

}  // namespace tsenor::cuda
