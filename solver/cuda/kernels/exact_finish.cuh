// From good potentials to the exact optimum of an integer problem, with matching potentials.
//
// A line is a row or a column; the graph has an arc from row to column for every entry that is not
// kept, and from column to row for every one that is, of length |residual - A_i - B_j|. Throughout,
// kept entries have a residual >= 0 and others one <= 0 (complementary slackness): once every line
// keeps n entries, the mask is optimal, and the potentials prove it.
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/augment.cuh"
#include "solver/cuda/kernels/block_state.cuh"
#include "solver/cuda/primitives/group.cuh"

namespace tsenor::cuda {

// Greatest magnitude of residuals and potentials with which no sum can overflow: a distance is at
// most 4 times this, and is at most added to three such numbers.
constexpr int32_t kFinishRange = 1 << 28;

struct FinishResult {
  bool optimal;           // false: a potential left kFinishRange; nothing else is meant then
  int augmentations;      // paths
  int32_t greatest_move;  // greatest magnitude of a potential
};

// Thread k works for row k and column k; all threads of the group call every function.
template <int kWidth>
class Finisher {
 public:
  __device__ Finisher(const Group<kWidth>& group, const Entries<kWidth>& entries, int m, int n,
                      BlockState<kWidth>& state, Kept<kWidth>& kept)
      : group_(group),
        entries_(entries),
        m_(m),
        n_(n),
        state_(state),
        kept_(kept),
        k_(group.thread()) {}

  // Successive phases of shortest augmenting paths: dense Bellman-Ford passes give the distance of
  // every line from the sources, potentials move by it, and paths over tight entries are flipped.
  // With `ties`, tight entries are used before.
  //
  // REQUIRES: residuals and potentials within kFinishRange; complementary slackness.
  __device__ FinishResult Run(bool ties) {
    FinishResult result = {false, 0, GreatestMove()};
    for (int phase = ties ? 0 : 1; Missing() > 0; ++phase) {
      if (phase > 0) {
        Search();
        if (reach_ >= kInfinity) return result;
        MovePotentials();
        result.greatest_move = GreatestMove();
        if (result.greatest_move > kFinishRange) return result;
      }
      TightGraph<kWidth> graph(group_, entries_, m_, n_, state_, kept_);
      if (phase == 0) graph.Fill(state_.rows.base);
      const int paths = graph.Augment();
      if (phase > 0 && paths == 0) return result;
      result.augmentations += paths;
    }
    result.optimal = true;
    return result;
  }

 private:
  using Set = typename Group<kWidth>::Set;
  static constexpr int32_t kInfinity = 4 * kFinishRange;
  // A candidate through an entry that may not be used: with a potential added, still >= kInfinity.
  static constexpr int32_t kBarred = kInfinity + 2 * kFinishRange;

  __device__ int row_supply() const { return k_ < m_ ? n_ - kept_.in_row.count() : 0; }
  __device__ int column_supply() const { return k_ < m_ ? kept_.in_column.count() - n_ : 0; }

  // The number of paths to go.
  __device__ int Missing() const {
    return group_.Sum(max(row_supply(), 0) + max(column_supply(), 0));
  }

  // Distances of all lines from the sources, to the farthest sink and not much further.
  __device__ void Search() {
    const bool row_is_source = row_supply() > 0, column_is_source = column_supply() > 0;
    row_distance_ = row_is_source ? 0 : kInfinity;
    column_distance_ = column_is_source ? 0 : kInfinity;
    state_.rows.base[k_] = row_distance_ + state_.rows.quanta[k_];
    state_.columns.base[k_] = column_distance_ - state_.columns.quanta[k_];
    reach_ = kInfinity;
    // Lines whose distance fell since the other side was relaxed.
    Set rows = group_.Lines(row_is_source), columns = group_.Lines(column_is_source);
    while (!rows.empty() || !columns.empty()) {
      if (!rows.empty()) columns = columns | RelaxColumns(rows);
      rows = Set::Empty();
      if (!columns.empty()) rows = RelaxRows(columns);
      columns = Set::Empty();
    }
  }

  // distance_k = B_k + min over changed rows i, (i, k) not kept, of distance_i + A_i - residual_ik.
  // Returns the columns whose distance fell and can still matter.
  __device__ Set RelaxColumns(const Set& changed) {
    int32_t best = kBarred;
    const Set usable = changed & ~kept_.in_column;
    if (k_ < m_) {
      VisitLines(changed, [&](int w, uint32_t bit, int i) {
        const int32_t candidate = state_.rows.base[i] - entries_.residual(i, k_);
        best = min(best, usable.word[w] & bit ? candidate : kBarred);
      });
    }
    const int32_t potential = state_.columns.quanta[k_];
    const bool shorter = best + potential < column_distance_;
    if (shorter) {
      column_distance_ = best + potential;
      state_.columns.base[k_] = best;
    }
    return Improved(shorter, column_distance_);
  }

  // distance_k = -A_k + min over changed columns j, (k, j) kept, of distance_j - B_j + residual_kj.
  __device__ Set RelaxRows(const Set& changed) {
    int32_t best = kBarred;
    const Set usable = changed & kept_.in_row;
    if (k_ < m_) {
      VisitLines(changed, [&](int w, uint32_t bit, int j) {
        const int32_t candidate = state_.columns.base[j] + entries_.residual(k_, j);
        best = min(best, usable.word[w] & bit ? candidate : kBarred);
      });
    }
    const int32_t potential = state_.rows.quanta[k_];
    const bool shorter = best - potential < row_distance_;
    if (shorter) {
      row_distance_ = best - potential;
      state_.rows.base[k_] = best;
    }
    return Improved(shorter, row_distance_);
  }

  // visit(w, bit, line) for the lines of a set: bit `bit` of its word w.
  template <typename Visit>
  static __device__ void VisitLines(const Set& lines, Visit visit) {
    Set::EachWord([&](int w) {
      for (uint32_t left = lines.word[w]; left != 0;) {
        const int last = 31 - __clz(static_cast<int>(left));
        left ^= 1u << last;
        visit(w, 1u << last, 32 * w + last);
      }
    });
  }

  __device__ Set Improved(bool shorter, int32_t distance) {
    const Set improved = group_.Lines(shorter && distance < reach_);
    if (!improved.empty()) {
      const int32_t row = row_supply() < 0 ? row_distance_ : 0;
      const int32_t column = column_supply() < 0 ? column_distance_ : 0;
      reach_ = group_.Max(max(row, column));
    }
    return improved;
  }

  // Moves the potentials by the distances, so that shortest paths become tight.
  __device__ void MovePotentials() {
    if (k_ < m_) {
      const int32_t row = min(row_distance_, reach_) - reach_;
      const int32_t column = reach_ - min(column_distance_, reach_);
      state_.rows.quanta[k_] += row;
      state_.columns.quanta[k_] += column;
    }
    group_.Sync();
  }

  __device__ int32_t GreatestMove() const {
    const int32_t row = k_ < m_ ? abs(state_.rows.quanta[k_]) : 0;
    const int32_t column = k_ < m_ ? abs(state_.columns.quanta[k_]) : 0;
    return group_.Max(max(row, column));
  }

  const Group<kWidth>& group_;
  const Entries<kWidth>& entries_;
  const int m_;
  const int n_;
  BlockState<kWidth>& state_;
  Kept<kWidth>& kept_;
  const int k_;
  int32_t reach_ = 0;                               // distance of the farthest sink
  int32_t row_distance_ = 0, column_distance_ = 0;  // of row k and column k
};

}  // namespace tsenor::cuda
