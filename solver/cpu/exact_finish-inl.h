// From good potentials to the exact optimum of an integer problem, with matching potentials.
//
// Compiled once for every instruction set (cpu/solve_rows.cc), hence the guard that can be flipped.
#if defined(SOLVER_CPU_EXACT_FINISH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SOLVER_CPU_EXACT_FINISH_INL_H_
#undef SOLVER_CPU_EXACT_FINISH_INL_H_
#else
#define SOLVER_CPU_EXACT_FINISH_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "solver/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

// An integer b-matching problem of m x m inside kWidth x kWidth, and the state of its solution.
//
// With the residual r_ij = weight_ij - A_i - B_j the invariant throughout is complementary
// slackness: kept entries have r >= 0, others r <= 0. Padded entries are never kept.
template <int kWidth>
struct FinishProblem {
  static constexpr int kArea = kWidth * kWidth;

  int m = 0;
  int n = 0;
  alignas(64) int32_t weight[kArea];
  alignas(64) int32_t weight_t[kArea];
  alignas(64) int32_t row_potential[kWidth];     // A
  alignas(64) int32_t column_potential[kWidth];  // B
  LineSet<kWidth> kept_in_row[kWidth];           // columns
  LineSet<kWidth> kept_in_column[kWidth];        // rows: the same, transposed
};

// Greatest magnitude of weights and potentials with which no sum in Finish() can overflow: a
// distance is at most 4 times this, and is at most added to three such numbers.
inline constexpr int32_t kFinishRange = 1 << 28;

struct FinishResult {
  bool optimal = false;   // false: a potential left kFinishRange; nothing else is meant then
  int augmentations = 0;  // paths
  int32_t greatest_potential = 0;  // in magnitude
};

// How many entries each line misses or has too much.
//
// Rows supply what they miss (n - kept), columns what they have too much (kept - n): a path from a
// source (positive supply) to a sink (negative supply), flipping its entries, brings both nearer to
// n.
template <int kWidth>
struct Supplies {
  int row[kWidth];
  int column[kWidth];
  LineSet<kWidth> source_rows, source_columns, sink_rows, sink_columns;

  // Returns the sum of the positive supplies: the number of paths to go.
  int Count(const FinishProblem<kWidth>& problem) {
    source_rows = source_columns = sink_rows = sink_columns = {};
    int missing = 0;
    for (int k = 0; k < problem.m; ++k) {
      row[k] = problem.n - problem.kept_in_row[k].count();
      column[k] = problem.kept_in_column[k].count() - problem.n;
      missing += std::max(row[k], 0) + std::max(column[k], 0);
      if (row[k] > 0) source_rows.insert(k);
      if (row[k] < 0) sink_rows.insert(k);
      if (column[k] > 0) source_columns.insert(k);
      if (column[k] < 0) sink_columns.insert(k);
    }
    return missing;
  }
};

// Finish() with its state. A line is a row or a column; the graph has an arc from row to column for
// every entry that is not kept, and from column to row for every one that is, of length |residual|.
template <int kWidth>
class Finisher {
 public:
  explicit Finisher(FinishProblem<kWidth>& problem) : p_(problem), m_(problem.m) {}

  FinishResult Run() {
    FinishResult result;
    if (GreatestPotential() > kFinishRange) return result;
    int missing = supply_.Count(p_);
    while (missing > 0) {
      Search();
      if (reach_ >= kInfinity || !MovePotentials()) return result;
      const int paths = Augment();
      if (paths == 0) return result;
      result.augmentations += paths;
      missing -= paths;
    }
    result.optimal = true;
    result.greatest_potential = GreatestPotential();
    return result;
  }

 private:
  using D = Lanes<int32_t, kWidth>;
  using V = hn::Vec<D>;
  static constexpr int kLanes = hn::MaxLanes(D());
  static constexpr int kVectors = kWidth / kLanes;
  static constexpr int32_t kInfinity = 4 * kFinishRange;
  // A candidate through an entry that may not be used: with a potential added, still >= kInfinity.
  static constexpr int32_t kBarred = kInfinity + 2 * kFinishRange;

