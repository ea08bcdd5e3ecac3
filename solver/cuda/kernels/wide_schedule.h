// The sweeps of the wide kernel (wide_sweeps.cuh): how sharp, how long the steps, how many.
#pragma once

#include <cstdint>

namespace tsenor::cuda {

// One sweep; each number twice, as a half2. Potentials are in mean scores.
struct WideStep {
  uint32_t tau;      // sharpness: an entry's count rises over 1 / tau
  uint32_t rescale;  // tau over that of the sweep before
  // (1 - rescale) / 2. Of a rough sweep, n / m, which is what an entry at its potential counts
  // there: so potentials of lines that are alike need not move to either side and back.
  uint32_t offset;

  // Where all lines are alike: what an excess of one moves a column's potential, and - tau times
  // what it moves a row's.
  uint32_t column_gain, row_gain;
  uint32_t minus_gain_before;  // - column_gain of the sweep before; of the first one, -1

  // Where they are not: a line's own gain is 1 / sum(s - s^2) times this, and at most that.
  uint32_t gain_scale;
  uint32_t greatest_gain;
  uint32_t longest;  // step of a measured sweep
};

struct WideSchedule {
  static constexpr int kMostSweeps = 16;
  int rough = 0;     // so many sweeps find starts
  int measured = 0;  // so many, rough ones included, measure each line's gain; others use the last
  int sweeps = 0;    // even
  float first_tau = 0;
  float per_last_tau = 0;  // 1 / tau of the last sweep
  WideStep step[kMostSweeps] = {};
};

enum class WideKind {
  kEven,    // the lines of a block are alike
  kScaled,  // they differ in scale
  kTied,    // many scores are equal
  kWild,    // some scores exceed their mean so far that means of lines say nothing
};

// A parameter of the kernel.
struct WideSchedules {
  float per_entry;                 // 1 / (m * m)
  float center;                    // QuantileFactor(n, m)
  int mean_exponent;               // WideMeanExponent(n, m)
  alignas(8) uint32_t minus_n[2];  // a half2, twice
  alignas(8) uint32_t ones[2];     // the same
  // A line's start, less the center: the sum of its scores, less the center each, times factor, and
  // rest. Each as a half2.
  uint32_t start_factor, start_rest;
  float scaled_spread;  // lines differ in scale from this mean square of their starts on
  // Of what kind of blocks, by WideKind.
  WideSchedule schedule[4];
};

// A mean score is 2^exponent to twice as many quanta. Fine enough that what rounding leaves between
// value and bound, some 16 quanta a block, is far below 1e-9 of the value; coarse enough that a
// path of the finish may be a quarter of a mean score long. Where few entries are kept, the value
// is smaller.
constexpr int WideMeanExponent(int n, int m) { return 4 * n >= m ? 25 : 27; }

// For blocks of n:m, 0 < n < m, 32 < m <= 64.
WideSchedules WideSchedulesFor(int n, int m);

}  // namespace tsenor::cuda
