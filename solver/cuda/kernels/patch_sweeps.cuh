// Sweeps over a patch (primitives/patch.cuh) in half precision: potentials that leave the exact
// finish little to do.
//
// As in sweeps.cuh: coordinate ascent on the dual of quadratically regularised transport. An entry
// counts s = clamp(tau (w - a - b) + 1/2, 0, 1); alternately all rows and all columns move their
// potentials by a Newton step towards a count of n, while tau grows from sweep to sweep. The slope
// of a line's count is the number of its entries per unit of potential around its threshold. Where
// a block's lines are alike in scale, that of a Gaussian line serves for all: such a sweep takes
// 91 instructions for 1024 entries. Where they are not, the first sweeps measure it for each line,
// as 6 tau sum(s - s^2) (s is spread evenly over 0 .. 1 within reach), and the others use the last
// one.
//
// Everything is in units of the block's mean score. Half precision has 11 bits: the first
// potentials are subtracted from the scores before these are rounded to it, and each column's step
// as soon as it is made, so that entries near their threshold are small and precise.
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/patch_schedule.h"
#include "solver/cuda/primitives/patch.cuh"

namespace tsenor::cuda {

// Of one thread, for its rows (pairs of two) and its columns (pairs of two).
struct PatchSweepState {
  __half2 x[4][4];         // w - start - column potential, but for the last step
  __half2 row[2];          // 1/2 - tau * row potential
  __half2 row_gain[2];     // what a row's potential moves for an excess of one
  __half2 column[4];       // column potential
  __half2 column_step[4];  // its last step; of average slopes, over the gain
  __half2 column_gain[4];
};

inline __device__ __half2 Clamp(__half2 x, __half2 limit) {
  return __hmax2(__hmin2(x, limit), __hneg2(limit));
}

// Half a step, in reaches, plus a half: 0 .. 1, so that no step is longer than a reach. A line's
// entries count `excess` too much, and the squares of what they count sum up to n more than
// `squares`. `gain`: half a step for an excess of one.
inline __device__ __half2 MeasuredStep(__half2 excess, __half2 squares, const SweepStep& step,
                                       __half2& gain) {
  const __half2 within = __hmax2(__hsub2(excess, squares), Pair(step.least_within));
  gain = Pair(step.gain_at_one - Bits(within));
  return __hfma2_sat(excess, gain, __float2half2_rn(0.5f));
}

// Where a sweep has its slopes from.
enum class Slope { kMeasured, kFrozen, kAverage };

template <Slope kSlope, int kBlock>
__device__ __forceinline__ void SweepRows(const LineSums<kBlock>& excess, const SweepStep& step,
                                          PatchSweepState& state) {
  const __half2 tau = Pair(step.tau);
#pragma unroll
  for (int pair = 0; pair < 2; ++pair) {
    __half2& row = state.row[pair];
    row = __hfma2(row, Pair(step.rescale), Pair(step.offset));
    __half2 s[2][4];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const __half2 offset = h == 0 ? __low2half2(row) : __high2half2(row);
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        __half2& x = state.x[2 * pair + h][q];
        if constexpr (kSlope == Slope::kAverage) {
          x = __hfma2(state.column_step[q], Pair(step.minus_gain_before), x);
        } else {
          x = __hsub2(x, state.column_step[q]);
        }
        s[h][q] = __hfma2_sat(x, tau, offset);
      }
    }
    const __half2 count = excess.Rows([&](int h, int q) { return Bits(s[h][q]); });
    if constexpr (kSlope == Slope::kAverage) {
      row = __hfma2(count, Pair(step.row_gain), row);
    } else if constexpr (kSlope == Slope::kFrozen) {
      const __half2 gain = __hmin2(state.row_gain[pair], Pair(step.greatest_gain));
      row = __hfma2(__hmul2(count, gain), __hneg2(tau), row);
    } else {
      const __half2 squares =
          excess.Rows([&](int h, int q) { return Bits(__hmul2(s[h][q], s[h][q])); });
      const __half2 moved = MeasuredStep(count, squares, step, state.row_gain[pair]);
      row = __hadd2(__hfma2(moved, __float2half2_rn(-2.0f), row), __float2half2_rn(1.0f));
    }
  }
}

