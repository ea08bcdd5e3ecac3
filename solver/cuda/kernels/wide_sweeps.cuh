// Sweeps over a wide patch (primitives/wide_patch.cuh) in half precision: those of
// patch_sweeps.cuh, where the mathematics stands, for one block of up to 64 x 64 in a warp. A sweep
// with the slope of an average line takes some 326 instructions for 4096 entries.
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/wide_schedule.h"
#include "solver/cuda/primitives/wide_patch.cuh"

namespace tsenor::cuda {

// Of one thread, for its rows (pairs of two) and its columns (pairs of two).
struct WideSweepState {
  __half2 x[kWideRows][kWidePairs];  // w - start - potentials, but for the last step
  __half2 row[kWideRows / 2];        // 1/2 - tau * row potential, which x keeps; of rough sweeps,
                                     // row potential
  __half2 row_step[kWideRows / 2];
  __half2 row_gain[kWideRows / 2];  // what a row's potential moves for an excess of one
  __half2 column[kWidePairs];       // column potential
  __half2 column_step[kWidePairs];  // the last step; of average slopes, over the gain
  __half2 column_gain[kWidePairs];
};

// The potentials that sweeps start from, less the center.
struct WideStarts {
  __half2 row[kWideRows / 2];
  __half2 column[kWidePairs];
};

// Of a line's count and the sum of squares, both less n: what its potential moves for an excess of
// one. About 1 / x is taken from the bits of x, +-12 %.
inline __device__ __half2 WideGain(__half2 count, __half2 squares, const WideStep& step) {
  const __half2 within = __hmax2(__hsub2(count, squares), __float2half2_rn(0.05f));
  return __hmul2(Pair(0x77987798u - Bits(within)), Pair(step.gain_scale));
}

inline __device__ __half2 Within(__half2 x, __half2 limit) {
  return __hmax2(__hmin2(x, limit), __hneg2(limit));
}

// Where a sweep has its slopes from. A rough one measures, too, and takes the rows' steps from x as
// it takes the columns': while potentials are far off, half precision does not hold tau times them.
enum class WideSlope { kRough, kMeasured, kFrozen, kAverage };

constexpr bool Measures(WideSlope slope) {
  return slope == WideSlope::kRough || slope == WideSlope::kMeasured;
}

// Which way the potential of a line moves, and how far: by the excess that it counts, and the gain
// of an excess of one, which squares() over the line measure anew if kSlope says so.
template <WideSlope kSlope, typename Squares>
__device__ __forceinline__ __half2 MoveOf(__half2 count, Squares squares, const WideStep& step,
                                          __half2& gain) {
  if constexpr (Measures(kSlope)) gain = WideGain(count, squares(), step);
  const __half2 move = __hmul2(count, __hmin2(gain, Pair(step.greatest_gain)));
  return Measures(kSlope) ? Within(move, Pair(step.longest)) : move;
}

template <WideSlope kSlope>
__device__ __forceinline__ void SweepWideRows(const WideSums& excess, const WideStep& step,
                                              WideSweepState& state) {
  constexpr bool kAverage = kSlope == WideSlope::kAverage, kRough = kSlope == WideSlope::kRough;
  const __half2 tau = Pair(step.tau);
#pragma unroll
  for (int pair = 0; pair < kWideRows / 2; ++pair) {
    __half2& row = state.row[pair];
    if constexpr (!kRough) row = __hfma2(row, Pair(step.rescale), Pair(step.offset));
    __half2 s[2][kWidePairs];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const __half2 own = h == 0 ? __low2half2(row) : __high2half2(row);
#pragma unroll
      for (int q = 0; q < kWidePairs; ++q) {
        __half2& x = state.x[2 * pair + h][q];
        x = kAverage ? __hfma2(state.column_step[q], Pair(step.minus_gain_before), x)
                     : __hsub2(x, state.column_step[q]);
        s[h][q] = __hfma2_sat(x, tau, kRough ? Pair(step.offset) : own);
      }
    }
    const __half2 count = excess.Rows([&](int h, int q) { return Bits(s[h][q]); });
    if constexpr (kAverage) {
      row = __hfma2(count, Pair(step.row_gain), row);
    } else {
      const auto squares = [&] {
        return excess.Rows([&](int h, int q) { return Bits(__hmul2(s[h][q], s[h][q])); });
      };
      const __half2 move = MoveOf<kSlope>(count, squares, step, state.row_gain[pair]);
      state.row_step[pair] = move;
      row = kRough ? __hadd2(row, move) : __hfma2(move, __hneg2(tau), row);
    }
  }
}

