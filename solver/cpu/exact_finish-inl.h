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

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

// An integer b-matching problem of m x m inside kWidth x kWidth, and the state of its solution.
//
// Entry (i, j) of the mask is *selected*: all bits of its lane are set (0 if not), in both orders.
// With residual r_ij = weight_ij - A_i - B_j the invariant throughout is complementary slackness:
// selected entries have r >= 0, others r <= 0. Padded lanes hold 0.
template <int kWidth, typename Int>
struct FinishProblem {
  static constexpr int kArea = kWidth * kWidth;

  int m = 0;
  int n = 0;
  alignas(64) Int weight[kArea];
  alignas(64) Int weight_t[kArea];
  alignas(64) Int row_potential[kWidth];     // A
  alignas(64) Int column_potential[kWidth];  // B
  alignas(64) Int selected[kArea];
  alignas(64) Int selected_t[kArea];
};

// Greatest magnitude of weights and potentials with which no sum in Finish() can overflow: a
// distance is at most 4 times this, and is at most added to three such numbers.
template <typename Int>
inline constexpr Int kFinishRange = Int{1} << (sizeof(Int) * 8 - 4);

struct FinishResult {
  // False: a potential left kFinishRange (Int = int32_t; solve again with int64_t, where it
  // cannot happen for weights that came from int32_t).
  bool optimal = false;
  int augmentations = 0;
};

// Share of m by which line sums may miss n in all before the potentials count as spoilt by ties.
constexpr double kTieShortfall = 0.8;

// Rows supply what they miss (n - kept), columns what they have too much (kept - n): a path from a
// line with a positive supply to one with a negative supply, flipping its entries, brings both one
// nearer to n.
template <int kWidth, typename Int>
struct Supplies {
  Int row[kWidth];
  Int column[kWidth];
};

// Counts selected entries and returns the sum of the positive supplies.
template <int kWidth, typename Int>
Int CountSupplies(const FinishProblem<kWidth, Int>& problem, Supplies<kWidth, Int>& supply) {
  const int m = problem.m;
  for (int lane = 0; lane < kWidth; ++lane) {
    supply.row[lane] = problem.n;  // lanes of selected_t are rows; selected is -1
    supply.column[lane] = -problem.n;
  }
  for (int k = 0; k < m; ++k) {
    for (int lane = 0; lane < kWidth; ++lane) {
      supply.row[lane] += problem.selected_t[k * kWidth + lane];
      supply.column[lane] -= problem.selected[k * kWidth + lane];
    }
  }
  Int shortfall = 0;
  for (int k = 0; k < m; ++k) {
    shortfall += std::max(supply.row[k], Int{0}) + std::max(supply.column[k], Int{0});
  }
  return shortfall;
}

// selected = residual > -slack, for both orders; padded lanes stay 0.
template <int kWidth, typename Int>
void Select(FinishProblem<kWidth, Int>& problem, Int slack) {
  const int m = problem.m;
  std::fill_n(problem.selected, kWidth * kWidth, Int{0});
  std::fill_n(problem.selected_t, kWidth * kWidth, Int{0});
  for (int i = 0; i < m; ++i) {
    const Int threshold = problem.row_potential[i] - slack;
    for (int j = 0; j < m; ++j) {
      const Int residual = problem.weight[i * kWidth + j] - problem.column_potential[j];
      problem.selected[i * kWidth + j] = -Int{residual > threshold};
    }
  }
  for (int j = 0; j < m; ++j) {
    const Int threshold = problem.column_potential[j] - slack;
    for (int i = 0; i < m; ++i) {
      const Int residual = problem.weight_t[j * kWidth + i] - problem.row_potential[i];
      problem.selected_t[j * kWidth + i] = -Int{residual > threshold};
    }
  }
}

// Column potentials onto a lattice around the first one; then every row potential to the nearest
// value that makes one of its entries exactly tight. Tied scores then have residuals that are
// exactly 0.
template <int kWidth, typename Int>
void SnapPotentials(FinishProblem<kWidth, Int>& problem, Int unit) {
  const int m = problem.m;
  int shift = 0;
  while (shift < 22 && (Int{2} << shift) <= unit) ++shift;
  const Int half = (Int{1} << shift) / 2;
  const Int origin = problem.column_potential[0];
  for (int j = 0; j < m; ++j) {
    problem.column_potential[j] = (problem.column_potential[j] - origin + half) >> shift << shift;
  }
  for (int i = 0; i < m; ++i) {
    const Int potential = problem.row_potential[i] + origin;
    Int nearest = problem.weight[i * kWidth] - problem.column_potential[0];
    for (int j = 1; j < m; ++j) {
      const Int tight = problem.weight[i * kWidth + j] - problem.column_potential[j];
      if (std::abs(tight - potential) < std::abs(nearest - potential)) nearest = tight;
    }
    problem.row_potential[i] = nearest;
  }
}

// Finish() with its state.
template <int kWidth, typename Int>
class Finisher {
 public:
  explicit Finisher(FinishProblem<kWidth, Int>& problem) : p_(problem), m_(problem.m) {}

