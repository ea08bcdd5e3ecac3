// Wide patches in which many scores tie: potentials on which ties are exact, and tight entries kept
// where lines miss some, so that the finish has little left to do.
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/wide_finish.cuh"
#include "solver/cuda/kernels/wide_threshold.cuh"
#include "solver/cuda/primitives/wide_patch.cuh"

namespace tsenor::cuda {

// Moves potentials, in quanta in shared memory, such that entries that are near tight are tight
// exactly, as far as scores are whole multiples of `fine`: columns to multiples of `coarse` apart,
// then each row to its nearest entry. Both are powers of two, and so is what lies between: sums of
// potentials stay exact. The warp calls it between two barriers.
inline __device__ void SnapToTies(WideScores scores, float quanta, float fine, float coarse, int m,
                                  float* row_start, float* column_start) {
  const int lane = threadIdx.x % 32;
  const auto on_grid = [](float x, float grid) {
    const float magic = grid * 0x1.8p23f;
    return __fadd_rn(__fadd_rn(x, magic), -magic);
  };
  const float origin = column_start[0];
  __syncwarp();  // all have read it
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float& column = column_start[lane + 32 * h];
    column = origin + on_grid(column - origin, coarse);
  }
  __syncwarp();  // rows need all columns
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int i = lane + 32 * h;
    const float before = row_start[i];
    float nearest = before, distance = coarse;
#pragma unroll 4
    for (int j = 0; j < m; ++j) {
      const float tight = __fmaf_rn(scores.at(i, j), quanta, -column_start[j]);
      const float away = fabsf(tight - before);
      if (away < distance && tight == on_grid(tight, fine)) {
        nearest = tight;
        distance = away;
      }
    }
    if (i < m) row_start[i] = nearest;
  }
}

// Keeps entries that are tight in whole quanta where both lines miss some: row after row, in the
// columns that miss most, which leaves the least to repair. All lanes call it.
inline __device__ void FillTight(const WideThreshold& threshold, WideLines& lines) {
  const int lane = threadIdx.x % 32;
  const uint32_t before = (1u << lane) - 1;  // lanes
  int needed[2] = {-lines.ColumnExcess(0), -lines.ColumnExcess(1)};
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int missing = lines.RowMissing(r);
    uint32_t tight[2];  // of this lane's row, not kept
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      tight[c] = threshold.Near(r, c, 0.5f) & ~static_cast<uint32_t>(lines.row_kept[r] >> 32 * c);
    }
    for (uint32_t left = __ballot_sync(~0u, missing > 0); left != 0; left &= left - 1) {
      const int row = __ffs(static_cast<int>(left)) - 1;
      int wanted = __shfl_sync(~0u, missing, row);
      int key[2];  // of this lane's columns: what they need, while they may be taken
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const uint32_t of_row = __shfl_sync(~0u, tight[h], row);
        key[h] = of_row >> lane & 1 ? max(needed[h], 0) : 0;
      }
      uint32_t taken[2] = {0, 0};
      while (wanted > 0) {
        const int most = __reduce_max_sync(~0u, max(key[0], key[1]));
        if (most == 0) break;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const uint32_t equal = __ballot_sync(~0u, key[h] == most);
          const bool take = (equal >> lane & 1) && __popc(equal & before) < wanted;
          const uint32_t now = __ballot_sync(~0u, take);
          taken[h] |= now;
          wanted -= __popc(now);
          if (equal >> lane & 1) key[h] = 0;
        }
      }
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        if (lane == row) lines.row_kept[r] |= uint64_t{taken[h]} << 32 * h;
        if (taken[h] >> lane & 1) {
          lines.column_kept[h] |= uint64_t{1} << (row + 32 * r);
          --needed[h];
        }
      }
    }
  }
}

}  // namespace tsenor::cuda
