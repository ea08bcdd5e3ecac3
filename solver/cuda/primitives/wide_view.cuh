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

  // Weights of the thread's entries in one patch, as they are in memory.
  using Bits = typename Element::Bits;
  struct Raw {
    Neighbours<Bits, 8> row[4];
  };

  // Begins to read patch (r, c) = (patch / 2, patch % 2): the reads go on while the warp does
  // something else, until Finish().
  __device__ Raw Begin(int patch) const {
    Raw raw = {};
    if (!whole_) return raw;
    const Bits* at = first_ + Row(patch) * tile_.row_stride + Column(patch);
#pragma unroll
    for (int k = 0; k < 4; ++k, at += tile_.row_stride) raw.row[k] = Load(at);
    return raw;
  }

  // The scores of the thread's entries in the patch; 0 where there is none.
  __device__ void Finish(int patch, const Raw& raw, float (&score)[4][8]) const {
    const int row = Row(patch), column = Column(patch);
    if (whole_) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int j = 0; j < 8; ++j) score[k][j] = fabsf(Element::ToFloat(raw.row[k].element[j]));
      }
    } else {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const Bits* const at = first_ + (row + k) * tile_.row_stride + column;
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          const bool exists = row + k < rows_ && column + j < columns_;
          score[k][j] = exists ? fabsf(Element::ToFloat(__ldg(at + j))) : 0.0f;
        }
      }
    }
    if (!normed_) return;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const float norm =
          column + j < columns_ ? __ldg(tile_.column_norms + column_ + column + j) : 0.0f;
#pragma unroll
      for (int k = 0; k < 4; ++k) score[k][j] *= norm;
    }
  }

 private:
  // Of the thread's first entry in a patch.
  static __device__ int Row(int patch) { return WidePlace().row(patch / 2 * 4); }
  static __device__ int Column(int patch) { return WidePlace().column(patch % 2 * 8); }

  // In accesses of sixteen bytes, or of eight for bytes. Weights are read-only: so these may
  // overtake what is written to shared memory.
  static __device__ Neighbours<Bits, 8> Load(const Bits* at) {
    Neighbours<Bits, 8> elements;
    if constexpr (sizeof(Bits) == 1) {
      *reinterpret_cast<uint2*>(&elements) = __ldg(reinterpret_cast<const uint2*>(at));
    } else {
      constexpr int kAccesses = sizeof(elements) / sizeof(uint4);
#pragma unroll
      for (int k = 0; k < kAccesses; ++k) {
        reinterpret_cast<uint4*>(&elements)[k] = __ldg(reinterpret_cast<const uint4*>(at) + k);
      }
    }
    return elements;
  }

  const Tile& tile_;
  const int m_;
  const bool normed_;
  const int64_t column_;  // of the first entry within the tile
  const int rows_, columns_;
  const Bits* const first_;
  const bool whole_;
};

}  // namespace tsenor::cuda