  FinishResult Run() {
    FinishResult result;
    Int missing = CountSupplies(p_, supply_);
    while (missing > 0) {
      Search();
      if (reach_ >= kInfinity || !MovePotentials()) return result;
      const int paths = Augment();
      if (paths == 0) return result;
      result.augmentations += paths;
      missing -= paths;
    }
    result.optimal = true;
    return result;
  }

 private:
  static constexpr Int kInfinity = 4 * kFinishRange<Int>;
  // A candidate through an entry that may not be used: with a potential added, still >= kInfinity.
  static constexpr Int kBarred = kInfinity + 2 * kFinishRange<Int>;

  // Distances of all lines from those with positive supply, to the farthest sink and not much
  // further.
  void Search() {
    for (int k = 0; k < kWidth; ++k) {
      row_distance_[k] = k < m_ && supply_.row[k] > 0 ? 0 : kInfinity;
      column_distance_[k] = k < m_ && supply_.column[k] > 0 ? 0 : kInfinity;
      row_level_[k] = column_level_[k] = 0;
      row_changed_[k] = row_distance_[k] == 0;
      column_changed_[k] = column_distance_[k] == 0;
    }
    reach_ = kInfinity;
    level_ = 0;
    bool rows_changed = true, columns_changed = true;
    while (rows_changed || columns_changed) {
      rows_changed = false;
      columns_changed |= RelaxColumns();
      reach_ = FarthestSink();
      if (columns_changed) {
        columns_changed = false;
        rows_changed = RelaxRows();
        reach_ = FarthestSink();
      }
    }
  }

  // column_distance_j = B_j + min over changed rows i, (i, j) not selected, of row_distance_i + A_i
  // - w_ij.
  bool RelaxColumns() {
    Int best[kWidth];
    std::fill_n(best, kWidth, kBarred);
    bool any = false;
    for (int i = 0; i < m_; ++i) {
      if (!row_changed_[i]) continue;
      row_changed_[i] = false;
      any = true;
      const Int base = row_distance_[i] + p_.row_potential[i];
      const Int* weight = p_.weight + i * kWidth;
      const Int* selected = p_.selected + i * kWidth;
      for (int lane = 0; lane < kWidth; ++lane) {
        const Int candidate = selected[lane] ? kBarred : base - weight[lane];
        best[lane] = std::min(best[lane], candidate);
      }
    }
    if (!any) return false;
    for (int lane = 0; lane < kWidth; ++lane) best[lane] += p_.column_potential[lane];
    return Improve(best, column_distance_, column_level_, column_changed_);
  }

  // row_distance_i = -A_i + min over changed columns j, (i, j) selected, of column_distance_j - B_j
  // + w_ij.
  bool RelaxRows() {
    Int best[kWidth];
    std::fill_n(best, kWidth, kBarred);
    for (int j = 0; j < m_; ++j) {
      if (!column_changed_[j]) continue;
      column_changed_[j] = false;
      const Int base = column_distance_[j] - p_.column_potential[j];
      const Int* weight = p_.weight_t + j * kWidth;
      const Int* selected = p_.selected_t + j * kWidth;
      for (int lane = 0; lane < kWidth; ++lane) {
        const Int candidate = selected[lane] ? base + weight[lane] : kBarred;
        best[lane] = std::min(best[lane], candidate);
      }
    }
    for (int lane = 0; lane < kWidth; ++lane) best[lane] -= p_.row_potential[lane];
    return Improve(best, row_distance_, row_level_, row_changed_);
  }

  // Takes the distances that got shorter; marks those as changed that can still matter.
  bool Improve(const Int* candidate, Int* distance, Int* level, bool* changed) {
    ++level_;
    for (int lane = 0; lane < kWidth; ++lane) {
      level[lane] = candidate[lane] < distance[lane] ? level_ : level[lane];
    }
    bool any = false;
    for (int lane = 0; lane < m_; ++lane) {
      const bool improved = candidate[lane] < distance[lane] && candidate[lane] < reach_;
      changed[lane] |= improved;
      any |= improved;
    }
    for (int lane = 0; lane < kWidth; ++lane) {
      distance[lane] = std::min(distance[lane], candidate[lane]);
    }
    return any;
  }

  Int FarthestSink() const {
    Int farthest = 0;
    for (int k = 0; k < m_; ++k) {
      if (supply_.row[k] < 0) farthest = std::max(farthest, row_distance_[k]);
      if (supply_.column[k] < 0) farthest = std::max(farthest, column_distance_[k]);
    }
    return farthest;
  }

  // Moves the potentials by the distances, so that shortest paths become tight. False if one leaves
  // the range.
  bool MovePotentials() {
    Int greatest = 0;
    for (int k = 0; k < m_; ++k) {
      p_.row_potential[k] += std::min(row_distance_[k], reach_) - reach_;
      p_.column_potential[k] += reach_ - std::min(column_distance_[k], reach_);
      greatest =
          std::max({greatest, std::abs(p_.row_potential[k]), std::abs(p_.column_potential[k])});
    }
    return greatest <= kFinishRange<Int>;
  }