// The sum over the thread's rows of term(k, s), s being the count of entry (k, q).
template <typename Term>
__device__ __forceinline__ __half2 SumOverRows(Term term) {
  __half2 sum[kWideRows / 2];
#pragma unroll
  for (int pair = 0; pair < kWideRows / 2; ++pair) {
    sum[pair] = __hadd2(term(2 * pair), term(2 * pair + 1));
  }
  return __hadd2(__hadd2(sum[0], sum[1]), __hadd2(sum[2], sum[3]));
}

template <WideSlope kSlope>
__device__ __forceinline__ void SweepWideColumns(const WideSums& excess, const WideStep& step,
                                                 WideSweepState& state) {
  constexpr bool kAverage = kSlope == WideSlope::kAverage, kRough = kSlope == WideSlope::kRough;
  const __half2 tau = Pair(step.tau);
#pragma unroll
  for (int q = 0; q < kWidePairs; ++q) {
    __half2 s[kWideRows];
#pragma unroll
    for (int k = 0; k < kWideRows; ++k) {
      const __half2 pair = kRough ? state.row_step[k / 2] : state.row[k / 2];
      const __half2 own = k % 2 == 0 ? __low2half2(pair) : __high2half2(pair);
      __half2& x = state.x[k][q];
      if constexpr (kRough) x = __hsub2(x, own);
      s[k] = __hfma2_sat(x, tau, kRough ? Pair(step.offset) : own);
    }
    const __half2 count = excess.Columns(SumOverRows([&](int k) { return s[k]; }));
    __half2& move = state.column_step[q];
    if constexpr (kAverage) {
      move = count;
      state.column[q] = __hfma2(count, Pair(step.column_gain), state.column[q]);
    } else {
      const auto squares = [&] {
        return excess.Columns(SumOverRows([&](int k) { return __hmul2(s[k], s[k]); }));
      };
      move = MoveOf<kSlope>(count, squares, step, state.column_gain[q]);
      state.column[q] = __hadd2(state.column[q], move);
    }
  }
}

template <WideSlope kSlope>
__device__ __forceinline__ void SweepWide(const WideSums& excess, const WideStep& step,
                                          WideSweepState& state) {
  SweepWideRows<kSlope>(excess, step, state);
  SweepWideColumns<kSlope>(excess, step, state);
}

// Sets the entries beyond line m to `value`, a half2.
__device__ __forceinline__ void SetWidePadding(int m, __half2 value, WideSweepState& state) {
  const WidePlace place;
#pragma unroll
  for (int q = 0; q < kWidePairs; ++q) {
    const uint32_t pair =
        (place.column(2 * q) < m ? 0xffff : 0) | (place.column(2 * q + 1) < m ? 0xffff0000 : 0);
#pragma unroll
    for (int k = 0; k < kWideRows; ++k) {
      const uint32_t entries = place.row(k) < m ? pair : 0;
      __half2& x = state.x[k][q];
      x = Pair((Bits(x) & entries) | (Bits(value) & ~entries));
    }
  }
}

// So small that they count for nothing; half precision ends there.
__device__ __forceinline__ void ExcludeWidePadding(int m, WideSweepState& state) {
  SetWidePadding(m, __float2half2_rn(-6e4f), state);
}

// Whether the lines differ in scale, by their starts, whose mean squares over a side are the
// spreads. A side that differs far less than the other does so by chance: it starts from the
// average.
__device__ __forceinline__ bool ChooseWideStarts(int m, float scaled_spread, WideStarts& starts) {
  constexpr float kChance = 4;
  const auto squares = [](const auto& start) {
    __half2 sum = __float2half2_rn(0.0f);
#pragma unroll
    for (const __half2 x : start) sum = __hfma2(x, x, sum);
    return __low2float(sum) + __high2float(sum);
  };
  float rows = squares(starts.row), columns = squares(starts.column);
  // Usually no thread's eight rows or sixteen columns differ so much.
  if (!__any_sync(~0u, rows > 8 * scaled_spread || columns > 16 * scaled_spread)) return false;
#pragma unroll
  for (int lanes = 4; lanes < 32; lanes *= 2) rows += __shfl_xor_sync(~0u, rows, lanes);
#pragma unroll
  for (int lanes = 1; lanes < 4; lanes *= 2) columns += __shfl_xor_sync(~0u, columns, lanes);
  const auto lines = static_cast<float>(m);
  rows = __fdividef(rows, lines);
  columns = __fdividef(columns, lines);
  if (!(fmaxf(rows, columns) > scaled_spread)) return false;
  const __half2 zero = __float2half2_rn(0.0f);
  if (rows > kChance * columns) {
#pragma unroll
    for (__half2& start : starts.column) start = zero;
  }
  if (columns > kChance * rows) {
#pragma unroll
    for (__half2& start : starts.row) start = zero;
  }
  return true;
}

