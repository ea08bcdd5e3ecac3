// From potentials to the entries beyond them: a line a lane.
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/wide_finish.cuh"
#include "solver/cuda/primitives/wide_patch.cuh"

namespace tsenor::cuda {

// Scores and potentials in shared memory, these in quanta on a grid so coarse that the sum of two
// is exact. All lanes call every function.
class WideThreshold {
 public:
  // A score of 1 is `quanta` quanta.
  __device__ WideThreshold(WideScores scores, float quanta, const float* row_start,
                           const float* column_start, int m)
      : scores_(scores),
        quanta_(quanta),
        row_start_(row_start),
        column_start_(column_start),
        m_(m),
        lane_(threadIdx.x % 32) {}

  // Potentials and the entries beyond them, to the lanes of their lines; n are wanted in each.
  __device__ __forceinline__ void Keep(int n, WideLines& lines) const {
    uint32_t rows[2][2], columns[2][2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        // The sign of what is missing to the score.
        rows[r][c] = Row(r, c, [](float missing) { return missing; });
        columns[c][r] = TransposeBits(rows[r][c]);
      }
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int line = lane_ + 32 * h;
      lines.row_start[h] = row_start_[line];
      lines.column_start[h] = column_start_[line];
      lines.row_kept[h] = uint64_t{rows[h][1]} << 32 | rows[h][0];
      lines.column_kept[h] = uint64_t{columns[h][1]} << 32 | columns[h][0];
      lines.row_wanted[h] = lines.column_wanted[h] = n;
      if (line < m_) continue;
      // No line of the block: nothing can be entered or dropped.
      lines.row_wanted[h] = 0;
      lines.column_kept[h] = ~uint64_t{0};
      lines.column_wanted[h] = WideScores::kLines;
    }
  }

  // The entries of this lane's row of patch (r, c) that are as near to their potentials as `reach`.
  __device__ __forceinline__ uint32_t Near(int r, int c, float reach) const {
    return Row(r, c, [reach](float missing) { return fabsf(missing) - reach; });
  }

  // Whether so many entries are near that scores tie there, and not elsewhere alone. `mean`: a mean
  // score's power of two.
  __device__ bool ManyAreTight(float mean) const {
    constexpr float kReach = 1.0f / 128;
    constexpr int kEntries = 2;  // of a line; of Gaussian ones, 0.6
    int near = 0;
#pragma unroll
    for (int patch = 0; patch < 4; ++patch) {
      near += __popc(Near(patch / 2, patch % 2, mean * kReach));
    }
    return __reduce_add_sync(~0u, near) > kEntries * m_;
  }

 private:
  // The entries of this lane's row of patch (r, c) where value(missing) is negative, `missing`
  // being what the score misses to its potentials.
  template <typename Value>
  __device__ __forceinline__ uint32_t Row(int r, int c, Value value) const {
    const WidePlace place;
    const auto quad = [](const float* from) { return *reinterpret_cast<const float4*>(from); };
    const float4 rows = quad(row_start_ + place.row(4 * r));
    const float row[4] = {rows.x, rows.y, rows.z, rows.w};
    uint32_t bytes = 0;  // byte k: of the thread's row k
#pragma unroll
    for (int k = 3; k >= 0; --k) {
      uint32_t bits = 0;
#pragma unroll
      for (int h = 1; h >= 0; --h) {
        const float4 columns = quad(column_start_ + place.column(8 * c + 4 * h));
        const float4 entries = scores_.quad(place, 4 * r + k, 2 * c + h);
        const float column[4] = {columns.x, columns.y, columns.z, columns.w};
        const float score[4] = {entries.x, entries.y, entries.z, entries.w};
#pragma unroll
        for (int j = 3; j >= 0; --j) {
          const float missing = __fmaf_rn(-score[j], quanta_, row[k] + column[j]);
          bits = __funnelshift_l(__float_as_uint(value(missing)), bits, 1);
        }
      }
      bytes |= bits << 8 * k;
    }
    const int lines = min(max(m_ - 32 * c, 0), 32);  // that exist, of the patch's columns
    const uint32_t existing = lines == 32 ? ~0u : (1u << lines) - 1;
    const uint32_t of_row = RowsOfBits(bytes) & existing;
    return lane_ + 32 * r < m_ ? of_row : 0;
  }

  const WideScores scores_;
  const float quanta_;
  const float* const row_start_;
  const float* const column_start_;
  const int m_, lane_;
};

}  // namespace tsenor::cuda
