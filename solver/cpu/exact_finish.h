// From good potentials to the exact optimum of an integer problem, with matching potentials.
#pragma once

#include <cstdint>

namespace tsenor::cpu {

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

// Selects the entries with a positive residual; then, where the potentials are poor because many
// scores tie (`snap_unit` > 0), moves the potentials onto a lattice of about that unit on which
// ties are exact. REQUIRES: weights and potentials within kFinishRange.
template <int kWidth, typename Int>
void Threshold(FinishProblem<kWidth, Int>& problem, Int snap_unit);

// Makes every line keep exactly n entries, by successive phases of shortest augmenting paths,
// keeping complementary slackness: what comes out is optimal, and its potentials prove it.
//
// A phase: dense Bellman-Ford passes over residuals (never stored) give the distance of every line
// from the lines that miss something to give; potentials move by it; a depth-first search backward
// from the sinks over tight arcs then augments many disjoint paths. A phase costs a few passes of
// m^2 operations.
template <int kWidth, typename Int>
FinishResult Finish(FinishProblem<kWidth, Int>& problem);

}  // namespace tsenor::cpu