  // One side of the graph.
  struct Side {
    alignas(64) int32_t distance[kWidth];  // from the sources
    alignas(64) int32_t level[kWidth];     // the relaxation in which it last fell
    LineSet<kWidth> changed;  // it fell since the other side was relaxed, and may matter
    LineSet<kWidth> open;     // may still lie on a path of this phase
  };

  // Distances of all lines from the sources, to the farthest sink and not much further.
  void Search() {
    Begin(rows_, supply_.source_rows);
    Begin(columns_, supply_.source_columns);
    reach_ = kInfinity;
    level_ = 0;
    while (!rows_.changed.empty() || !columns_.changed.empty()) {
      if (!rows_.changed.empty()) RelaxColumns();
      if (!columns_.changed.empty()) RelaxRows();
    }
  }

  static void Begin(Side& side, const LineSet<kWidth>& sources) {
    const D d;
    for (int v = 0; v < kWidth; v += kLanes) {
      const V distance =
          hn::IfThenElse(sources.LanesFrom(d, v), hn::Zero(d), hn::Set(d, kInfinity));
      hn::Store(distance, d, side.distance + v);
      hn::Store(hn::Zero(d), d, side.level + v);
    }
    side.changed = sources;
  }

  // distance_j = B_j + min over changed rows i, (i, j) not kept, of distance_i + A_i - weight_ij.
  void RelaxColumns() {
    const D d;
    const V barred = hn::Set(d, kBarred);
    V best[kVectors];
    for (V& lanes : best) lanes = barred;
    for (int i = rows_.changed.PopFirst(); i >= 0; i = rows_.changed.PopFirst()) {
      const V base = hn::Set(d, rows_.distance[i] + p_.row_potential[i]);
      for (int v = 0; v < kVectors; ++v) {
        const V candidate = hn::Sub(base, hn::Load(d, p_.weight + i * kWidth + v * kLanes));
        const auto kept = p_.kept_in_row[i].LanesFrom(d, v * kLanes);
        best[v] = hn::Min(best[v], hn::IfThenElse(kept, barred, candidate));
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      best[v] = hn::Add(best[v], hn::Load(d, p_.column_potential + v * kLanes));
    }
    Improve(best, columns_);
  }

  // distance_i = -A_i + min over changed columns j, (i, j) kept, of distance_j - B_j + weight_ij.
  void RelaxRows() {
    const D d;
    const V barred = hn::Set(d, kBarred);
    V best[kVectors];
    for (V& lanes : best) lanes = barred;
    for (int j = columns_.changed.PopFirst(); j >= 0; j = columns_.changed.PopFirst()) {
      const V base = hn::Set(d, columns_.distance[j] - p_.column_potential[j]);
      for (int v = 0; v < kVectors; ++v) {
        const V candidate = hn::Add(base, hn::Load(d, p_.weight_t + j * kWidth + v * kLanes));
        const auto kept = p_.kept_in_column[j].LanesFrom(d, v * kLanes);
        best[v] = hn::Min(best[v], hn::IfThenElse(kept, candidate, barred));
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      best[v] = hn::Sub(best[v], hn::Load(d, p_.row_potential + v * kLanes));
    }
    Improve(best, rows_);
  }

  // Takes the distances that got shorter; marks those as changed that can still matter.
  void Improve(const V* candidate, Side& side) {
    const D d;
    const V level = hn::Set(d, ++level_);
    LineSet<kWidth> improved;
    for (int v = 0; v < kVectors; ++v) {
      int32_t* const distance_at = side.distance + v * kLanes;
      int32_t* const level_at = side.level + v * kLanes;
      const V distance = hn::Load(d, distance_at);
      const auto shorter = hn::Lt(candidate[v], distance);
      hn::Store(hn::IfThenElse(shorter, level, hn::Load(d, level_at)), d, level_at);
      hn::Store(hn::Min(candidate[v], distance), d, distance_at);
      improved.InsertLanes(d, hn::And(shorter, hn::Lt(candidate[v], hn::Set(d, reach_))),
                           v * kLanes);
    }
    side.changed |= improved & LineSet<kWidth>::First(m_);
    reach_ = FarthestSink();
  }

  int32_t FarthestSink() const {
    const D d;
    V farthest = hn::Zero(d);
    for (int v = 0; v < kWidth; v += kLanes) {
      const V row = hn::Load(d, rows_.distance + v), column = hn::Load(d, columns_.distance + v);
      farthest = hn::Max(farthest, hn::IfThenElseZero(supply_.sink_rows.LanesFrom(d, v), row));
      farthest =
          hn::Max(farthest, hn::IfThenElseZero(supply_.sink_columns.LanesFrom(d, v), column));
    }
    return hn::GetLane(hn::MaxOfLanes(d, farthest));
  }

  // Moves the potentials by the distances, so that shortest paths become tight. False if one leaves
  // the range.
  bool MovePotentials() {
    const D d;
    const V reach = hn::Set(d, reach_);
    for (int v = 0; v < kWidth; v += kLanes) {
      const auto existing = LineSet<kWidth>::First(m_).LanesFrom(d, v);
      const V row_move = hn::Sub(hn::Min(hn::Load(d, rows_.distance + v), reach), reach);
      const V column_move = hn::Sub(reach, hn::Min(hn::Load(d, columns_.distance + v), reach));
      const V row =
          hn::Add(hn::Load(d, p_.row_potential + v), hn::IfThenElseZero(existing, row_move));
      const V column =
          hn::Add(hn::Load(d, p_.column_potential + v), hn::IfThenElseZero(existing, column_move));
      hn::Store(row, d, p_.row_potential + v);
      hn::Store(column, d, p_.column_potential + v);
    }
    return GreatestPotential() <= kFinishRange;
  }

  int32_t GreatestPotential() const {
    const D d;
    V greatest = hn::Zero(d);
    for (int v = 0; v < kWidth; v += kLanes) {
      greatest = hn::Max(greatest, hn::Abs(hn::Load(d, p_.row_potential + v)));
      greatest = hn::Max(greatest, hn::Abs(hn::Load(d, p_.column_potential + v)));
    }
    return hn::GetLane(hn::MaxOfLanes(d, greatest));
  }

  // Augments disjoint tight paths to every sink within reach; returns their number.
  int Augment() {
    rows_.open = WithinReach(rows_);
    columns_.open = WithinReach(columns_);
    int paths = 0;
    for (LineSet<kWidth> sinks = supply_.sink_columns; !sinks.empty();) {
      const int j = sinks.PopFirst();
      while (supply_.column[j] < 0 && AugmentTo(j, /*sink_is_row=*/false)) ++paths;
    }
    for (LineSet<kWidth> sinks = supply_.sink_rows; !sinks.empty();) {
      const int i = sinks.PopFirst();
      while (supply_.row[i] < 0 && AugmentTo(i, /*sink_is_row=*/true)) ++paths;
    }
    return paths;
  }

  LineSet<kWidth> WithinReach(const Side& side) const {
    const D d;
    LineSet<kWidth> within;
    for (int v = 0; v < kWidth; v += kLanes) {
      const V distance = hn::Load(d, side.distance + v);
      within.InsertLanes(d, hn::Not(hn::Gt(distance, hn::Set(d, reach_))), v);
    }
    return within & LineSet<kWidth>::First(m_);
  }

  // Depth-first search backward from a sink to a source over tight arcs from strictly lower levels:
  // those form no cycles, and a line from which no source was found stays closed for this phase.
  bool AugmentTo(int sink, bool sink_is_row) {
    int depth = 0;
    path_[0] = {sink, sink_is_row ? TightColumnsInto(sink) : TightRowsInto(sink)};
    while (true) {
      const bool at_row = sink_is_row != (depth % 2 == 1);
      Side& other = at_row ? columns_ : rows_;
      LineSet<kWidth>& before = path_[depth].before;
      before = before & other.open;
      const LineSet<kWidth> sources =
          before & (at_row ? supply_.source_columns : supply_.source_rows);
      if (!sources.empty()) {
        path_[++depth].line = LineSet<kWidth>(sources).PopFirst();
        TakeSupply(sink, sink_is_row, path_[depth].line, /*source_is_row=*/!at_row);
        FlipPath(depth, /*source_is_row=*/!at_row);
        return true;
      }
      const int line = before.PopFirst();
      if (line >= 0) {
        other.open.erase(line);
        path_[++depth] = {line, at_row ? TightRowsInto(line) : TightColumnsInto(line)};
      } else if (depth-- == 0) {
        return false;
      }
    }
  }

  // Rows i, (i, j) not kept, with a residual of 0 and a lower level.
  LineSet<kWidth> TightRowsInto(int j) const {
    return TightLines(p_.weight_t + j * kWidth, p_.column_potential[j], columns_.level[j],
                      p_.row_potential, rows_.level) &
           ~p_.kept_in_column[j];
  }

  // Columns j, (i, j) kept, with a residual of 0 and a lower level.
  LineSet<kWidth> TightColumnsInto(int i) const {
    return TightLines(p_.weight + i * kWidth, p_.row_potential[i], rows_.level[i],
                      p_.column_potential, columns_.level) &
           p_.kept_in_row[i];
  }

  LineSet<kWidth> TightLines(const int32_t* weight, int32_t potential, int32_t level,
                             const int32_t* other_potential, const int32_t* other_level) const {
    const D d;
    const V own_potential = hn::Set(d, potential), own_level = hn::Set(d, level);
    LineSet<kWidth> tight;
    for (int v = 0; v < kWidth; v += kLanes) {
      const V rest = hn::Sub(hn::Load(d, weight + v), own_potential);
      const auto zero = hn::Eq(rest, hn::Load(d, other_potential + v));
      tight.InsertLanes(d, hn::And(zero, hn::Lt(hn::Load(d, other_level + v), own_level)), v);
    }
    return tight;
  }

  void TakeSupply(int sink, bool sink_is_row, int source, bool source_is_row) {
    if (source_is_row) {
      if (--supply_.row[source] == 0) supply_.source_rows.erase(source);
    } else {
      if (--supply_.column[source] == 0) supply_.source_columns.erase(source);
    }
    if (sink_is_row) {
      if (++supply_.row[sink] == 0) supply_.sink_rows.erase(sink);
    } else {
      if (++supply_.column[sink] == 0) supply_.sink_columns.erase(sink);
    }
  }

  // Keeps the entries on the way from rows to columns, drops those on the way back; reopens inner
  // lines.
  void FlipPath(int depth, bool source_is_row) {
    bool from_row = source_is_row;
    for (int k = depth; k > 0; --k, from_row = !from_row) {
      const int from = path_[k].line, to = path_[k - 1].line;
      if (from_row) {
        p_.kept_in_row[from].insert(to);
        p_.kept_in_column[to].insert(from);
      } else {
        p_.kept_in_row[to].erase(from);
        p_.kept_in_column[from].erase(to);
      }
      if (k > 1) (from_row ? columns_ : rows_).open.insert(to);
    }
  }

  // A line on the path that is being searched, and the lines before it that are not yet tried.
  struct Step {
    int line;
    LineSet<kWidth> before;
  };

  FinishProblem<kWidth>& p_;
  const int m_;
  Supplies<kWidth> supply_;
  int32_t reach_ = 0;  // distance of the farthest sink
  int32_t level_ = 0;  // relaxations so far in this phase
  Side rows_, columns_;
  Step path_[2 * kWidth];
};

// Makes every line keep exactly n entries, by successive phases of shortest augmenting paths,
// keeping complementary slackness: what comes out is optimal, and its potentials prove it.
//
// A phase: dense Bellman-Ford passes over residuals (never stored) give the distance of every line
// from the sources; potentials move by it; a depth-first search backward from the sinks over tight
// arcs then augments many disjoint paths. A phase costs a few passes of m^2 operations.
template <int kWidth>
FinishResult Finish(FinishProblem<kWidth>& problem) {
  return Finisher<kWidth>(problem).Run();
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_EXACT_FINISH_INL_H_
