// Greedy masks: entries in their order of preference, each kept while row and column have room.
#pragma once

#include <cstdint>

#include "solver/cuda/primitives/group.cuh"
#include "solver/cuda/primitives/line_set.cuh"

namespace tsenor::cuda {

// In shared memory.
template <int kWords>
struct GreedyState {
  int32_t best_in_row[32 * kWords];  // column of the row's best entry; -1 if it has none
  int32_t best_in_column[32 * kWords];
  uint32_t open_rows[kWords];  // lines with room
  uint32_t open_columns[kWords];
};

// One block's mask while it is filled: thread k of the group has row k and column k.
//
// The order of the entries is total, so the greedy mask is unique, and need not be found in that
// order: an entry that is the best in its row and in its column, among those that still fit, is
// kept whatever happens elsewhere. Each round keeps all such entries; the best of all is always
// one.
template <int kWords>
class GreedyFill {
 public:
  using Set = LineSet<kWords>;

  __device__ GreedyFill(const Group<32 * kWords>& group, GreedyState<kWords>& state, int n, int m)
      : group_(group),
        state_(state),
        k_(group.thread()),
        row_room_(k_ < m ? n : 0),
        column_room_(row_room_) {}

  // The columns that row k keeps.
  __device__ const Set& row() const { return row_; }
  // Keeps these entries, too, if there is room for all; `row` and `column` are what they hold of
  // row k and of column k. Before Run().
  __device__ void KeepIfAllFit(const Set& row, const Set& column) {
    const bool fit = row.count() <= row_room_ && column.count() <= column_room_;
    if (group_.Max(static_cast<int>(!fit))) return;
    row_ = row;
    column_ = column;
    row_room_ -= row.count();
    column_room_ -= column.count();
  }

  // Fills the mask. precedes(i, j, p, q): whether entry (i, j) is preferred to (p, q); of equal
  // ones the first is, row by row.
  template <typename Precedes>
  __device__ void Run(Precedes precedes) {
    int kept = 1;
    while (kept) {
      PublishOpenLines();
      int best_column = -1, best_row = -1;
      if (row_room_ > 0) {
        ForEach(state_.open_columns, row_, [&](int j) {
          if (best_column < 0 || precedes(k_, j, k_, best_column)) best_column = j;
        });
      }
      if (column_room_ > 0) {
        ForEach(state_.open_rows, column_, [&](int i) {
          if (best_row < 0 || precedes(i, k_, best_row, k_)) best_row = i;
        });
      }
      state_.best_in_row[k_] = best_column;
      state_.best_in_column[k_] = best_row;
      group_.Sync();
      if (best_row >= 0 && state_.best_in_row[best_row] == k_) {
        column_.insert(best_row);
        --column_room_;
      }
      kept = best_column >= 0 && state_.best_in_column[best_column] == k_;
      if (kept) {
        row_.insert(best_column);
        --row_room_;
      }
      kept = group_.Max(kept);
    }
    PublishOpenLines();
  }

  // The first line with room, or -1; after Run().
  __device__ int FirstOpenRow() const { return FirstOf(state_.open_rows); }
  __device__ int FirstOpenColumn() const { return FirstOf(state_.open_columns); }

  // Keeps (i, column) and (row, j), drops (row, column): row i and column j gain an entry. All
  // threads call it.
  __device__ void Swap(int i, int j, int row, int column) {
    if (k_ == row) {
      row_.erase(column);
      row_.insert(j);
    }
    if (k_ == i) {
      row_.insert(column);
      --row_room_;
    }
    if (k_ == j) --column_room_;
    PublishOpenLines();
  }

 private:
  // A barrier before and after: what was read of the state may be overwritten.
  __device__ void PublishOpenLines() {
    const uint32_t rows = __ballot_sync(~0u, row_room_ > 0);
    const uint32_t columns = __ballot_sync(~0u, column_room_ > 0);
    group_.Sync();
    if (group_.lane() == 0) {
      state_.open_rows[group_.warp()] = rows;
      state_.open_columns[group_.warp()] = columns;
    }
    group_.Sync();
  }

  // visit(line) for the lines of `open`, in their order, that are not in `except`. The same lines
  // for all threads, so that they stay together.
  template <typename Visit>
  static __device__ void ForEach(const uint32_t (&open)[kWords], const Set& except, Visit visit) {
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      for (uint32_t left = open[w]; left != 0; left &= left - 1) {
        const int bit = __ffs(left) - 1;
        if (!(except.word[w] >> bit & 1)) visit(32 * w + bit);
      }
    }
  }

  static __device__ int FirstOf(const uint32_t (&open)[kWords]) {
    for (int w = 0; w < kWords; ++w) {
      if (open[w] != 0) return 32 * w + __ffs(open[w]) - 1;
    }
    return -1;
  }

  const Group<32 * kWords> group_;
  GreedyState<kWords>& state_;
  const int k_;
  int row_room_, column_room_;
  Set row_ = Set::Empty(), column_ = Set::Empty();
};

}  // namespace tsenor::cuda
