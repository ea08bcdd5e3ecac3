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

// What is known of the lines of a block before any sweep. A mean is robust: what counts of an entry
// is at most some times the mean itself, so that a few outliers, and scores that have no mean at
// all, leave it where most entries are.
struct LineMeans {
  float row, column;    // of the thread's own lines
  float block;          // of all
  float row_spread;     // largest relative deviation of a row's mean from the block's
  float column_spread;  // the same
  bool tied;            // many scores equal their neighbours
};

// Softest, for blocks that another schedule has left far from feasible.
inline __device__ Schedule SoftestSchedule() {
  return {Schedule::Reach::kRootOfScale, 10, 0.5f, 2.1f, 1.1f, 2.0f};
}

// Which one: by how far the lines' means spread around the block's. The more the lines differ in
// scale, the softer the start and the longer the steps. Numbers found for the cpu backend (16:32).
inline __device__ Schedule ScheduleFor(int m, const LineMeans& means) {
  constexpr float kEvenSpread = 0.6f;  // below: lines count as equal in scale
  constexpr float kWideSpread = 1.5f;  // above, rows and columns: scaled both ways
  if (means.tied) return {Schedule::Reach::kRootOfScale, 6, 0.5f, 2.1f, 1.1f, 2.0f};
  if (fmaxf(means.row_spread, means.column_spread) < kEvenSpread) {
    return {Schedule::Reach::kEqual, m > 32 ? 8 : 7, 3.0f, 2.0f, 1.15f, 1.0f};
  }
  if (fminf(means.row_spread, means.column_spread) <= kWideSpread) {
    return {Schedule::Reach::kScale, 8, 1.5f, 2.0f, 1.1f, 2.0f};
  }
  return SoftestSchedule();
}

// How far a line's soft threshold reaches, and half its inverse: how much of an entry counts per
// unit of its score.
struct LineReach {
  float reach;
  float half_inverse;

  // At the start of a schedule.
  __device__ LineReach(const Schedule& schedule, float line_mean, float block_mean)
      : reach(0.5f / schedule.tau * block_mean) {
    constexpr float kLeastScale = 0.1f;  // of a line, as far as its reach goes
    const float scale = fmaxf(line_mean / block_mean, kLeastScale);
    if (schedule.reach == Schedule::Reach::kScale) reach *= scale;
    if (schedule.reach == Schedule::Reach::kRootOfScale) reach *= sqrtf(scale);
    half_inverse = 0.5f / reach;
  }

  __device__ void Shrink(float growth, float inverse_growth) {
    reach *= inverse_growth;
    half_inverse *= growth;
  }
};

struct LineStep {
  float step;    // to add to the potential
  float within;  // entries within reach, about
};

// The soft count of a line's entries: an entry counts 0 below the line's potential - reach, 1 above
// its potential + reach, and linearly in between.
struct SoftCount {
  float sum = 0;
  float squares = 0;

  // `rest`: a score without the potential of the line that crosses.
  __device__ void Add(float rest, float per_unit, float offset) {
    const float count = __saturatef(__fmaf_rn(rest, per_unit, offset));
    sum += count;
    squares = __fmaf_rn(count, count, squares);
  }
};

// One Newton step of one line. `score(k)` is the line's k-th, `other` the potentials of the lines
// that cross it, aligned as float4; those beyond m are infinite, and count nothing. The slope of
// the count c is the number of entries within reach; 6 sum c (1 - c) is as great, on the average,
// and smooth. Four operations an entry.
template <typename Score>
__device__ LineStep NewtonStep(Score score, const float* other, int m, int n,
                               const Schedule& schedule, float potential, const LineReach& reach) {
  const float per_unit = reach.half_inverse;
  const float offset = 0.5f - potential * per_unit;
  SoftCount count;
  static_assert(kLinesAtATime == 8);
  for (int k = 0; k < m; k += kLinesAtATime) {
    const float4 first = *reinterpret_cast<const float4*>(other + k);
    const float4 second = *reinterpret_cast<const float4*>(other + k + 4);
    count.Add(score(k) - first.x, per_unit, offset);
    count.Add(score(k + 1) - first.y, per_unit, offset);
    count.Add(score(k + 2) - first.z, per_unit, offset);
    count.Add(score(k + 3) - first.w, per_unit, offset);
    count.Add(score(k + 4) - second.x, per_unit, offset);
    count.Add(score(k + 5) - second.y, per_unit, offset);
    count.Add(score(k + 6) - second.z, per_unit, offset);
    count.Add(score(k + 7) - second.w, per_unit, offset);
  }
  const float within = 6 * (count.sum - count.squares);
  const float longest = reach.reach * schedule.longest_step;
  const float missing = (count.sum - static_cast<float>(n)) * schedule.relaxation;
  const float step = missing * (2 * reach.reach) / fmaxf(within, 1.0f);
  return {fminf(fmaxf(step, -longest), longest), within};
}