// Lines beyond m start from nothing.
__device__ __forceinline__ void ClearPadding(int m, WideStarts& starts) {
  const WidePlace place;
  const auto existing = [m](int line, int next) {
    return (line < m ? 0xffff : 0) | (next < m ? 0xffff0000 : 0);
  };
#pragma unroll
  for (int pair = 0; pair < kWideRows / 2; ++pair) {
    __half2& start = starts.row[pair];
    start = Pair(Bits(start) & existing(place.row(2 * pair), place.row(2 * pair + 1)));
  }
#pragma unroll
  for (int q = 0; q < kWidePairs; ++q) {
    __half2& start = starts.column[q];
    start = Pair(Bits(start) & existing(place.column(2 * q), place.column(2 * q + 1)));
  }
}

// Each line's mean times the quantile factor, less that of an average line.
__device__ __forceinline__ WideStarts WideStartsOf(const WideSchedules& schedules, int m,
                                                   const WideSweepState& state) {
  const WideSums sums({schedules.ones[0], schedules.ones[1]}, {0, 0});
  const __half2 factor = Pair(schedules.start_factor), rest = Pair(schedules.start_rest);
  WideStarts starts;
#pragma unroll
  for (int q = 0; q < kWidePairs; ++q) {
    const __half2 partial = SumOverRows([&](int k) { return state.x[k][q]; });
    starts.column[q] = __hfma2(sums.Columns(partial), factor, rest);
  }
#pragma unroll
  for (int pair = 0; pair < kWideRows / 2; ++pair) {
    const auto entries = [&](int h, int q) { return Bits(state.x[2 * pair + h][q]); };
    starts.row[pair] = __hfma2(sums.Rows(entries), factor, rest);
  }
  if (m < WideScores::kLines) ClearPadding(m, starts);
  return starts;
}

// The potentials of a thread's lines, in mean scores.
struct WidePotentials {
  float row[kWideRows];
  float column[2 * kWidePairs];
  int sweeps;  // that found them
};

// Puts x and potentials to where sweeps start from.
__device__ __forceinline__ void Begin(const WideStarts& starts, float first_tau,
                                      WideSweepState& state) {
#pragma unroll
  for (int q = 0; q < kWidePairs; ++q) {
    state.column_step[q] = starts.column[q];
    state.column[q] = __float2half2_rn(0.0f);
  }
#pragma unroll
  for (int pair = 0; pair < kWideRows / 2; ++pair) {
    state.row[pair] =
        __hfma2(starts.row[pair], __float2half2_rn(-first_tau), __float2half2_rn(0.5f));
  }
}

// Rough sweeps, from `starts`; these become the potentials that are found.
__device__ __forceinline__ void FindStarts(const WideSums& excess, const WideSchedule& schedule,
                                           WideStarts& starts, WideSweepState& state) {
  Begin(starts, 0, state);
#pragma unroll
  for (int k = 0; k < kWideRows; ++k) {
    const __half2 pair = starts.row[k / 2];
    const __half2 own = k % 2 == 0 ? __low2half2(pair) : __high2half2(pair);
#pragma unroll
    for (int q = 0; q < kWidePairs; ++q) state.x[k][q] = __hsub2(state.x[k][q], own);
  }
#pragma unroll
  for (int pair = 0; pair < kWideRows / 2; ++pair) state.row[pair] = starts.row[pair];
#pragma unroll 1
  for (int sweep = 0; sweep < schedule.rough; ++sweep) {
    SweepWide<WideSlope::kRough>(excess, schedule.step[sweep], state);
  }
#pragma unroll
  for (int pair = 0; pair < kWideRows / 2; ++pair) starts.row[pair] = state.row[pair];
#pragma unroll
  for (int q = 0; q < kWidePairs; ++q) {
    starts.column[q] = __hadd2(starts.column[q], state.column[q]);
  }
}

