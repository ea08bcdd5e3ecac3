// Value and bound of a block's mask (solver/certificate.h) in float64, a lane a row.
//
// With r = w - a_i - b_j, a kept entry adds max(-r, 0) to the gap between bound and value, a
// dropped one max(r, 0): with s the sign of being kept, both are (|r| - s r) / 2. The value is half
// of sum w + sum s w, where sum s w = sum s r + (2 n - m) sum(a + b) over a block with n entries
// kept in every line. So an entry takes five additions and no comparison.
#pragma once

#include <cstdint>

namespace tsenor::cuda {

// s r: the residual, or what it is less than 0 if bit k of `dropped` is set. (A product with 1 or
// -1 would take two more instructions, to make that number.)
inline __device__ double WithSign(double residual, uint32_t dropped, int k) {
  const auto sign = static_cast<int>(dropped << (31 - k) & 0x80000000);
  return __hiloint2double(__double2hiint(residual) ^ sign, __double2loint(residual));
}

// A lane's part of the sums over a block.
struct Certificate {
  double value = 0;
  double gap = 0;
  double score_sum = 0;
};

// The part of a row: its m scores, score(c) being those of columns 4 c to 4 c + 3; the potentials
// of the row and of the columns; bit j of `kept`: the entry of column j. The lane's column, of the
// same number as its row, counts as its own, too: of `columns`, the potential at threadIdx.x %
// kBlock. kWhole: m is kBlock.
template <int kBlock, bool kWhole, typename Score>
__device__ Certificate CertifyLine(Score score, const double* columns, double row_potential,
                                   uint32_t kept, int n, int m) {
  double sum = 0, signed_sum = 0, distance = 0;
  uint32_t dropped = ~kept;
#pragma unroll 2
  for (int c = 0; c < kBlock / 4; ++c) {
    const float4 quad = score(c);
    const float entries[4] = {quad.x, quad.y, quad.z, quad.w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (!kWhole && 4 * c + j >= m) break;
      const double entry = static_cast<double>(entries[j]);
      const double residual = entry - columns[4 * c + j] - row_potential;
      sum += entry;
      const double signed_residual = WithSign(residual, dropped, j);
      distance += fabs(signed_residual);
      signed_sum += signed_residual;
    }
    dropped >>= 4;
  }
  const double potentials = (2 * n - m) * (row_potential + columns[threadIdx.x % kBlock]);
  return {.value = 0.5 * (sum + signed_sum + potentials),
          .gap = 0.5 * (distance - signed_sum),
          .score_sum = sum};
}

}  // namespace tsenor::cuda