  // Augments disjoint tight paths to every sink within reach; returns their number.
  int Augment() {
    for (int k = 0; k < m_; ++k) {
      row_open_[k] = row_distance_[k] <= reach_;
      column_open_[k] = column_distance_[k] <= reach_;
    }
    int paths = 0;
    for (int j = 0; j < m_; ++j) {
      while (supply_.column[j] < 0 && AugmentTo(j, /*sink_is_row=*/false)) ++paths;
    }
    for (int i = 0; i < m_; ++i) {
      while (supply_.row[i] < 0 && AugmentTo(i, /*sink_is_row=*/true)) ++paths;
    }
    return paths;
  }

  // Depth-first search backward from a sink to a line with positive supply over tight arcs from
  // strictly lower levels: those form no cycles, and a line from which no source was found stays
  // closed for this phase.
  bool AugmentTo(int sink, bool sink_is_row) {
    int depth = 0;
    path_[0] = {sink, 0};
    while (true) {
      const bool at_row = sink_is_row != (depth % 2 == 1);
      Step& step = path_[depth];
      const int before = at_row ? NextColumnInto(step) : NextRowInto(step);
      if (before < 0) {
        if (depth == 0) return false;
        --depth;
        continue;
      }
      path_[++depth] = {before, 0};
      Int& supply = at_row ? supply_.column[before] : supply_.row[before];
      if (supply > 0) {
        --supply;
        ++(sink_is_row ? supply_.row[sink] : supply_.column[sink]);
        FlipPath(depth, /*source_is_row=*/!at_row);
        return true;
      }
      (at_row ? column_open_ : row_open_)[before] = false;
    }
  }

  struct Step {
    int line;
    int next;  // the first line on the other side that was not yet tried
  };

  int NextRowInto(Step& step) const {
    const int j = step.line;
    const Int* weight = p_.weight_t + j * kWidth;
    const Int* selected = p_.selected_t + j * kWidth;
    while (step.next < m_) {
      const int i = step.next++;
      if (weight[i] - p_.column_potential[j] == p_.row_potential[i] && !selected[i] &&
          row_open_[i] && row_level_[i] < column_level_[j]) {
        return i;
      }
    }
    return -1;
  }

  int NextColumnInto(Step& step) const {
    const int i = step.line;
    const Int* weight = p_.weight + i * kWidth;
    const Int* selected = p_.selected + i * kWidth;
    while (step.next < m_) {
      const int j = step.next++;
      if (weight[j] - p_.row_potential[i] == p_.column_potential[j] && selected[j] &&
          column_open_[j] && column_level_[j] < row_level_[i]) {
        return j;
      }
    }
    return -1;
  }

  // Selects the entries on the way from rows to columns, drops those on the way back; reopens inner
  // lines.
  void FlipPath(int depth, bool source_is_row) {
    bool from_row = source_is_row;
    for (int k = depth; k > 0; --k, from_row = !from_row) {
      const int from = path_[k].line, to = path_[k - 1].line;
      const int i = from_row ? from : to, j = from_row ? to : from;
      p_.selected[i * kWidth + j] = p_.selected_t[j * kWidth + i] = from_row ? Int{-1} : Int{0};
      if (k > 1) (from_row ? column_open_ : row_open_)[to] = true;
    }
  }

  FinishProblem<kWidth, Int>& p_;
  const int m_;
  Supplies<kWidth, Int> supply_;
  Int reach_ = 0;  // distance of the farthest sink
  Int level_ =
      0;  // relaxations so far in this phase; a line's level is when its distance last fell
  Int row_distance_[kWidth], column_distance_[kWidth];
  Int row_level_[kWidth], column_level_[kWidth];
  bool row_changed_[kWidth], column_changed_[kWidth];
  bool row_open_[kWidth], column_open_[kWidth];
  Step path_[2 * kWidth];
};

// Selects the entries with a positive residual; then, where the potentials are poor because many
// scores tie (`snap_unit` > 0), moves the potentials onto a lattice of about that unit on which
// ties are exact. REQUIRES: weights and potentials within kFinishRange.
template <int kWidth, typename Int>
void Threshold(FinishProblem<kWidth, Int>& problem, Int snap_unit) {
  Select(problem, Int{0});
  if (snap_unit <= 0) return;
  Supplies<kWidth, Int> supply;
  if (CountSupplies(problem, supply) <= kTieShortfall * problem.m) return;
  SnapPotentials(problem, snap_unit);
  // Tight entries go to the larger side, which leaves less to augment.
  Select(problem, Int{2 * problem.n > problem.m ? 1 : 0});
}

// Makes every line keep exactly n entries, by successive phases of shortest augmenting paths,
// keeping complementary slackness: what comes out is optimal, and its potentials prove it.
//
// A phase: dense Bellman-Ford passes over residuals (never stored) give the distance of every line
// from the lines that miss something to give; potentials move by it; a depth-first search backward
// from the sinks over tight arcs then augments many disjoint paths. A phase costs a few passes of
// m^2 operations.
template <int kWidth, typename Int>
FinishResult Finish(FinishProblem<kWidth, Int>& problem) {
  return Finisher<kWidth, Int>(problem).Run();
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_EXACT_FINISH_INL_H_
