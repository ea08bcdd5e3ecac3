#include "solver/cpu/sweeps.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace tsenor::cpu {
namespace {

// One stage: `sweeps` sweeps at one tau, over-relaxed by `relaxation`; then tau grows by `growth`.
struct Stage {
  int sweeps;
  float relaxation;
  int growth;  // 1 (the last stage), 4 or 8
};

// Stages and the first tau, in units of 1 / mean score.
struct Schedule {
  float tau;
  int stages;
  Stage stage[4];
};

// Found by timed search on Gaussian and scaled scores. The more the lines differ in scale, the
// softer the start.
constexpr Schedule kEven = {18.0f, 2, {{2, 1.15f, 4}, {2, 1.15f, 1}}};
constexpr Schedule kEvenSparse = {7.0f, 2, {{2, 1.2f, 4}, {2, 1.15f, 1}}};  // n < m / 4
constexpr Schedule kEvenSmall = {15.0f, 1, {{3, 1.15f, 1}}};                // m <= 8
constexpr Schedule kScaled = {5.5f, 3, {{2, 1.3f, 4}, {2, 1.3f, 4}, {2, 1.15f, 1}}};
constexpr Schedule kScaledBothWays = {
    1.4f, 4, {{2, 1.1f, 4}, {2, 1.1f, 4}, {2, 1.3f, 8}, {3, 1.3f, 1}}};

constexpr float kEvenSpread = 0.6f;  // below: lines count as equal in scale
constexpr float kWideSpread = 1.5f;  // above, rows and columns: scaled both ways
constexpr float kLog2E = 1.442695041f;
constexpr float kGreatestExponent = 40;  // |log2 K|: products of K and both scales stay finite

template <int kWidth>
const Schedule& ScheduleFor(const Block<kWidth>& block) {
  const auto [least, greatest] = std::minmax(block.row_spread, block.column_spread);
  if (greatest < kEvenSpread) {
    if (block.m <= 8) return kEvenSmall;
    return 4 * block.n < block.m ? kEvenSparse : kEven;
  }
  return least > kWideSpread ? kScaledBothWays : kScaled;
}

// 2^x for |x| <= kGreatestExponent, within 2e-3: only the strength of the smoothing depends on it.
inline float RoughExp2(float x) {
  const int32_t floor = static_cast<int32_t>(x + 64.0f) - 64;  // truncation of a positive number
  const float fraction = x - static_cast<float>(floor);
  const float mantissa = (fraction * 0.34400111f + 0.65599889f) * fraction + 1.0f;
  return std::bit_cast<float>(std::bit_cast<int32_t>(mantissa) + floor * (1 << 23));
}

// log2(x) for normal x > 0, within 1e-4: a scale's last digits do not matter either.
inline float RoughLog2(float x) {
  const int32_t bits = std::bit_cast<int32_t>(x);
  const int32_t exponent =
      (bits - 0x3f3504f3) >> 23;  // so that the mantissa is in [sqrt(1/2), sqrt(2))
  const float z = std::bit_cast<float>(bits - exponent * (1 << 23)) - 1.0f;
  float p = z * 0.20772f - 0.3530f;
  p = p * z + 0.4787f;
  p = p * z - 0.7212f;
  p = p * z + 1.44268f;
  return p * z + static_cast<float>(exponent);
}

// kernel = 2^(tau (w - line - other)): lanes are the lines of `line`, steps those of `other`.
template <int kWidth>
void BuildKernel(float* kernel, const float* scores, const float* other, const float* line, int m,
                 float tau) {
  for (int k = 0; k < m; ++k) {
    for (int lane = 0; lane < kWidth; ++lane) {
      const float x = (scores[k * kWidth + lane] - other[k] - line[lane]) * tau;
      kernel[k * kWidth + lane] = RoughExp2(std::clamp(x, -kGreatestExponent, kGreatestExponent));
    }
  }
}

// One over-relaxed Newton step in the logarithm of every line's scale, towards m - n for the sum of
// 1 - S = 1 / (1 + K scale other), whose derivative is the sum of -S (1 - S).
template <int kWidth>
void ProjectLines(const float* kernel, const float* other, float* scale, int m, int n,
                  float relaxation) {
  constexpr int kLanes = std::min(kWidth, 16);  // few enough for sums to stay in registers
  constexpr float kLeastSlope = 2e-3f;          // a flat line takes the longest step
  constexpr float kLongestStep = 0.3125f;       // a factor of 1.3125^8 = 8.8
  for (int first = 0; first < kWidth; first += kLanes) {
    float inverse[kLanes], sum[kLanes] = {}, squares[kLanes] = {};
    for (int lane = 0; lane < kLanes; ++lane) inverse[lane] = 1.0f / scale[first + lane];
    for (int k = 0; k < m; ++k) {
      const float* row = kernel + k * kWidth + first;
      for (int lane = 0; lane < kLanes; ++lane) {
        const float q = 1.0f / (row[lane] * other[k] + inverse[lane]);
        sum[lane] += q;
        squares[lane] += q * q;
      }
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const float rest = sum[lane] * inverse[lane];
      const float slope = rest - squares[lane] * inverse[lane] * inverse[lane];
      float step = (rest - static_cast<float>(m - n)) * relaxation / std::max(slope, kLeastSlope);
      step = std::clamp(step * 0.125f, -kLongestStep, kLongestStep);
      float factor = 1.0f + step;  // exp(8 step), near enough
      factor *= factor;
      factor *= factor;
      factor *= factor;
      scale[first + lane] *= factor;
    }
  }
}

// kernel = (kernel * scales)^growth: absorbs the scales and multiplies tau by `growth` at once.
template <int kWidth>
void GrowKernel(float* kernel, const float* other, const float* scale, int m, int growth) {
  // The greatest power stays inside 2^kGreatestExponent times what the next scales need.
  const float bound = growth == 8 ? 0x1p14f : 0x1p20f;
  for (int k = 0; k < m; ++k) {
    float* row = kernel + k * kWidth;
    for (int lane = 0; lane < kWidth; ++lane) {
      float x = std::clamp(row[lane] * other[k] * scale[lane], 1.0f / bound, bound);
      x *= x;
      x *= x;
      if (growth == 8) x *= x;
      row[lane] = x;
    }
  }
}

// potential -= log(scale) / tau; scale = 1.
template <int kWidth>
void AbsorbScales(float* potential, float* scale, float tau) {
  const float step = 1.0f / tau;
  for (int lane = 0; lane < kWidth; ++lane) {
    potential[lane] -= RoughLog2(scale[lane]) * step;
    scale[lane] = 1.0f;
  }
}

}  // namespace