template <Slope kSlope, int kBlock>
__device__ __forceinline__ void SweepColumns(const LineSums<kBlock>& excess, const SweepStep& step,
                                             PatchSweepState& state) {
  const __half2 tau = Pair(step.tau);
#pragma unroll
  for (int q = 0; q < 4; ++q) {
    __half2 s[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const __half2 row = state.row[k / 2];
      s[k] = __hfma2_sat(state.x[k][q], tau, k % 2 == 0 ? __low2half2(row) : __high2half2(row));
    }
    const __half2 count = excess.Columns(__hadd2(__hadd2(s[0], s[1]), __hadd2(s[2], s[3])));
    __half2& column = state.column[q];
    __half2& move = state.column_step[q];
    if constexpr (kSlope == Slope::kAverage) {
      move = count;
      column = __hfma2(count, Pair(step.column_gain), column);
    } else {
      if constexpr (kSlope == Slope::kFrozen) {
        move = __hmul2(count, __hmin2(state.column_gain[q], Pair(step.greatest_gain)));
      } else {
        const __half2 squares = excess.Columns(
            __hfma2(s[3], s[3], __hfma2(s[2], s[2], __hfma2(s[1], s[1], __hmul2(s[0], s[0])))));
        const __half2 moved = MeasuredStep(count, squares, step, state.column_gain[q]);
        move = __hfma2(moved, Pair(step.twice_reach), __hneg2(Pair(step.reach)));
      }
      column = __hadd2(column, move);
    }
  }
}

template <Slope kSlope, int kBlock>
__device__ __forceinline__ void Sweep(const LineSums<kBlock>& excess, const SweepStep& step,
                                      PatchSweepState& state) {
  SweepRows<kSlope>(excess, step, state);
  SweepColumns<kSlope>(excess, step, state);
}

// From gains as measured to those of frozen sweeps, in mean scores: `unit` is two reaches.
inline __device__ void ScaleGains(__half2 unit, PatchSweepState& state) {
#pragma unroll
  for (__half2& gain : state.row_gain) gain = __hmul2(gain, unit);
#pragma unroll
  for (__half2& gain : state.column_gain) gain = __hmul2(gain, unit);
}

// The potentials of a thread's lines, in mean scores.
struct PatchPotentials {
  float row[4];
  float column[8];
  int sweeps;  // that found them
};

// The potentials that sweeps start from, less the center.
struct PatchStarts {
  __half2 row[2];
  __half2 column[4];
};

// Makes the entries beyond line m of a block so small that they count for nothing.
template <int kBlock>
__device__ void ExcludePadding(int m, PatchSweepState& state) {
  constexpr float kExcluded = -6e4f;  // mean scores; half precision ends there
  const PatchPlace place;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const bool row = place.row(k) % kBlock >= m;
      const __half2 x = state.x[k][q];
      state.x[k][q] = __floats2half2_rn(
          row || place.column(2 * q) % kBlock >= m ? kExcluded : __low2float(x),
          row || place.column(2 * q + 1) % kBlock >= m ? kExcluded : __high2float(x));
    }
  }
}

// Whether the lines of this thread's block differ in scale, by its starts: if the mean square of a
// side's is more than `scaled_spread`. A side that differs far less than the other does so by
// chance: it starts from the average.
template <int kBlock>
__device__ bool ChooseStarts(float scaled_spread, PatchStarts& starts) {
  constexpr float kChance = 4;
  __half2 pairs = __hmul2(starts.row[0], starts.row[0]);
  pairs = __hfma2(starts.row[1], starts.row[1], pairs);
  float rows = __low2float(pairs) + __high2float(pairs);
  pairs = __hmul2(starts.column[0], starts.column[0]);
#pragma unroll
  for (int q = 1; q < 4; ++q) pairs = __hfma2(starts.column[q], starts.column[q], pairs);
  float columns = __low2float(pairs) + __high2float(pairs);
  // Usually no thread's four rows or eight columns differ so much.
  if (!__any_sync(~0u, rows > 4 * scaled_spread || columns > 8 * scaled_spread)) return false;
#pragma unroll
  for (int lines = 4; lines < kBlock; lines *= 2) rows += __shfl_xor_sync(~0u, rows, lines);
#pragma unroll
  for (int lines = 8; lines < kBlock; lines *= 2)
    columns += __shfl_xor_sync(~0u, columns, lines / 8);
  rows *= 1.0f / kBlock;
  columns *= 1.0f / kBlock;
  if (!(fmaxf(rows, columns) > scaled_spread)) return false;
  const __half2 zero = __float2half2_rn(0.0f);
  if (rows > kChance * columns) {
#pragma unroll
    for (__half2& start : starts.column) start = zero;
  }
  if (columns > kChance * rows) starts.row[0] = starts.row[1] = zero;
  return true;
}

