// Blocks in which many scores tie: potentials on which ties are exact, and a start that uses them.
//
// Compiled once for every instruction set (cpu/solve_rows.cc), hence the guard that can be flipped.
#if defined(SOLVER_CPU_TIES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SOLVER_CPU_TIES_INL_H_
#undef SOLVER_CPU_TIES_INL_H_
#else
#define SOLVER_CPU_TIES_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "solver/cpu/block.h"
#include "solver/cpu/exact_finish-inl.h"
#include "solver/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

// Moves the potentials of those of the lines `open` that have an entry in the line `scores` (of
// potential `potential`) within `reach` of tight, so that it is tight exactly; returns them.
template <int kWidth>
LineSet<kWidth> SnapLines(const float* scores, float potential, float reach,
                          const LineSet<kWidth>& open, float* potentials) {
  const Lanes<float, kWidth> d;
  const auto limit = hn::Set(d, reach);
  LineSet<kWidth> snapped;
  for (int v = 0; v < kWidth; v += hn::MaxLanes(d)) {
    const auto old = hn::Load(d, potentials + v);
    const auto tight = hn::Sub(hn::Load(d, scores + v), hn::Set(d, potential));
    const auto near = hn::And(open.LanesFrom(d, v), hn::Le(hn::Abs(hn::Sub(tight, old)), limit));
    hn::Store(hn::IfThenElse(near, tight, old), d, potentials + v);
    snapped.InsertLanes(d, near, v);
  }
  return snapped;
}

// Makes entries that are within `reach` of tight tight exactly, as far as they form a forest: from
// a row on, its near-tight columns are snapped to it, then their near-tight rows to those, and so
// on. Where scores tie, all entries of a tied cell of rows and columns then have a residual of
// exactly 0.
template <int kWidth>
void SnapPotentials(Block<kWidth>& block, float reach) {
  LineSet<kWidth> open_rows = LineSet<kWidth>::First(block.m), open_columns = open_rows;
  LineSet<kWidth> rows, columns;  // snapped, and nothing is snapped to them yet
  while (true) {
    if (const int i = rows.PopFirst(); i >= 0) {
      const auto snapped = SnapLines<kWidth>(block.scores + i * kWidth, block.row_potential[i],
                                             reach, open_columns, block.column_potential);
      open_columns = open_columns & ~snapped;
      columns |= snapped;
    } else if (const int j = columns.PopFirst(); j >= 0) {
      const auto snapped = SnapLines<kWidth>(block.scores_t + j * kWidth, block.column_potential[j],
                                             reach, open_rows, block.row_potential);
      open_rows = open_rows & ~snapped;
      rows |= snapped;
    } else if (const int root = open_rows.PopFirst(); root >= 0) {
      rows.insert(root);
    } else {
      return;
    }
  }
}

// Keeps tight entries where both lines miss some, row by row, in those columns first that miss
// most: leaves little to augment where there is much choice.
//
// REQUIRES: potentials of 0; kept entries are those with a positive weight.
template <int kWidth>
void FillTightEntries(FinishProblem<kWidth>& problem) {
  const Lanes<int32_t, kWidth> d;
  // Columns by the number of entries that they miss.
  LineSet<kWidth> missing[kWidth + 1] = {};
  int most = 0;
  for (int j = 0; j < problem.m; ++j) {
    const int count = std::max(problem.n - problem.kept_in_column[j].count(), 0);
    missing[count].insert(j);
    most = std::max(most, count);
  }
  for (int i = 0; i < problem.m; ++i) {
    int room = problem.n - problem.kept_in_row[i].count();
    if (room <= 0) continue;
    LineSet<kWidth> tight;
    for (int v = 0; v < kWidth; v += hn::MaxLanes(d)) {
      tight.InsertLanes(d, hn::Eq(hn::Load(d, problem.weight + i * kWidth + v), hn::Zero(d)), v);
    }
    for (int count = most; count > 0 && room > 0; --count) {
      LineSet<kWidth> columns = tight & missing[count];
      if (columns.count() > room) columns = columns.FirstOf(room);
      room -= columns.count();
      tight = tight & ~columns;
      missing[count] = missing[count] & ~columns;
      missing[count - 1] |= columns;
      problem.kept_in_row[i] |= columns;
      for (int j = columns.PopFirst(); j >= 0; j = columns.PopFirst()) {
        problem.kept_in_column[j].insert(i);
      }
    }
    while (most > 0 && missing[most].empty()) --most;
  }
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_TIES_INL_H_
