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
template <int kWords>
class Finisher {
 public:
  __device__ Finisher(const Group<kWords>& group, const Entries& entries, int m, int n,
                      BlockState<kWords>& state)
      : group_(group), entries_(entries), m_(m), n_(n), state_(state), k_(group.thread()) {}

  // Successive phases of shortest augmenting paths: dense Bellman-Ford passes give the distance of
  // every line from the sources, potentials move by it, and Augmenter flips many disjoint paths.
  //
  // REQUIRES: residuals within kFinishRange, the positive ones kept, and any that are 0.
  __device__ FinishResult Run() {
    FinishResult result = {false, 0, 0};
    state_.rows.quanta[k_] = state_.columns.quanta[k_] = 0;
    while (CountSupplies() > 0) {
      Search();
      if (reach_ >= kInfinity || !MovePotentials(result.greatest_move)) return result;
      if (group_.warp() == 0) {
        const int paths = Augmenter<kWords>(entries_, m_, reach_, state_).Run();
        if (group_.lane() == 0) state_.answer = paths;
      }
      group_.Sync();
      const int paths = state_.answer;
      group_.Sync();
      if (paths == 0) return result;
      result.augmentations += paths;
    }
    result.optimal = true;
    return result;
  }

 private:
  static constexpr int32_t kInfinity = 4 * kFinishRange;
  // A candidate through an entry that may not be used: with a potential added, still >= kInfinity.
  static constexpr int32_t kBarred = kInfinity + 2 * kFinishRange;

  // Rows supply what they miss, columns what they have too much: a path from a source (positive
  // supply) to a sink (negative supply), flipping its entries, brings both nearer to n. Returns the
  // number of paths to go.
  __device__ int CountSupplies() {
    constexpr int kLines = Side<kWords>::kLines;
    const bool exists = k_ < m_;
    const int in_row = LoadSet<kWords>(&state_.rows.kept[0][k_], kLines).count();
    const int in_column = LoadSet<kWords>(&state_.columns.kept[0][k_], kLines).count();
    const int row = exists ? n_ - in_row : 0, column = exists ? in_column - n_ : 0;
    BeginSide(state_.rows, row);
    BeginSide(state_.columns, column);
    return group_.Sum(max(row, 0) + max(column, 0));
  }

  __device__ void BeginSide(Side<kWords>& side, int supply) {
    side.supply[k_] = supply;
    side.distance[k_] = supply > 0 ? 0 : kInfinity;
    side.level[k_] = 0;
    const uint32_t sources = __ballot_sync(~0u, supply > 0);
    const uint32_t sinks = __ballot_sync(~0u, supply < 0);
    if (group_.lane() == 0) {
      side.sources[group_.warp()] = side.changed[group_.warp()] = sources;
      side.sinks[group_.warp()] = sinks;
    }
    group_.Sync();
  }

  // Distances of all lines from the sources, to the farthest sink and not much further.
  __device__ void Search() {
    reach_ = kInfinity;
    int32_t level = 0;
    while (true) {
      const auto rows = LoadSet<kWords>(state_.rows.changed);
      if (!rows.empty()) Improve(RelaxedColumn(rows), ++level, state_.rows, state_.columns);
      const auto columns = LoadSet<kWords>(state_.columns.changed);
      if (!columns.empty()) Improve(RelaxedRow(columns), ++level, state_.columns, state_.rows);
      if (rows.empty() && columns.empty()) return;
    }
  }

  // B_k + min over changed rows i, (i, k) not kept, of distance_i + A_i - residual_ik.
  __device__ int32_t RelaxedColumn(const LineSet<kWords>& changed) const {
    int32_t best = kBarred;
    if (k_ >= m_) return best;
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      const uint32_t kept = state_.columns.kept[w][k_];
      for (uint32_t left = changed.word[w]; left != 0; left &= left - 1) {
        const int bit = __ffs(left) - 1, i = 32 * w + bit;
        const int32_t base = state_.rows.distance[i] + state_.rows.quanta[i];
        if (!(kept >> bit & 1)) best = min(best, base - entries_.residual(i, k_));
      }
    }
    return best + state_.columns.quanta[k_];
  }

  // -A_k + min over changed columns j, (k, j) kept, of distance_j - B_j + residual_kj.
  __device__ int32_t RelaxedRow(const LineSet<kWords>& changed) const {
    int32_t best = kBarred;
    if (k_ >= m_) return best;
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      const uint32_t kept = state_.rows.kept[w][k_];
      for (uint32_t left = changed.word[w]; left != 0; left &= left - 1) {
        const int bit = __ffs(left) - 1, j = 32 * w + bit;
        const int32_t base = state_.columns.distance[j] - state_.columns.quanta[j];
        if (kept >> bit & 1) best = min(best, base + entries_.residual(k_, j));
      }
    }
    return best - state_.rows.quanta[k_];
  }

  // Takes the distance of line k if it got shorter; marks those lines as changed that can still
  // matter. `from` has been used.
  __device__ void Improve(int32_t candidate, int32_t level, Side<kWords>& from,
                          Side<kWords>& side) {
    const bool shorter = candidate < side.distance[k_];
    if (shorter) {
      side.distance[k_] = candidate;
      side.level[k_] = level;
    }
    const uint32_t improved = __ballot_sync(~0u, shorter && candidate < reach_);
    group_.Sync();  // all have read from.changed
    if (group_.lane() == 0) {
      side.changed[group_.warp()] |= improved;
      from.changed[group_.warp()] = 0;
    }
    const int32_t row = state_.rows.supply[k_] < 0 ? state_.rows.distance[k_] : 0;
    const int32_t column = state_.columns.supply[k_] < 0 ? state_.columns.distance[k_] : 0;
    reach_ = group_.Max(max(row, column));
    group_.Sync();
  }

  // Moves the potentials by the distances, so that shortest paths become tight. False if one leaves
  // the range.
  __device__ bool MovePotentials(int32_t& greatest_move) {
    int32_t magnitude = 0;
    if (k_ < m_) {
      const int32_t row = state_.rows.quanta[k_] + min(state_.rows.distance[k_], reach_) - reach_;
      const int32_t column =
          state_.columns.quanta[k_] + reach_ - min(state_.columns.distance[k_], reach_);
      state_.rows.quanta[k_] = row;
      state_.columns.quanta[k_] = column;
      magnitude = max(abs(row), abs(column));
    }
    greatest_move = group_.Max(magnitude);
    group_.Sync();
    return greatest_move <= kFinishRange;
  }

  const Group<kWords>& group_;
  const Entries& entries_;
  const int m_;
  const int n_;
  BlockState<kWords>& state_;
  const int k_;
  int32_t reach_ = 0;  // distance of the farthest sink
};

}  // namespace tsenor::cuda