// Each line's mean times the quantile factor, less that of an average line.
template <int kBlock>
__device__ PatchStarts StartsOf(const PatchSchedules& schedules, const LineSums<kBlock>& sums,
                                const PatchSweepState& state) {
  const __half2 factor = Pair(schedules.start_factor), rest = Pair(schedules.start_rest);
  PatchStarts starts;
#pragma unroll
  for (int q = 0; q < 4; ++q) {
    const __half2 partial =
        __hadd2(__hadd2(state.x[0][q], state.x[1][q]), __hadd2(state.x[2][q], state.x[3][q]));
    starts.column[q] = __hfma2(sums.Columns(partial), factor, rest);
  }
#pragma unroll
  for (int pair = 0; pair < 2; ++pair) {
    const auto entries = [&](int h, int q) { return Bits(state.x[2 * pair + h][q]); };
    starts.row[pair] = __hfma2(sums.Rows(entries), factor, rest);
  }
  return starts;
}

// What rows' potentials have in common, to the columns' ones: half precision is not to be spent on
// it.
template <int kBlock>
__device__ void ShiftToColumns(float tau, PatchSweepState& state) {
  float row_sum = 0;  // of 1/2 - tau * row potential
#pragma unroll
  for (const __half2 row : state.row) row_sum += __low2float(row) + __high2float(row);
  constexpr float kRowsOfLanes = 4 * (kBlock / 4) * (kBlock / 8);
  const float mean = SumOfBlock<kBlock>(row_sum) * (1 / kRowsOfLanes) - 0.5f;
  const __half2 shift = __float2half2_rn(-mean / tau);
#pragma unroll
  for (__half2& row : state.row) row = __hsub2(row, __float2half2_rn(mean));
#pragma unroll
  for (__half2& column : state.column) column = __hadd2(column, shift);
#pragma unroll
  for (int k = 0; k < 4; ++k) {
#pragma unroll
    for (__half2& x : state.x[k]) x = __hsub2(x, shift);
  }
}

// The next kSweeps of a schedule, in a loop over kTogether of them; after(tau) after each of these.
template <Slope kSlope, int kSweeps, int kTogether, int kBlock, typename After>
__device__ __forceinline__ void RunSweeps(const LineSums<kBlock>& excess,
                                          const PatchSchedule& schedule, int& sweep,
                                          PatchSweepState& state, After after) {
  static_assert(kSweeps % kTogether == 0);
#pragma unroll 1
  for (int k = 0; k < kSweeps / kTogether; ++k) {
#pragma unroll
    for (int j = 0; j < kTogether; ++j, ++sweep) {
      Sweep<kSlope>(excess, schedule.step[sweep], state);
    }
    after(__low2float(Pair(schedule.step[sweep - 1].tau)));
  }
}

