// Blocks in which many scores tie: potentials on which ties are exact, and a start that uses them.
//
// One warp does each step for the whole block, lane l for the lines l, l + 32, ...
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/block_state.cuh"
#include "solver/cuda/primitives/line_set.cuh"

namespace tsenor::cuda {

// Moves the potentials of those of the lines `open` that have an entry, score(line), within `reach`
// of tight with a line of potential `potential`, so that it is tight exactly; returns them.
template <int kWords, typename Score>
__device__ LineSet<kWords> SnapLines(Score score, double potential, double reach,
                                     const LineSet<kWords>& open, double* potentials) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  LineSet<kWords> snapped;
#pragma unroll
  for (int w = 0; w < kWords; ++w) {
    const int line = 32 * w + lane;
    bool near = open.word[w] >> lane & 1;
    if (near) {
      const double tight = score(line) - potential;
      near = fabs(tight - potentials[line]) <= reach;
      if (near) potentials[line] = tight;
    }
    snapped.word[w] = __ballot_sync(~0u, near);
  }
  __syncwarp();
  return snapped;
}

// Makes entries that are within `reach` of tight tight exactly, as far as they form a forest: from
// a row on, its near-tight columns are snapped to it, then their near-tight rows to those, and so
// on. Where scores tie, all entries of a tied cell of rows and columns then have a residual of
// exactly 0. Called by one warp.
template <int kWords>
__device__ void SnapPotentials(const Entries& entries, int m, double reach,
                               BlockState<kWords>& state) {
  using Set = LineSet<kWords>;
  Set open_rows = Set::First(m), open_columns = open_rows;
  Set rows = Set::Empty(), columns = rows;  // snapped, and nothing is snapped to them yet
  while (true) {
    if (const int i = rows.PopFirst(); i >= 0) {
      const auto score = [&](int j) { return static_cast<double>(entries.score(i, j)); };
      const Set snapped =
          SnapLines(score, state.rows.proof[i], reach, open_columns, state.columns.proof);
      open_columns = open_columns & ~snapped;
      columns = columns | snapped;
    } else if (const int j = columns.PopFirst(); j >= 0) {
      const auto score = [&](int row) { return static_cast<double>(entries.score(row, j)); };
      const Set snapped =
          SnapLines(score, state.columns.proof[j], reach, open_rows, state.rows.proof);
      open_rows = open_rows & ~snapped;
      rows = rows | snapped;
    } else if (const int root = open_rows.PopFirst(); root >= 0) {
      rows.insert(root);
    } else {
      return;
    }
  }
}

// Of the lines of `ready`, the least `room`.
template <int kWords>
__device__ LineSet<kWords> FirstOf(LineSet<kWords> ready, int room) {
  LineSet<kWords> first = LineSet<kWords>::Empty();
  for (; room > 0; --room) first.insert(ready.PopFirst());
  return first;
}

// Keeps tight entries where both lines miss some, row by row, in those columns first that miss
// most: leaves little to augment where there is much choice. Called by one warp.
//
// REQUIRES: kept entries are those with a positive residual.
template <int kWords>
__device__ void FillTightEntries(const Entries& entries, int m, int n, BlockState<kWords>& state) {
  using Set = LineSet<kWords>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int missing[kWords];  // of this lane's columns
#pragma unroll
  for (int w = 0; w < kWords; ++w) {
    const int j = 32 * w + lane;
    const Set kept = LoadSet<kWords>(&state.columns.kept[0][j], Side<kWords>::kLines);
    missing[w] = j < m ? n - kept.count() : 0;
  }
  for (int i = 0; i < m; ++i) {
    Set kept = LoadSet<kWords>(&state.rows.kept[0][i], Side<kWords>::kLines);
    int room = n - kept.count();
    if (room <= 0) continue;
    Set tight;
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      const int j = 32 * w + lane;
      tight.word[w] = __ballot_sync(~0u, j < m && entries.residual(i, j) == 0 && missing[w] > 0);
    }
    while (room > 0 && !tight.empty()) {
      int most = 0;
#pragma unroll
      for (int w = 0; w < kWords; ++w) most = max(most, tight.word[w] >> lane & 1 ? missing[w] : 0);
      most = __reduce_max_sync(~0u, most);
      Set neediest;
#pragma unroll
      for (int w = 0; w < kWords; ++w) {
        neediest.word[w] = tight.word[w] & __ballot_sync(~0u, missing[w] == most);
      }
      if (neediest.count() > room) neediest = FirstOf(neediest, room);
      room -= neediest.count();
      tight = tight & ~neediest;
      kept = kept | neediest;
#pragma unroll
      for (int w = 0; w < kWords; ++w) {
        if (!(neediest.word[w] >> lane & 1)) continue;
        --missing[w];
        state.columns.kept[i / 32][32 * w + lane] |= 1u << (i % 32);
      }
    }
    __syncwarp();  // all have read what this overwrites
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      if (lane == 0) state.rows.kept[w][i] = kept.word[w];
    }
  }
  __syncwarp();
}

}  // namespace tsenor::cuda