float QuantileFactor(int n, int m) {
  // erfc(x / sqrt 2) is the share of magnitudes above x; bisection: once per problem, not per
  // block.
  double low = 0, high = 6;
  for (int k = 0; k < 60; ++k) {
    const double middle = 0.5 * (low + high);
    (std::erfc(middle / std::sqrt(2.0)) > static_cast<double>(n) / m ? low : high) = middle;
  }
  return static_cast<float>(low * std::sqrt(std::acos(-1.0) / 2));
}

template <int kWidth>
SweepResult Sweep(Block<kWidth>& block, float quantile_factor) {
  const int m = block.m;
  // Start: a line's mean (found while loading) times the quantile factor.
  for (int k = 0; k < kWidth; ++k) {
    block.row_potential[k] = (block.row_potential[k] - block.mean) * quantile_factor;
    block.column_potential[k] *= quantile_factor;
    block.row_scale[k] = block.column_scale[k] = 1.0f;
  }
  const Schedule& schedule = ScheduleFor(block);
  float tau = schedule.tau * kLog2E / block.mean;
  BuildKernel<kWidth>(block.kernel, block.scores, block.row_potential, block.column_potential, m,
                      tau);
  BuildKernel<kWidth>(block.kernel_t, block.scores_t, block.column_potential, block.row_potential,
                      m, tau);
  int sweeps = 0;
  for (int s = 0; s < schedule.stages; ++s) {
    const Stage& stage = schedule.stage[s];
    for (int k = 0; k < stage.sweeps; ++k, ++sweeps) {
      ProjectLines<kWidth>(block.kernel_t, block.column_scale, block.row_scale, m, block.n,
                           stage.relaxation);
      ProjectLines<kWidth>(block.kernel, block.row_scale, block.column_scale, m, block.n,
                           stage.relaxation);
    }
    if (stage.growth > 1) {
      GrowKernel<kWidth>(block.kernel, block.row_scale, block.column_scale, m, stage.growth);
      GrowKernel<kWidth>(block.kernel_t, block.column_scale, block.row_scale, m, stage.growth);
    }
    AbsorbScales<kWidth>(block.row_potential, block.row_scale, tau);
    AbsorbScales<kWidth>(block.column_potential, block.column_scale, tau);
    tau *= static_cast<float>(stage.growth);
  }
  return {sweeps, tau / kLog2E};
}

template SweepResult Sweep(Block<4>&, float);
template SweepResult Sweep(Block<8>&, float);
template SweepResult Sweep(Block<16>&, float);
template SweepResult Sweep(Block<32>&, float);
template SweepResult Sweep(Block<64>&, float);
template SweepResult Sweep(Block<128>&, float);

}  // namespace tsenor::cpu
