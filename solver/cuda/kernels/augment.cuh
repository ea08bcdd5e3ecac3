// The augmenting step of the exact finish: flips disjoint tight paths from sources to sinks.
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/block_state.cuh"
#include "solver/cuda/primitives/line_set.cuh"

namespace tsenor::cuda {

// Searches for one group's block. One warp calls Run(); its lanes look at 32 lines at a time, and
// hold the same sets.
template <int kWords>
class Augmenter {
 public:
  // Lines farther than `reach` are on no path.
  __device__ Augmenter(const Entries& entries, int m, int32_t reach, BlockState<kWords>& state)
      : entries_(entries),
        m_(m),
        state_(state),
        open_rows_(WithinReach(state.rows, reach)),
        open_columns_(WithinReach(state.columns, reach)) {}

  // Augments disjoint tight paths to every sink within reach; returns their number.
  __device__ int Run() {
    int paths = 0;
    Set sinks = LoadSet<kWords>(state_.columns.sinks);
    for (int j = sinks.PopFirst(); j >= 0; j = sinks.PopFirst()) {
      while (state_.columns.supply[j] < 0 && AugmentTo(j, /*sink_is_row=*/false)) ++paths;
    }
    sinks = LoadSet<kWords>(state_.rows.sinks);
    for (int i = sinks.PopFirst(); i >= 0; i = sinks.PopFirst()) {
      while (state_.rows.supply[i] < 0 && AugmentTo(i, /*sink_is_row=*/true)) ++paths;
    }
    return paths;
  }

 private:
  using Set = LineSet<kWords>;

  static __device__ int lane() { return static_cast<int>(threadIdx.x) % 32; }

  // The lines for which `holds(line)`; asks only for those that exist.
  template <typename Predicate>
  __device__ Set Lines(Predicate holds) const {
    Set set;
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      const int line = 32 * w + lane();
      set.word[w] = __ballot_sync(~0u, line < m_ && holds(line));
    }
    return set;
  }

  __device__ Set WithinReach(const Side<kWords>& side, int32_t reach) const {
    return Lines([&](int line) { return side.distance[line] <= reach; });
  }

  // Rows i, (i, j) not kept, with a residual of 0 and a lower level.
  __device__ Set TightRowsInto(int j) const {
    const int32_t potential = state_.columns.quanta[j], level = state_.columns.level[j];
    return Lines([&](int i) {
      return entries_.residual(i, j) - potential == state_.rows.quanta[i] &&
             state_.rows.level[i] < level && !state_.columns.keeps(j, i);
    });
  }

  // Columns j, (i, j) kept, with a residual of 0 and a lower level.
  __device__ Set TightColumnsInto(int i) const {
    const int32_t potential = state_.rows.quanta[i], level = state_.rows.level[i];
    return Lines([&](int j) {
      return entries_.residual(i, j) - potential == state_.columns.quanta[j] &&
             state_.columns.level[j] < level && state_.rows.keeps(i, j);
    });
  }

  // Depth-first search backward from a sink to a source over tight arcs from strictly lower levels:
  // those form no cycles, and a line from which no source was found stays closed for this phase.
  __device__ bool AugmentTo(int sink, bool sink_is_row) {
    int depth = 0;
    int line = sink;
    Set before = sink_is_row ? TightColumnsInto(sink) : TightRowsInto(sink);
    while (true) {
      const bool at_row = sink_is_row != (depth % 2 == 1);
      before = before & (at_row ? open_columns_ : open_rows_);
      Set sources = before & LoadSet<kWords>(at_row ? state_.columns.sources : state_.rows.sources);
      if (const int source = sources.PopFirst(); source >= 0) {
        Push(depth, line, before);
        Push(++depth, source, sources);
        TakeSupply(sink, sink_is_row, source, /*source_is_row=*/!at_row);
        FlipPath(depth, /*source_is_row=*/!at_row);
        return true;
      }
      if (const int next = before.PopFirst(); next >= 0) {
        (at_row ? open_columns_ : open_rows_).erase(next);
        Push(depth++, line, before);
        line = next;
        before = at_row ? TightRowsInto(next) : TightColumnsInto(next);
      } else if (depth-- > 0) {
        line = state_.path[depth].line;
        before = LoadSet<kWords>(state_.path[depth].before);
      } else {
        return false;
      }
    }
  }

  __device__ void Push(int depth, int line, const Set& before) {
    __syncwarp();  // all have read what this overwrites
    if (lane() == 0) {
      state_.path[depth].line = line;
      StoreSet(before, state_.path[depth].before);
    }
    __syncwarp();
  }

  __device__ void TakeSupply(int sink, bool sink_is_row, int source, bool source_is_row) {
    Side<kWords>& from = source_is_row ? state_.rows : state_.columns;
    Side<kWords>& to = sink_is_row ? state_.rows : state_.columns;
    if (lane() == 0) {
      if (--from.supply[source] == 0) from.sources[source / 32] &= ~(1u << (source % 32));
      ++to.supply[sink];
    }
    __syncwarp();
  }

  // Keeps the entries on the way from rows to columns, drops those on the way back; reopens inner
  // lines.
  __device__ void FlipPath(int depth, bool source_is_row) {
    bool from_row = source_is_row;
    for (int k = depth; k > 0; --k, from_row = !from_row) {
      const int from = state_.path[k].line, to = state_.path[k - 1].line;
      const int row = from_row ? from : to, column = from_row ? to : from;
      if (lane() == 0) {
        state_.rows.kept[column / 32][row] ^= 1u << (column % 32);
        state_.columns.kept[row / 32][column] ^= 1u << (row % 32);
      }
      if (k > 1) (from_row ? open_columns_ : open_rows_).insert(to);
    }
    __syncwarp();
  }

  const Entries& entries_;
  const int m_;
  BlockState<kWords>& state_;
  Set open_rows_, open_columns_;  // may still lie on a path of this phase
};

}  // namespace tsenor::cuda