// kCompact: as little code as can be, one sweep a loop.
template <PatchKind kKind, bool kCompact, int kBlock>
__device__ __forceinline__ PatchPotentials RunSchedule(const PatchSchedules& schedules,
                                                       const LineSums<kBlock>& sums,
                                                       const PatchStarts& starts,
                                                       PatchSweepState& state) {
  const PatchSchedule& schedule = schedules.of[static_cast<int>(kKind)];
#pragma unroll
  for (int q = 0; q < 4; ++q) {
    state.column_step[q] = starts.column[q];
    state.column[q] = __float2half2_rn(0.0f);
  }
#pragma unroll
  for (int pair = 0; pair < 2; ++pair) {
    state.row[pair] =
        __hfma2(starts.row[pair], __hneg2(Pair(schedule.first_tau)), __float2half2_rn(0.5f));
  }
  const LineSums<kBlock> excess = sums.From({schedules.minus_n[0], schedules.minus_n[1]});
  int sweep =
      static_cast<int>(Opaque(0));  // in a register of the thread, from which steps are read
  const auto nothing = [](float) {};
  if constexpr (kKind == PatchKind::kTied) {
    RunSweeps<Slope::kMeasured, kSearchingSweeps, 1>(
        excess, schedule, sweep, state, [&](float tau) { ShiftToColumns<kBlock>(tau, state); });
    RunSweeps<Slope::kMeasured, kTiedSweeps - kSearchingSweeps, 1>(excess, schedule, sweep, state,
                                                                   nothing);
  } else if constexpr (kKind == PatchKind::kScaled) {
    constexpr int kTogether = kCompact ? 1 : 2, kFrozenSweeps = kScaledSweeps - kMeasuredSweeps;
    RunSweeps<Slope::kMeasured, kMeasuredSweeps, kTogether>(excess, schedule, sweep, state,
                                                            nothing);
    ScaleGains(Pair(schedule.step[kMeasuredSweeps - 1].twice_reach), state);
    RunSweeps<Slope::kFrozen, kFrozenSweeps, kTogether>(excess, schedule, sweep, state, nothing);
  } else {
    // Sweeps are read over and over, or else they do not fit into the cache for instructions.
    constexpr int kSweeps = EvenSweeps(kBlock);
    constexpr int kTogether = kCompact ? 1 : kSweeps % 5 == 0 ? 5 : kSweeps % 4 == 0 ? 4 : 3;
    RunSweeps<Slope::kAverage, kSweeps, kTogether>(excess, schedule, sweep, state, nothing);
  }
  // Now, by all threads: where only some need the sums, tensor cores must not add them up.
#pragma unroll
  for (__half2& row : state.row) row = Pair(Opaque(Bits(row)));
#pragma unroll
  for (__half2& column : state.column) column = Pair(Opaque(Bits(column)));
  PatchPotentials potentials;
  potentials.sweeps = Sweeps(kKind, kBlock);
#pragma unroll
  for (int pair = 0; pair < 2; ++pair) {
    const float2 row = __half22float2(__hsub2(state.row[pair], __float2half2_rn(0.5f)));
    potentials.row[2 * pair] = -row.x * schedule.per_last_tau;
    potentials.row[2 * pair + 1] = -row.y * schedule.per_last_tau;
  }
#pragma unroll
  for (int q = 0; q < 4; ++q) {
    const float2 moved = __half22float2(state.column[q]), from = __half22float2(starts.column[q]);
    potentials.column[2 * q] = moved.x + from.x + schedules.center;
    potentials.column[2 * q + 1] = moved.y + from.y + schedules.center;
  }
  return potentials;
}

// Potentials such that [score > a_i + b_j] nearly has n entries in each line. restore() makes
// state.x scores less the center, the quantile of an average line; 0 beyond line m of a block. If
// kPlain, it is so on entry. A block's potentials depend on it alone; so where a patch has blocks
// of several kinds, all of their schedules run.
//
// publish(potentials) takes them, of the threads whose block is to be solved at all (`fit`).
// `tied`: the block has many ties. kWhole: m is kBlock. kPlain: so it is, and none
// has ties.
template <int kBlock, bool kWhole, bool kPlain, typename Restore, typename Publish>
__device__ void SweepPatch(const PatchSchedules& schedules, bool fit, bool tied,
                           PatchSweepState& state, Restore restore, Publish publish) {
  const LineSums<kBlock> sums({schedules.ones[0], schedules.ones[1]});
  // Small blocks do not need more: what a schedule for ties alone takes longer, its paths are
  // worth.
  constexpr PatchKind kOfTies = kBlock <= 16 ? PatchKind::kScaled : PatchKind::kTied;
  if constexpr (!kPlain) restore();
  PatchStarts starts = StartsOf(schedules, sums, state);
  const bool scaled = ChooseStarts<kBlock>(schedules.scaled_spread, starts);
  const PatchKind own = tied ? kOfTies : scaled ? PatchKind::kScaled : PatchKind::kEven;
  bool changed = false;
  const auto run = [&]<PatchKind kKind>() {
    if (!__any_sync(~0u, fit && own == kKind)) return;
    if (changed) restore();
    changed = true;
    if constexpr (!kWhole) ExcludePadding<kBlock>(schedules.m, state);
    const auto potentials = RunSchedule<kKind, !kPlain>(schedules, sums, starts, state);
    if (fit && own == kKind) publish(potentials);
  };
  run.template operator()<PatchKind::kEven>();
  run.template operator()<PatchKind::kScaled>();
  if constexpr (!kPlain && kOfTies == PatchKind::kTied) {
    run.template operator()<PatchKind::kTied>();
  }
}

}  // namespace tsenor::cuda
