// Potentials first: a few annealed entropic sweeps that leave the exact finish almost nothing to
// do.
//
// Compiled once for every instruction set (cpu/solve_rows.cc), hence the guard that can be flipped.
#if defined(SOLVER_CPU_SWEEPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SOLVER_CPU_SWEEPS_INL_H_
#undef SOLVER_CPU_SWEEPS_INL_H_
#else
#define SOLVER_CPU_SWEEPS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "solver/cpu/block.h"
#include "solver/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

struct SweepResult {
  int sweeps = 0;
  float tau = 0;  // of the last stage: the potentials are good to about 1 / tau
};

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

// 1 / x for normal x > 0, within 1e-3, from exact operations alone: the machines' own
// approximations differ from one instruction set to the next. The integer difference negates
// exponent and mantissa (error up to 12 %); the cubic correction leaves its third power.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V RoughReciprocal(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V guess = hn::BitCast(d, hn::Sub(hn::Set(di, 0x7ef311c7), hn::BitCast(di, x)));
  const V error = hn::Sub(hn::Set(d, 1.0f), hn::Mul(x, guess));
  return hn::Mul(guess,
                 hn::Add(hn::Set(d, 1.0f), hn::Mul(error, hn::Add(hn::Set(d, 1.0f), error))));
}

// One over-relaxed Newton step in the logarithm of every line's scale, towards m - n for the sum of
// 1 - S = 1 / (1 + K scale other), whose derivative is the sum of -S (1 - S).
template <int kWidth>
void ProjectLines(const float* HWY_RESTRICT kernel, const float* HWY_RESTRICT other,
                  float* HWY_RESTRICT scale, int m, int n, float relaxation) {
  const Lanes<float, kWidth> d;
  using V = hn::Vec<decltype(d)>;
  constexpr int kLanes = hn::MaxLanes(d);
  constexpr int kVectors =
      std::min(kWidth / kLanes, 4);            // few enough for sums to stay in registers
  const V least_slope = hn::Set(d, 2e-3f);     // a flat line takes the longest step
  const V longest_step = hn::Set(d, 0.3125f);  // a factor of 1.3125^8 = 8.8
  const V one = hn::Set(d, 1.0f);
  for (int first = 0; first < kWidth; first += kVectors * kLanes) {
    V inverse[kVectors], sum[kVectors], squares[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      inverse[v] = hn::Div(one, hn::Load(d, scale + first + v * kLanes));
      sum[v] = squares[v] = hn::Zero(d);
    }
    for (int k = 0; k < m; ++k) {
      const V other_k = hn::Set(d, other[k]);
      for (int v = 0; v < kVectors; ++v) {
        const V entry = hn::Load(d, kernel + k * kWidth + first + v * kLanes);
        const V q = RoughReciprocal(d, hn::Add(hn::Mul(entry, other_k), inverse[v]));
        sum[v] = hn::Add(sum[v], q);
        squares[v] = hn::Add(squares[v], hn::Mul(q, q));
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      const V rest = hn::Mul(sum[v], inverse[v]);
      const V slope = hn::Sub(rest, hn::Mul(hn::Mul(squares[v], inverse[v]), inverse[v]));
      const V excess = hn::Sub(rest, hn::Set(d, static_cast<float>(m - n)));
      const V newton =
          hn::Div(hn::Mul(excess, hn::Set(d, relaxation * 0.125f)), hn::Max(slope, least_slope));
      V factor = hn::Add(one, hn::Clamp(newton, hn::Neg(longest_step), longest_step));
      factor = hn::Mul(factor, factor);  // (1 + x)^8: exp(8 x), near enough
      factor = hn::Mul(factor, factor);
      factor = hn::Mul(factor, factor);
      float* at = scale + first + v * kLanes;
      hn::Store(hn::Mul(hn::Load(d, at), factor), d, at);
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

// Sets row_potential and column_potential such that [score > a_i + b_j] nearly has n entries in
// each line.
//
// Binary-entropy regularisation of the transport problem (the logistic relative of TSENOR's
// Dykstra: the box 0 <= S <= 1 is inside the entropy, so it needs no correction term): S = 1 / (1 +
// 1 / (K u v)) with K = exp(tau (w - a - b)). Alternately for rows and columns, one Newton step in
// the logarithm of each line's scale brings its sum towards n; tau grows in stages, between which
// the scales are absorbed: K <- (K u v)^growth needs no new exponentials.
//
// REQUIRES: scores, mean, spreads, and in the potentials the mean of each line without its maximum,
// at most 8 times the block's (BlockSolver::MeasureLines()); `quantile_factor` is
// QuantileFactor(n, m).
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

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_SWEEPS_INL_H_
