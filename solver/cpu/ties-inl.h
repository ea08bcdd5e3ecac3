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
#include "solver/cpu/residuals-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

// Whether at least a 32nd of the entries equals the one below.
template <int kWidth>
bool ManyScoresTie(const Block<kWidth>& block) {
  const Lanes<float, kWidth> d;
  const auto existing = LineSet<kWidth>::First(block.m);
  int equal = 0;
  for (int i = 0; i + 1 < block.m; ++i) {
    LineSet<kWidth> columns;
    for (int v = 0; v < kWidth; v += hn::MaxLanes(d)) {
      const float* at = block.scores + i * kWidth + v;
      columns.InsertLanes(d, hn::Eq(hn::Load(d, at), hn::Load(d, at + kWidth)), v);
    }
    equal += (columns & existing).count();
  }
  return 32 * equal >= block.m * block.m;
}

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
// exactly 0 (if their differences are exact in float32, as those of scores of few bits are).
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
      break;
    }
  }
}

// Keeps tight entries where both lines miss some, and so leaves little to augment where there is
// much choice. Works on sets of lines, one bit each.
template <int kWidth>
class TightFill {
 public:
  // REQUIRES: kept entries are those with a positive residual.
  explicit TightFill(FinishProblem<kWidth>& problem) : p_(problem) {
    for (int k = 0; k < p_.m; ++k) {
      tight_in_row_[k] = TightEntries<kWidth>(p_.weight + k * kWidth, p_.row_potential[k],
                                              p_.column_potential, p_.m);
      tight_in_column_[k] = TightEntries<kWidth>(p_.weight_t + k * kWidth, p_.column_potential[k],
                                                 p_.row_potential, p_.m);
    }
  }

  void Run() {
    FillGreedily();
    for (int i = 0; i < p_.m; ++i) {
      if (p_.kept_in_row[i].count() >= p_.n) continue;
      LineSet<kWidth> columns = missing_columns_;
      for (int j = columns.PopFirst(); j >= 0; j = columns.PopFirst()) {
        while (p_.kept_in_row[i].count() < p_.n && p_.kept_in_column[j].count() < p_.n) {
          if (!Exchange(i, j)) break;
        }
      }
    }
  }

 private:
  // Row by row, those columns first that miss most.
  void FillGreedily() {
    LineSet<kWidth> missing[kWidth + 1] = {};  // columns by the number of entries that they miss
    int most = 0;
    for (int j = 0; j < p_.m; ++j) {
      const int count = std::max(p_.n - p_.kept_in_column[j].count(), 0);
      missing[count].insert(j);
      most = std::max(most, count);
    }
    for (int i = 0; i < p_.m; ++i) {
      int room = p_.n - p_.kept_in_row[i].count();
      LineSet<kWidth> tight = tight_in_row_[i];
      for (int count = most; count > 0 && room > 0; --count) {
        LineSet<kWidth> columns = tight & missing[count];
        if (columns.count() > room) columns = columns.FirstOf(room);
        room -= columns.count();
        tight = tight & ~columns;
        missing[count] = missing[count] & ~columns;
        missing[count - 1] |= columns;
        p_.kept_in_row[i] |= columns;
        for (int j = columns.PopFirst(); j >= 0; j = columns.PopFirst()) {
          p_.kept_in_column[j].insert(i);
        }
      }
      while (most > 0 && missing[most].empty()) --most;
    }
    for (int count = 1; count <= most; ++count) missing_columns_ |= missing[count];
  }

  // One more entry in row i and in column j, along three tight entries: keeps (i, l) and (k, j)
  // instead of (k, l).
  bool Exchange(int i, int j) {
    const LineSet<kWidth> rows = tight_in_column_[j] & ~p_.kept_in_column[j];
    LineSet<kWidth> columns = tight_in_row_[i] & ~p_.kept_in_row[i];
    for (int l = columns.PopFirst(); l >= 0; l = columns.PopFirst()) {
      LineSet<kWidth> between = rows & p_.kept_in_column[l] & tight_in_column_[l];
      const int k = between.PopFirst();
      if (k < 0) continue;
      Flip(i, l);
      Flip(k, l);
      Flip(k, j);
      return true;
    }
    return false;
  }

  void Flip(int i, int j) {
    p_.kept_in_row[i].flip(j);
    p_.kept_in_column[j].flip(i);
  }

  FinishProblem<kWidth>& p_;
  LineSet<kWidth> tight_in_row_[kWidth];
  LineSet<kWidth> tight_in_column_[kWidth];
  LineSet<kWidth> missing_columns_;
};

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_TIES_INL_H_