// Of a thread's lines, in mean scores: the starts, and what was added to them.
__device__ __forceinline__ WidePotentials PotentialsOf(const WideSchedules& schedules,
                                                       const WideSchedule& schedule,
                                                       const WideStarts& starts,
                                                       const WideSweepState& state) {
  WidePotentials potentials;
  potentials.sweeps = schedule.sweeps;
#pragma unroll
  for (int pair = 0; pair < kWideRows / 2; ++pair) {
    const float2 row = __half22float2(__hsub2(state.row[pair], __float2half2_rn(0.5f)));
    potentials.row[2 * pair] = -row.x * schedule.per_last_tau;
    potentials.row[2 * pair + 1] = -row.y * schedule.per_last_tau;
  }
#pragma unroll
  for (int q = 0; q < kWidePairs; ++q) {
    const float2 moved = __half22float2(state.column[q]), from = __half22float2(starts.column[q]);
    potentials.column[2 * q] = moved.x + from.x + schedules.center;
    potentials.column[2 * q + 1] = moved.y + from.y + schedules.center;
  }
  return potentials;
}

// Sums that begin with -n.
inline __device__ WideSums ExcessOf(const WideSchedules& schedules) {
  return WideSums({schedules.ones[0], schedules.ones[1]},
                  {schedules.minus_n[0], schedules.minus_n[1]});
}

// Lines alike in scale.
__device__ __forceinline__ WidePotentials SweepEven(const WideSchedules& schedules,
                                                    const WideStarts& starts,
                                                    WideSweepState& state) {
  const WideSchedule& schedule = schedules.schedule[static_cast<int>(WideKind::kEven)];
  const WideSums excess = ExcessOf(schedules);
  Begin(starts, schedule.first_tau, state);
#pragma unroll 1
  for (int sweep = 0; sweep < schedule.sweeps; sweep += 2) {  // two, whose registers need no copies
    SweepWide<WideSlope::kAverage>(excess, schedule.step[sweep], state);
    SweepWide<WideSlope::kAverage>(excess, schedule.step[sweep + 1], state);
  }
  return PotentialsOf(schedules, schedule, starts, state);
}

// Others: rough potentials first, which recenter(starts) subtracts from the scores anew, so that
// what is left is small and precise where it matters.
template <typename Recenter>
__device__ __forceinline__ WidePotentials SweepUneven(const WideSchedules& schedules, WideKind kind,
                                                      WideStarts& starts, WideSweepState& state,
                                                      Recenter recenter) {
  const WideSchedule& schedule = schedules.schedule[static_cast<int>(kind)];
  const WideSums excess = ExcessOf(schedules);
  FindStarts(excess, schedule, starts, state);
  recenter(starts);
  Begin(WideStarts(), 0, state);
  int sweep = schedule.rough;
#pragma unroll 1
  for (; sweep < schedule.measured; ++sweep) {
    SweepWide<WideSlope::kMeasured>(excess, schedule.step[sweep], state);
  }
#pragma unroll 1
  for (; sweep < schedule.sweeps; ++sweep) {
    SweepWide<WideSlope::kFrozen>(excess, schedule.step[sweep], state);
  }
  WidePotentials potentials = PotentialsOf(schedules, schedule, starts, state);
#pragma unroll
  for (int pair = 0; pair < kWideRows / 2; ++pair) {
    const float2 from = __half22float2(starts.row[pair]);
    potentials.row[2 * pair] += from.x;
    potentials.row[2 * pair + 1] += from.y;
  }
  return potentials;
}

// Potentials such that [score > a_i + b_j] nearly has n entries in each line. state.x on entry:
// scores less the center, the quantile of an average line; 0 beyond line m. recenter(starts) makes
// it scores less center and starts. `kind` is kTied, kEven or kWild; of a block without ties, the
// lines decide then whether it is scaled. Where it is wild, x is cut off at so little that a few
// huge scores do not make lines differ.
template <typename Recenter>
__device__ __forceinline__ WidePotentials SweepWidePatch(const WideSchedules& schedules, int m,
                                                         WideKind kind, WideSweepState& state,
                                                         Recenter recenter) {
  WideStarts starts = WideStartsOf(schedules, m, state);
  // By a vote, for the compiler to know that all lanes go the same way from here on.
  const bool scaled = __any_sync(~0u, ChooseWideStarts(m, schedules.scaled_spread, starts));
  if (scaled && kind == WideKind::kEven) kind = WideKind::kScaled;
  if (!scaled && kind == WideKind::kWild) kind = WideKind::kEven;
  if (kind == WideKind::kWild) {
    starts = {};
    recenter(starts);
  }
  if (m < WideScores::kLines) ExcludeWidePadding(m, state);
  if (kind == WideKind::kEven) return SweepEven(schedules, starts, state);
  return SweepUneven(schedules, kind, starts, state, [&](const WideStarts& found) {
    recenter(found);
    if (m < WideScores::kLines) ExcludeWidePadding(m, state);
  });
}

}  // namespace tsenor::cuda
