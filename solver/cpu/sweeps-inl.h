// Potentials first: a few sweeps that leave the exact finish almost nothing to do.
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
#include <cmath>

#include "solver/cpu/block.h"
#include "solver/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

// How a block is swept. With tau in units of 1 / mean score, a line's soft threshold reaches
// 1 / (2 tau) to either side of its potential; tau grows from sweep to sweep.
struct Schedule {
  // Exponent of a line's own scale (its mean over the block's) in its reach.
  enum class Reach { kEqual, kRootOfScale, kScale };

  Reach reach;
  int sweeps;
  float tau;           // of the first sweep
  float growth;        // of tau, per sweep
  float relaxation;    // of a Newton step
  float longest_step;  // of a potential, in reaches
};

// Found by timed search on 16:32: Gaussian scores, column norms, rows and columns scaled. The more
// the lines differ in scale, the softer the start and the longer the steps.
constexpr Schedule kEven = {Schedule::Reach::kEqual, 5, 3.0f, 2.0f, 1.15f, 1.0f};
constexpr Schedule kScaled = {Schedule::Reach::kScale, 5, 1.5f, 2.4f, 1.0f, 2.0f};
constexpr Schedule kScaledBothWays = {Schedule::Reach::kRootOfScale, 8, 0.5f, 2.35f, 1.0f, 2.0f};

constexpr float kEvenSpread = 0.6f;  // below: lines count as equal in scale
constexpr float kWideSpread = 1.5f;  // above, rows and columns: scaled both ways
constexpr float kOutlierMean = 8;    // a line's mean counts up to this many times the block's
constexpr float kLeastMean = 1e-9f;  // of a block; its greatest score is at least 0.5
constexpr float kLeastScale = 0.1f;  // of a line, as far as its reach goes

template <int kWidth>
bool ScaledBothWays(const Block<kWidth>& block) {
  return std::min(block.row_spread, block.column_spread) > kWideSpread;
}

template <int kWidth>
const Schedule& ScheduleFor(const Block<kWidth>& block) {
  if (std::max(block.row_spread, block.column_spread) < kEvenSpread) return kEven;
  return ScaledBothWays(block) ? kScaledBothWays : kScaled;
}

// A Newton step of lines' potentials towards a soft count of n among m entries: an entry counts 0
// below `low`, 1 above `high`, and linearly in between, the potential in the middle. `sum` is that
// of the clamped entries, `within` the number of those between the limits: the slope. `relaxation`,
// `longest_step`: as in Schedule.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V NewtonStep(D d, V sum, V within, V low, V high, int m, int n, V relaxation,
                        V longest_step) {
  const V width = hn::Sub(high, low);
  const V target = hn::Add(hn::Mul(hn::Set(d, static_cast<float>(m)), low),
                           hn::Mul(hn::Set(d, static_cast<float>(n)), width));
  const V step =
      hn::Div(hn::Mul(hn::Sub(sum, target), relaxation), hn::Max(within, hn::Set(d, 1.0f)));
  const V longest = hn::Mul(hn::Mul(width, hn::Set(d, 0.5f)), longest_step);
  return hn::Clamp(step, hn::Neg(longest), longest);
}

