// The sweeps of the patch kernel (patch_sweeps.cuh): how sharp, how long the steps, how many.
#pragma once

#include <cstdint>

namespace tsenor::cuda {

// One sweep; each number twice, as a half2. Potentials are in mean scores.
struct SweepStep {
  uint32_t tau;      // sharpness: an entry's count rises over 1 / tau
  uint32_t rescale;  // tau over that of the sweep before
  uint32_t offset;   // (1 - rescale) / 2

  // Where all lines are alike: what an excess of one moves a column's potential, and - tau times
  // what it moves a row's; minus the column's gain of the sweep before, or -1.
  uint32_t column_gain, row_gain, minus_gain_before;

  // Where they are not. A reach is 1 / tau.
  uint32_t reach, twice_reach;
  uint32_t least_within;   // sum(s - s^2) counts as no less: so a line's gain is limited
  uint32_t gain_at_one;    // less that sum's bits: about those of the gain, in half reaches
  uint32_t greatest_gain;  // of a line's own gain, in mean scores, where it is not measured
};

struct PatchSchedule {
  static constexpr int kMostSweeps = 10;
  uint32_t first_tau = 0;  // twice, as a half2
  float per_last_tau = 0;  // 1 / tau of the last sweep
  SweepStep step[kMostSweeps] = {};
};

// What a block's schedule goes by: its lines are alike in scale, or they are not, or many of its
// scores tie.
enum class PatchKind { kEven, kScaled, kTied };
constexpr int kPatchKinds = 3;

// Of even blocks in places of 8, 16 or 32 lines.
constexpr int EvenSweeps(int place) { return place == 8 ? 9 : 10; }
// Of the others; the first ones measure gains, and the rest use the last.
constexpr int kScaledSweeps = 10, kMeasuredSweeps = 4;
// All measure gains; the first ones find out where the threshold is, and then shift potentials.
constexpr int kTiedSweeps = 10, kSearchingSweeps = 4;

constexpr int Sweeps(PatchKind kind, int place) {
  return kind == PatchKind::kEven     ? EvenSweeps(place)
         : kind == PatchKind::kScaled ? kScaledSweeps
                                      : kTiedSweeps;
}

// A parameter of the kernel.
struct PatchSchedules {
  int n, m;
  float per_entry;    // 1 / (m * m)
  float center;       // QuantileFactor(n, m)
  int mean_exponent;  // PatchMeanExponent(n, m)
  // Operands of tensor cores, as two half2 each: -n, and 1. In memory, so that the compiler does
  // not know that both are the same, and copies one to make a pair.
  alignas(8) uint32_t minus_n[2];
  alignas(8) uint32_t ones[2];
  // Twice each, as half2.
  uint32_t start_factor;  // center / m: times a line's sum less m centers
  uint32_t start_rest;    // center^2 - center
  float scaled_spread;    // of the starts of lines: a greater mean square, and they differ in scale
  PatchSchedule of[kPatchKinds];  // by PatchKind
};

// A mean score is 2^exponent to twice as many quanta. Fine enough that what rounding leaves between
// value and bound, about half a quantum for every fourth line, is far below 1e-9 of the value;
// coarse enough that a path of the finish may be a quarter of a mean score long. Where few entries
// are kept, the value is smaller.
constexpr int PatchMeanExponent(int n, int m) { return (m <= 16 ? 1 : 0) + (4 * n >= m ? 26 : 28); }

// For blocks of n:m, 0 < n < m <= 32.
PatchSchedules SchedulesFor(int n, int m);

}  // namespace tsenor::cuda
