// Blocks in which many scores tie: potentials on which ties are exact.
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/block_state.cuh"
#include "solver/cuda/primitives/group.cuh"

namespace tsenor::cuda {

// Makes entries that are near tight tight exactly, as far as they form a forest: from a row on, its
// near-tight columns are snapped to it, then their near-tight rows to those, and so on. Where
// scores tie, all entries of a tied cell of rows and columns then have a residual of exactly 0 (if
// their differences are exact in float32, as those of scores of few bits are).
template <int kWidth>
class TieForest {
 public:
  // Entries tie that are within `reach` of tight.
  __device__ TieForest(const Group<kWidth>& group, const Entries<kWidth>& entries, int m,
                       float reach, BlockState<kWidth>& state)
      : group_(group), entries_(entries), m_(m), reach_(reach), state_(state) {}

  // Snaps `potential` of rows and columns. All threads of the group call it.
  __device__ void Snap() {
    const int k = group_.thread();
    Set open_rows = Set::First(m_), open_columns = open_rows;
    Set rows = Set::Empty(), columns = rows;  // snapped, and nothing is snapped to them yet
    while (!open_rows.empty() || !open_columns.empty()) {
      if (const int i = rows.PopFirst(); i >= 0) {
        const Set snapped = SnapLines(k < m_ ? entries_.score(i, k) : 0, state_.rows.potential[i],
                                      open_columns, state_.columns.potential);
        open_columns = open_columns & ~snapped;
        columns = columns | snapped;
      } else if (const int j = columns.PopFirst(); j >= 0) {
        const Set snapped =
            SnapLines(k < m_ ? entries_.score(k, j) : 0, state_.columns.potential[j], open_rows,
                      state_.rows.potential);
        open_rows = open_rows & ~snapped;
        rows = rows | snapped;
      } else if (const int root = open_rows.PopFirst(); root >= 0) {
        rows.insert(root);
      } else {
        return;
      }
    }
  }

 private:
  using Set = typename Group<kWidth>::Set;

  // Moves the potentials of those of the lines `open` whose entry with a line of potential
  // `potential`, of score `score`, is near tight; returns them.
  __device__ Set SnapLines(float score, float potential, const Set& open, float* potentials) const {
    const int k = group_.thread();
    const float tight = score - potential;
    const bool near = open.contains(k) && fabsf(tight - potentials[k]) <= reach_;
    if (near) potentials[k] = tight;
    if constexpr (Group<kWidth>::kInWarp) group_.Sync();  // elsewhere Lines() is a barrier
    return group_.Lines(near);
  }

  const Group<kWidth>& group_;
  const Entries<kWidth>& entries_;
  const int m_;
  const float reach_;
  BlockState<kWidth>& state_;
};

}  // namespace tsenor::cuda