// One step of every line; lanes are the lines. No product, no exponential: four operations an
// entry, and two more for the slope. `within` takes the number of entries within reach, per line.
template <int kWidth>
void ProjectLines(const float* HWY_RESTRICT scores, const float* HWY_RESTRICT other,
                  const float* HWY_RESTRICT reach, int m, int n, const Schedule& schedule,
                  float sharpness, float* HWY_RESTRICT line, float* HWY_RESTRICT within) {
  const Lanes<float, kWidth> d;
  using V = hn::Vec<decltype(d)>;
  constexpr int kLanes = hn::MaxLanes(d);
  // So many vectors at a time that their sums and limits stay in registers.
  constexpr int kVectors = std::min(kWidth / kLanes, kLanes == 16 ? 4 : 2);
  const V one = hn::Set(d, 1.0f);
  const V relaxation = hn::Set(d, schedule.relaxation);
  const V longest = hn::Set(d, schedule.longest_step);
  for (int first = 0; first < kWidth; first += kVectors * kLanes) {
    V low[kVectors], high[kVectors], sum[kVectors], count[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const V potential = hn::Load(d, line + first + v * kLanes);
      const V to_limit = hn::Mul(hn::Load(d, reach + first + v * kLanes), hn::Set(d, sharpness));
      low[v] = hn::Sub(potential, to_limit);
      high[v] = hn::Add(potential, to_limit);
      sum[v] = count[v] = hn::Zero(d);
    }
    for (int k = 0; k < m; ++k) {
      const V other_k = hn::Set(d, other[k]);
      for (int v = 0; v < kVectors; ++v) {
        const V rest = hn::Sub(hn::Load(d, scores + k * kWidth + first + v * kLanes), other_k);
        const V clamped = hn::Min(hn::Max(rest, low[v]), high[v]);
        sum[v] = hn::Add(sum[v], clamped);
        count[v] = hn::IfThenElse(hn::Eq(rest, clamped), hn::Add(count[v], one), count[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      float* const at = line + first + v * kLanes;
      const V step = NewtonStep(d, sum[v], count[v], low[v], high[v], m, n, relaxation, longest);
      hn::Store(hn::Add(hn::Load(d, at), step), d, at);
      hn::Store(count[v], d, within + first + v * kLanes);
    }
  }
}

// Of a line, at a sharpness of 1.
inline float Reach(const Schedule& schedule, float line_mean, float block_mean) {
  const float scale = std::max(line_mean / block_mean, kLeastScale);
  if (schedule.reach == Schedule::Reach::kScale) return block_mean * scale;
  if (schedule.reach == Schedule::Reach::kRootOfScale) return block_mean * std::sqrt(scale);
  return block_mean;
}

// Potentials are rounded to 2^-13 of the mean score (of its power of two), so that the sum of two
// is exact in float32. Returns the rounded potentials per unit of the scores.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V PotentialsPerUnit(D d, V mean) {
  constexpr int kBits = 13;
  const hn::RebindToSigned<D> di;
  // mean = f 2^(exponent - 126), f in [0.5, 1); the answer is 2^(kBits + 126 - exponent).
  const auto exponent = hn::ShiftRight<23>(hn::BitCast(di, mean));
  return hn::BitCast(d, hn::ShiftLeft<23>(hn::Sub(hn::Set(di, kBits + 126 + 127), exponent)));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V RoundPotential(D d, V potential, V per_unit) {
  // per_unit is a power of two: this is its inverse.
  const hn::RebindToSigned<D> di;
  const V unit = hn::BitCast(d, hn::Sub(hn::Set(di, 254 << 23), hn::BitCast(di, per_unit)));
  return hn::Mul(hn::Round(hn::Mul(potential, per_unit)), unit);
}

struct SweepResult {
  int sweeps = 0;
  float reach = 0;   // of the last sweep, for a line of average scale
  float within = 0;  // entries that were within it, per line: more than about one if scores tie
};

// Sets row_potential and column_potential such that [score > a_i + b_j] nearly has n entries in
// each line, rounded as above: coordinate ascent on the dual of quadratically regularised
// transport, alternately one Newton step for all rows and one for all columns, while the reach
// shrinks from sweep to sweep.
//
// REQUIRES: scores and means (BlockSolver::MeasureLines()); `quantile_factor` is
// QuantileFactor(n, m).
template <int kWidth>
SweepResult Sweep(Block<kWidth>& block, float quantile_factor, const Schedule& schedule) {
  alignas(64) float row_reach[kWidth], column_reach[kWidth], within[kWidth];
  for (int k = 0; k < kWidth; ++k) {
    row_reach[k] = Reach(schedule, block.row_mean[k], block.mean);
    column_reach[k] = Reach(schedule, block.column_mean[k], block.mean);
    // Start: a line's mean times the quantile factor.
    block.row_potential[k] = (block.row_mean[k] - block.mean) * quantile_factor;
    block.column_potential[k] = block.column_mean[k] * quantile_factor;
  }
  SweepResult result = {.sweeps = schedule.sweeps};
  float sharpness = 0.5f / schedule.tau;
  for (int k = 0; k < schedule.sweeps; ++k) {
    ProjectLines<kWidth>(block.scores_t, block.column_potential, row_reach, block.m, block.n,
                         schedule, sharpness, block.row_potential, within);
    ProjectLines<kWidth>(block.scores, block.row_potential, column_reach, block.m, block.n,
                         schedule, sharpness, block.column_potential, within);
    result.reach = block.mean * sharpness;
    sharpness /= schedule.growth;
  }
  const Lanes<float, kWidth> d;
  const auto per_unit = PotentialsPerUnit(d, hn::Set(d, block.mean));
  for (float* potential : {block.row_potential, block.column_potential}) {
    for (int v = 0; v < kWidth; v += hn::MaxLanes(d)) {
      hn::Store(RoundPotential(d, hn::Load(d, potential + v), per_unit), d, potential + v);
    }
  }
  for (int k = 0; k < block.m; ++k) result.within += within[k];
  result.within /= static_cast<float>(block.m);
  return result;
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_SWEEPS_INL_H_
