// Potentials of lines that keep far too few or too many entries, moved to where they keep n.
//
// Compiled once for every instruction set (cpu/solve_rows.cc), hence the guard that can be flipped.
#if defined(SOLVER_CPU_LINE_SEARCH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SOLVER_CPU_LINE_SEARCH_INL_H_
#undef SOLVER_CPU_LINE_SEARCH_INL_H_
#else
#define SOLVER_CPU_LINE_SEARCH_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <functional>

#include "solver/cpu/exact_finish-inl.h"
#include "solver/cpu/lanes-inl.h"
#include "solver/cpu/residuals-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

// Moves the potential of every line that keeps at least two entries too few or too many, whatever
// is done with its tight entries, as little as makes it n: to its n-th residual or the next one.
// Returns whether there was one.
template <int kWidth>
bool SearchLines(const int32_t* weight, const int32_t* other, int m, int n, int32_t* potential) {
  bool moved = false;
  for (int k = 0; k < m; ++k) {
    const int32_t* line = weight + k * kWidth;
    const int positive = PositiveEntries<kWidth>(line, potential[k], other, m).count();
    const int tight = TightEntries<kWidth>(line, potential[k], other, m).count();
    if (positive < n + 2 && positive + tight > n - 2) continue;
    int32_t rest[kWidth];  // residuals without the line's own potential
    for (int j = 0; j < m; ++j) rest[j] = line[j] - other[j];
    std::nth_element(rest, rest + n, rest + m, std::greater<>());
    const int32_t next = rest[n], nth = *std::min_element(rest, rest + n);
    potential[k] = std::clamp(potential[k], next, nth);
    moved = true;
  }
  return moved;
}

// Coordinate ascent on the dual of the integer problem, a few times over rows and columns, for
// lines that the sweeps have left far from n: because scores span so many orders of magnitude that
// one sharpness cannot serve all lines, or because many of them tie. Saves most of the paths there.
template <int kWidth>
void SearchLines(FinishProblem<kWidth>& problem) {
  constexpr int kRounds = 4;
  bool moved = false;
  for (int round = 0; round < kRounds; ++round) {
    const bool rows = SearchLines<kWidth>(problem.weight, problem.column_potential, problem.m,
                                          problem.n, problem.row_potential);
    const bool columns = SearchLines<kWidth>(problem.weight_t, problem.row_potential, problem.m,
                                             problem.n, problem.column_potential);
    if (!rows && !columns) break;
    moved = true;
  }
  if (moved) KeepPositive(problem);
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_LINE_SEARCH_INL_H_
