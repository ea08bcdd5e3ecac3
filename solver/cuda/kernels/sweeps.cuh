// Potentials first: a few sweeps that leave the exact finish almost nothing to do.
//
// Coordinate ascent on the dual of quadratically regularised transport: alternately one Newton step
// for all rows and one for all columns, towards a soft count of n among a line's m entries, while
// the softness shrinks from sweep to sweep. The mathematics is that of solver/cpu/sweeps-inl.h.
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/block_state.cuh"
#include "solver/cuda/primitives/group.cuh"

namespace tsenor::cuda {

// With tau in units of 1 / mean score, a line's soft threshold reaches 1 / (2 tau) to either side
// of its potential; tau grows from sweep to sweep.
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

// Which one: by how far the lines' means spread around the block's. The more the lines differ in
// scale, the softer the start and the longer the steps. Numbers found for the cpu backend (16:32).
inline __device__ Schedule ScheduleFor(float row_spread, float column_spread) {
  constexpr float kEvenSpread = 0.6f;  // below: lines count as equal in scale
  constexpr float kWideSpread = 1.5f;  // above, rows and columns: scaled both ways
  if (fmaxf(row_spread, column_spread) < kEvenSpread) {
    return {Schedule::Reach::kEqual, 5, 3.0f, 2.0f, 1.15f, 1.0f};
  }
  if (fminf(row_spread, column_spread) <= kWideSpread) {
    return {Schedule::Reach::kScale, 5, 1.5f, 2.4f, 1.0f, 2.0f};
  }
  return {Schedule::Reach::kRootOfScale, 8, 0.5f, 2.35f, 1.0f, 2.0f};
}

// Of a line, at a sharpness of 1.
inline __device__ float Reach(const Schedule& schedule, float line_mean, float block_mean) {
  constexpr float kLeastScale = 0.1f;  // of a line, as far as its reach goes
  const float scale = fmaxf(line_mean / block_mean, kLeastScale);
  if (schedule.reach == Schedule::Reach::kScale) return block_mean * scale;
  if (schedule.reach == Schedule::Reach::kRootOfScale) return block_mean * sqrtf(scale);
  return block_mean;
}

struct LineStep {
  float step;    // to add to the potential
  float within;  // entries within reach
};

// One Newton step of one line. An entry counts 0 below `potential` - `to_limit`, 1 above
// `potential`
// + `to_limit`, and linearly in between. `score(k)` is the line's k-th, `other` the potentials of
// the lines that cross it: four operations an entry, and two more for the slope.
template <typename Score>
__device__ LineStep NewtonStep(Score score, const float* other, int m, int n,
                               const Schedule& schedule, float potential, float to_limit) {
  const float low = potential - to_limit, high = potential + to_limit;
  float sum = 0, within = 0;
#pragma unroll 4
  for (int k = 0; k < m; ++k) {
    const float rest = score(k) - other[k];
    const float clamped = fminf(fmaxf(rest, low), high);
    sum += clamped;
    within += rest == clamped ? 1.0f : 0.0f;
  }
  const float width = high - low;
  const float target = static_cast<float>(m) * low + static_cast<float>(n) * width;
  const float longest = width * (0.5f * schedule.longest_step);
  const float step = (sum - target) * schedule.relaxation / fmaxf(within, 1.0f);
  return {fminf(fmaxf(step, -longest), longest), within};
}

struct SweepResult {
  int sweeps;
  float mean;    // robust mean score of the block
  float reach;   // of the last sweep, for a line of average scale
  float within;  // entries that were within it, per line: more than about one if scores tie
};

// Each line's mean without its maximum, limited to a multiple of the block's, which it returns;
// `row_spread` and `column_spread` take the largest relative deviations from it.
template <int kWords>
__device__ float MeasureLines(const Group<kWords>& group, const Entries& entries, int m,
                              BlockState<kWords>& state, float& row_spread, float& column_spread) {
  constexpr float kLeastMean = 1e-9f;  // of a block; its greatest score is at least 0.5
  constexpr float kOutlierMean = 8;    // a line's mean counts up to this many times the block's
  const int k = group.thread();
  float row_sum = 0, row_greatest = 0, column_sum = 0, column_greatest = 0;
  if (k < m) {
    for (int other = 0; other < m; ++other) {
      const float in_row = entries.score(k, other), in_column = entries.score(other, k);
      row_sum += in_row;
      column_sum += in_column;
      row_greatest = fmaxf(row_greatest, in_row);
      column_greatest = fmaxf(column_greatest, in_column);
    }
  }
  const float others = static_cast<float>(m - 1);
  const float row_mean = (row_sum - row_greatest) / others;
  const float column_mean = (column_sum - column_greatest) / others;
  const float mean = fmaxf(group.Sum(row_mean) / static_cast<float>(m), kLeastMean);
  state.rows.mean[k] = fminf(row_mean, kOutlierMean * mean);
  state.columns.mean[k] = fminf(column_mean, kOutlierMean * mean);
  const float row_deviation = k < m ? fabsf(state.rows.mean[k] - mean) : 0.0f;
  const float column_deviation = k < m ? fabsf(state.columns.mean[k] - mean) : 0.0f;
  row_spread = group.Max(row_deviation) / mean;
  column_spread = group.Max(column_deviation) / mean;
  return mean;
}

// The potentials of both sides, rounded to 2^-13 of the mean score (of its power of two): scores
// that are whole quanta then have residuals that are.
template <int kWords>
__device__ void RoundPotentials(const Group<kWords>& group, float mean, BlockState<kWords>& state) {
  constexpr int kBits = 13;
  const int exponent = ilogbf(mean) - kBits;
  const int k = group.thread();
  for (Side<kWords>* side : {&state.rows, &state.columns}) {
    side->proof[k] =
        ldexp(rint(ldexp(static_cast<double>(side->potential[k]), -exponent)), exponent);
  }
}

// Sets `proof` of rows and columns such that [score > a_i + b_j] nearly has n entries in each line.
//
// REQUIRES: 0 < n < m; normalised scores, not all zero.
template <int kWords>
__device__ SweepResult Sweep(const Group<kWords>& group, const Entries& entries, int m, int n,
                             float quantile_factor, BlockState<kWords>& state) {
  float row_spread, column_spread;
  const float mean = MeasureLines(group, entries, m, state, row_spread, column_spread);
  const Schedule schedule = ScheduleFor(row_spread, column_spread);
  const int k = group.thread();
  const float row_reach = Reach(schedule, state.rows.mean[k], mean);
  const float column_reach = Reach(schedule, state.columns.mean[k], mean);
  // Start: a line's mean times the quantile factor.
  float a = (state.rows.mean[k] - mean) * quantile_factor;
  float b = state.columns.mean[k] * quantile_factor;
  state.columns.potential[k] = b;
  group.Sync();
  SweepResult result = {.sweeps = schedule.sweeps, .mean = mean};
  float sharpness = 0.5f / schedule.tau;
  LineStep last = {0, 0};
  for (int sweep = 0; sweep < schedule.sweeps; ++sweep) {
    if (k < m) {
      const auto score = [&](int j) { return entries.score(k, j); };
      a +=
          NewtonStep(score, state.columns.potential, m, n, schedule, a, row_reach * sharpness).step;
    }
    state.rows.potential[k] = a;
    group.Sync();
    if (k < m) {
      const auto score = [&](int i) { return entries.score(i, k); };
      last = NewtonStep(score, state.rows.potential, m, n, schedule, b, column_reach * sharpness);
      b += last.step;
    }
    state.columns.potential[k] = b;
    group.Sync();
    result.reach = mean * sharpness;
    sharpness /= schedule.growth;
  }
  result.within = group.Sum(last.within) / static_cast<float>(m);
  RoundPotentials(group, mean, state);
  group.Sync();
  return result;
}

}  // namespace tsenor::cuda