// Means of the lines and of the block.
template <int kWidth>
__device__ LineMeans MeasureLines(const Group<kWidth>& group, const Entries<kWidth>& entries,
                                  int m) {
  constexpr float kLeastMean = 1e-9f;   // of a block; its greatest score is at least 0.5
  constexpr float kOutlier = 8;         // times the mean: not seen in Gaussian lines
  constexpr float kMostOfMean = 4;      // an entry counts up to so many times the mean
  constexpr float kSettled = 0.8f;      // a mean that falls by less is settled
  constexpr float kSettledTies = 0.5f;  // where many scores are 0, it falls and falls
  constexpr int kMostRounds = 8;
  const int k = group.thread();
  const bool exists = k < m;
  float row_sum = 0, row_greatest = 0, column_sum = 0, column_greatest = 0, above = -1;
  int equal = 0;
  for (int other = 0; exists && other < m; ++other) {
    const float in_row = entries.score(k, other), in_column = entries.score(other, k);
    row_sum += in_row;
    column_sum += in_column;
    row_greatest = fmaxf(row_greatest, in_row);
    column_greatest = fmaxf(column_greatest, in_column);
    equal += in_column == above;
    above = in_column;
  }
  const float size = static_cast<float>(m);
  LineMeans means;
  const float per_line = 1 / size, per_other = 1 / (size - 1);
  means.row = (row_sum - row_greatest) * per_other;
  means.column = (column_sum - column_greatest) * per_other;
  means.tied = 32 * group.Sum(equal) >= m * m;
  const float settled = means.tied ? kSettledTies : kSettled;
  bool falling = row_greatest > kOutlier * means.row || column_greatest > kOutlier * means.column;
  for (int round = 0; round < kMostRounds && group.Any(falling); ++round) {
    const float most_of_row = kMostOfMean * means.row, most_of_column = kMostOfMean * means.column;
    row_sum = column_sum = 0;
    for (int other = 0; exists && other < m; ++other) {
      row_sum += fminf(entries.score(k, other), most_of_row);
      column_sum += fminf(entries.score(other, k), most_of_column);
    }
    const float row = fminf(row_sum * per_line, means.row);
    const float column = fminf(column_sum * per_line, means.column);
    falling = row < settled * means.row || column < settled * means.column;
    means.row = row;
    means.column = column;
  }
  const float of_rows = group.Sum(means.row), of_columns = group.Sum(means.column);
  means.block = fmaxf(fminf(of_rows, of_columns) * per_line, kLeastMean);
  const float row_deviation = exists ? fabsf(means.row - means.block) : 0.0f;
  const float column_deviation = exists ? fabsf(means.column - means.block) : 0.0f;
  means.row_spread = group.Max(row_deviation) / means.block;
  means.column_spread = group.Max(column_deviation) / means.block;
  return means;
}

// Sets `potential` of rows and columns such that [score > a_i + b_j] nearly has n entries in each
// line. Returns the entries per line that were within reach last: more than about one if scores
// tie.
//
// REQUIRES: 0 < n < m; normalised scores, not all zero.
template <int kWidth>
__device__ float Sweep(const Group<kWidth>& group, const Entries<kWidth>& entries, int m, int n,
                       float quantile_factor, const LineMeans& means, const Schedule& schedule,
                       BlockState<kWidth>& state) {
  const int k = group.thread();
  const bool exists = k < m;
  LineReach row_reach(schedule, means.row, means.block);
  LineReach column_reach(schedule, means.column, means.block);
  const float inverse_growth = 1 / schedule.growth;
  // Start: a line's mean times the quantile factor.
  float a = (means.row - means.block) * quantile_factor;
  float b = means.column * quantile_factor;
  if (!exists) state.rows.potential[k] = INFINITY;
  state.columns.potential[k] = exists ? b : INFINITY;
  group.Sync();
  LineStep last = {0, 0};
  for (int sweep = 0; sweep < schedule.sweeps; ++sweep) {
    if (exists) {
      const auto in_row = [&](int j) { return entries.score(k, j); };
      a += NewtonStep(in_row, state.columns.potential, m, n, schedule, a, row_reach).step;
      state.rows.potential[k] = a;
    }
    group.Sync();
    if (exists) {
      const auto in_column = [&](int i) { return entries.score(i, k); };
      last = NewtonStep(in_column, state.rows.potential, m, n, schedule, b, column_reach);
      b += last.step;
      state.columns.potential[k] = b;
    }
    group.Sync();
    row_reach.Shrink(schedule.growth, inverse_growth);
    column_reach.Shrink(schedule.growth, inverse_growth);
  }
  return group.Sum(last.within) / static_cast<float>(m);
}

// The potential, rounded to 2^-13 of the mean score (of its power of two): scores that are whole
// quanta then have residuals that are.
inline __device__ float Rounded(float potential, float mean) {
  constexpr int kBits = 13;
  // mean = f 2^(exponent - 126), f in [0.5, 1); the unit is 2^(exponent - 126 - kBits).
  const int exponent = __float_as_int(mean) >> 23;
  const float per_unit = __int_as_float((kBits + 126 + 127 - exponent) << 23);
  const float unit = __int_as_float((exponent - kBits + 1) << 23);
  return rintf(potential * per_unit) * unit;
}

}  // namespace tsenor::cuda
