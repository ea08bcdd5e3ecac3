// The augmenting step of the exact finish: flips disjoint tight paths from sources to sinks.
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/block_state.cuh"
#include "solver/cuda/primitives/group.cuh"

namespace tsenor::cuda {

// The tight arcs of a block, whose residuals without potentials are 0: from row to column where the
// entry is not kept, from column to row where it is. Thread k holds those that leave row k and
// column k, in registers, so that a step from a set of lines to all that follow them is one
// reduction over the group, and a path is flipped by its lines at once.
//
// Rows supply what they miss, columns what they have too much: a path from a source (positive
// supply) to a sink (negative supply), flipping its entries, brings both nearer to n.
//
// All threads of the group call every function.
template <int kWidth>
class TightGraph {
 public:
  // `kept` is the mask that grows; it must outlive the graph.
  __device__ TightGraph(const Group<kWidth>& group, const Entries<kWidth>& entries, int m, int n,
                        const BlockState<kWidth>& state, Kept<kWidth>& kept)
      : group_(group), m_(m), k_(group.thread()), kept_(kept) {
    row_supply_ = k_ < m ? n - kept.in_row.count() : 0;
    column_supply_ = k_ < m ? kept.in_column.count() - n : 0;
    const int32_t a = state.rows.quanta[k_], b = state.columns.quanta[k_];
    const auto tight_in_row = LinesWhere<G::kWarps>(k_ < m ? m : 0, [&](int j) {
      return entries.residual(k_, j) - state.columns.quanta[j] == a;
    });
    const auto tight_in_column = LinesWhere<G::kWarps>(
        k_ < m ? m : 0, [&](int i) { return entries.residual(i, k_) - state.rows.quanta[i] == b; });
    from_row_ = tight_in_row & ~kept.in_row;
    from_column_ = tight_in_column & kept.in_column;
  }

  // Keeps tight entries where both lines miss some: leaves little to augment where there is much
  // choice. Diagonal after diagonal, so that no two threads look at the same line: in round d,
  // thread i looks at the entry (i, (i + d) mod m). `supplies` is memory for m numbers.
  __device__ void Fill(int32_t* supplies) {
    supplies[k_] = column_supply_;
    group_.Sync();
    for (int d = 0; d < m_ && group_.Any(row_supply_ > 0); ++d) {
      const int j = k_ + d < m_ ? k_ + d : k_ + d - m_;
      const bool taken = row_supply_ > 0 && from_row_.contains(j) && supplies[j] < 0;
      const Set rows = group_.Lines(taken);
      if (taken) {
        kept_.in_row.insert(j);
        from_row_.erase(j);
        --row_supply_;
      }
      const int i = k_ >= d ? k_ - d : k_ - d + m_;
      if (k_ < m_ && rows.contains(i)) {
        kept_.in_column.insert(i);
        from_column_.insert(i);
        supplies[k_] = ++column_supply_;
      }
      group_.Sync();
    }
  }

  // Augments along tight paths until there is none; returns their number.
  __device__ int Augment() {
    int paths = 0;
    while (const int length = Search()) {
      while (true) {
        const int column = group_.Lines(column_supply_ < 0 && column_level_ == length).least();
        const int row =
            column >= 0 ? -1 : group_.Lines(row_supply_ < 0 && row_level_ == length).least();
        if (column < 0 && row < 0) break;
        paths += AugmentTo(max(column, row), /*sink_is_row=*/column < 0, length);
      }
    }
    return paths;
  }

 private:
  using G = Group<kWidth>;
  using Set = typename G::Set;
  static constexpr int kUnreached = -1;
  static constexpr int kNoLine = -1;

  // Lines before and after one on a path.
  struct Step {
    int before = kNoLine;
    int after = kNoLine;
  };

  // Levels of lines: how many arcs they are away from the nearest source, as far as the nearest
  // sinks. Returns those sinks' level, or 0 if none can be reached.
  __device__ int Search() {
    row_level_ = row_supply_ > 0 ? 0 : kUnreached;
    column_level_ = column_supply_ > 0 ? 0 : kUnreached;
    const Set sink_rows = group_.Lines(row_supply_ < 0);
    const Set sink_columns = group_.Lines(column_supply_ < 0);
    for (int level = 1;; ++level) {
      Set columns = group_.Or(row_level_ == level - 1 ? from_row_ : Set::Empty());
      Set rows = group_.Or(column_level_ == level - 1 ? from_column_ : Set::Empty());
      columns = columns & group_.Lines(column_level_ == kUnreached);
      rows = rows & group_.Lines(row_level_ == kUnreached);
      if (columns.contains(k_)) column_level_ = level;
      if (rows.contains(k_)) row_level_ = level;
      if (!(columns & sink_columns).empty() || !(rows & sink_rows).empty()) return level;
      if (columns.empty() && rows.empty()) return 0;
    }
  }

  // Goes back from a sink, level by level, to a source, and flips the path; its inner lines are on
  // no other path of this search. False if there is no way back any more: the sink is given up.
  __device__ bool AugmentTo(int sink, bool sink_is_row, int length) {
    Step of_row, of_column;
    int line = sink;
    bool at_row = sink_is_row;
    for (int level = length - 1; level >= 0 && line != kNoLine; --level, at_row = !at_row) {
      const bool leads_here = at_row ? column_level_ == level && from_column_.contains(line)
                                     : row_level_ == level && from_row_.contains(line);
      const int before = group_.Lines(leads_here).least();
      if (k_ == line && at_row) of_row.before = before;
      if (k_ == line && !at_row) of_column.before = before;
      if (k_ == before && at_row) of_column.after = line;
      if (k_ == before && !at_row) of_row.after = line;
      line = before;
    }
    if (line == kNoLine) {
      if (k_ == sink && sink_is_row) row_level_ = kUnreached;
      if (k_ == sink && !sink_is_row) column_level_ = kUnreached;
      return false;
    }
    Flip(of_row, kept_.in_row, from_row_, row_supply_, row_level_);
    Flip(of_column, kept_.in_column, from_column_, column_supply_, column_level_);
    return true;
  }

  // The thread's part of flipping a path that `step` says how to pass through a line.
  static __device__ void Flip(const Step& step, Set& kept, Set& arcs, int& supply, int& level) {
    if (step.before != kNoLine) {
      kept.flip(step.before);
      arcs.flip(step.before);
    }
    if (step.after != kNoLine) {
      kept.flip(step.after);
      arcs.flip(step.after);
    }
    const bool is_source = step.before == kNoLine && step.after != kNoLine;
    const bool is_sink = step.before != kNoLine && step.after == kNoLine;
    supply += is_sink - is_source;
    const bool is_inner = step.before != kNoLine && step.after != kNoLine;
    if (is_inner || (is_source && supply == 0)) level = kUnreached;
  }

  const Group<kWidth>& group_;
  const int m_;
  const int k_;
  Kept<kWidth>& kept_;
  Set from_row_, from_column_;  // where the tight arcs from row k and from column k lead
  int row_supply_, column_supply_;
  int row_level_ = kUnreached, column_level_ = kUnreached;
};

}  // namespace tsenor::cuda
