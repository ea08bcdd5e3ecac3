// Value and bound of a wide patch's mask (solver/certificate.h) in float64: the arithmetic of
// patch_certificate.cuh, each thread for the entries that it holds (primitives/wide_patch.cuh).
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/patch_certificate.cuh"
#include "solver/cuda/kernels/wide_finish.cuh"
#include "solver/cuda/primitives/wide_patch.cuh"

namespace tsenor::cuda {

// Sums over the block.
struct WideCertificate {
  double value;
  double gap;
  double score_sum;
};

// Of the mask in `lines`, with the potentials of this lane's two rows and columns. kWhole: m is 64.
// All lanes call it, and all get the sums.
template <bool kWhole>
__device__ WideCertificate CertifyWide(WideScores scores, const WideLines& lines,
                                       const double (&row_potential)[2],
                                       const double (&column_potential)[2], int n, int m) {
  const WidePlace place;
  double sum = 0, signed_sum = 0, distance = 0;
#pragma unroll 1
  for (int patch = 0; patch < 4; ++patch) {
    const int r = patch / 2, c = patch % 2;
    // What the owner of a line has for it.
    double column[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      column[j] =
          __shfl_sync(~0u, c == 0 ? column_potential[0] : column_potential[1], 8 * place.t + j);
    }
    const auto of_row =
        static_cast<uint32_t>((r == 0 ? lines.row_kept[0] : lines.row_kept[1]) >> 32 * c);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int owner = 4 * place.g + k;
      const double row = __shfl_sync(~0u, r == 0 ? row_potential[0] : row_potential[1], owner);
      const uint32_t dropped = ~__shfl_sync(~0u, of_row, owner) >> 8 * place.t;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float4 quad = scores.quad(place, 4 * r + k, 2 * c + h);
        const float score[4] = {quad.x, quad.y, quad.z, quad.w};
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          if (!kWhole && (32 * r + owner >= m || place.column(8 * c + 4 * h + j) >= m)) continue;
          const double entry = static_cast<double>(score[j]);
          const double residual = entry - column[4 * h + j] - row;
          sum += entry;
          const double signed_residual = WithSign(residual, dropped, 4 * h + j);
          distance += fabs(signed_residual);
          signed_sum += signed_residual;
        }
      }
    }
  }
  // Lines beyond m have potentials that belong to nothing.
  const int lane = threadIdx.x % 32;
  double potentials = 0;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    if (kWhole || lane + 32 * h < m) potentials += row_potential[h] + column_potential[h];
  }
  double value = sum + signed_sum + (2 * n - m) * potentials, gap = distance - signed_sum;
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    value += __shfl_xor_sync(~0u, value, lanes);
    gap += __shfl_xor_sync(~0u, gap, lanes);
    sum += __shfl_xor_sync(~0u, sum, lanes);
  }
  return {.value = 0.5 * value, .gap = 0.5 * gap, .score_sum = sum};
}

}  // namespace tsenor::cuda
