// What the tables of sweeps are made of (patch_schedule.cc, wide_schedule.cc).
#pragma once

#include <cuda_fp16.h>

#include <cmath>
#include <cstdint>

namespace tsenor::cuda {

// One sweep of lines that are alike in scale.
struct EvenSweep {
  float tau;
  float row_limit, column_limit;  // tau times the farthest that an excess of one moves a potential
};

// One sweep of lines that are not.
struct ScaledSweep {
  float tau;
  float least_within;  // a line counts at least six times so many entries within reach
};

// Twice the same number, as a half2.
inline uint32_t Twice(float value) {
  const uint32_t half = __half_raw(__float2half(value)).x;
  return half << 16 | half;
}

// Entries of a Gaussian line of m per mean score, around a threshold of `center` mean scores.
inline float DensityAt(float center, int m) {
  // The density of |N(0, 1)| there, in units of its mean sqrt(2 / pi).
  constexpr float kMean = 0.79788456f;
  const float quantile = center * kMean;
  return static_cast<float>(m) * kMean * kMean * std::exp(-0.5f * quantile * quantile);
}

}  // namespace tsenor::cuda
