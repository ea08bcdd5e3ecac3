// Potentials of lines that keep far too few or too many entries, moved to where they keep n.
#pragma once

#include <climits>
#include <cstdint>

#include "solver/cuda/kernels/block_state.cuh"
#include "solver/cuda/primitives/group.cuh"

namespace tsenor::cuda {

// The potential of a line that keeps at least two entries too few or too many, whatever is done
// with its tight entries, moved by as little as makes it keep n: to its n-th or its (n + 1)-th
// residual. That of any other line as it is. `rest(k)` is the line's k-th residual without its own
// potential. A step passes over the line, and moves to the nearest residual above or below.
template <typename Rest>
__device__ int32_t SearchLine(Rest rest, int m, int n, int32_t potential) {
  constexpr int kTolerated = 1;
  for (int tolerated = kTolerated;; tolerated = 0) {
    int above = 0, below = 0;
    int32_t next_above = INT_MAX, next_below = INT_MIN;
    for (int k = 0; k < m; ++k) {
      const int32_t residual = rest(k);
      if (residual > potential) {
        ++above;
        next_above = min(next_above, residual);
      } else if (residual < potential) {
        ++below;
        next_below = max(next_below, residual);
      }
    }
    if (above > n + tolerated) {
      potential = next_above;
    } else if (m - below < n - tolerated) {
      potential = next_below;
    } else {
      return potential;
    }
  }
}

// Keeps the entries with a positive residual.
template <int kWidth>
__device__ void KeepPositive(const Group<kWidth>& group, const Entries<kWidth>& entries, int m,
                             const BlockState<kWidth>& state, Kept<kWidth>& kept) {
  using G = Group<kWidth>;
  const int k = group.thread();
  const int32_t a = state.rows.quanta[k], b = state.columns.quanta[k];
  kept.in_row = LinesWhere<G::kWarps>(
      k < m ? m : 0, [&](int j) { return entries.residual(k, j) - state.columns.quanta[j] > a; });
  kept.in_column = LinesWhere<G::kWarps>(
      k < m ? m : 0, [&](int i) { return entries.residual(i, k) - state.rows.quanta[i] > b; });
}

// Coordinate ascent on the dual of the integer problem, a few times over rows and columns, for
// lines that the sweeps have left far from n: because scores span so many orders of magnitude that
// one sharpness cannot serve all lines, or because many of them tie. Saves most of the paths there.
//
// REQUIRES: positive residuals are kept.
template <int kWidth>
__device__ void SearchLines(const Group<kWidth>& group, const Entries<kWidth>& entries, int m,
                            int n, BlockState<kWidth>& state, Kept<kWidth>& kept) {
  constexpr int kRounds = 4;
  const int k = group.thread();
  bool moved = false;
  for (int round = 0; round < kRounds; ++round) {
    const int32_t a = state.rows.quanta[k], b = state.columns.quanta[k];
    if (k < m) {
      const auto rest = [&](int j) { return entries.residual(k, j) - state.columns.quanta[j]; };
      state.rows.quanta[k] = SearchLine(rest, m, n, a);
    }
    group.Sync();
    if (k < m) {
      const auto rest = [&](int i) { return entries.residual(i, k) - state.rows.quanta[i]; };
      state.columns.quanta[k] = SearchLine(rest, m, n, b);
    }
    group.Sync();
    if (!group.Any(state.rows.quanta[k] != a || state.columns.quanta[k] != b)) break;
    moved = true;
  }
  if (moved) KeepPositive(group, entries, m, state, kept);
}

}  // namespace tsenor::cuda
