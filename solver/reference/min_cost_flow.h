// The exact optimum of one block with integer scores, by successive shortest augmenting paths.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "solver/problem.h"

namespace tsenor {

// A mask of greatest value and potentials that prove it:
//
//   sum of W_ij kept  ==  n * sum(a) + n * sum(b) + sum_ij max(0, W_ij - a_i - b_j)    (exactly)
//
// Invariant (complementary slackness): W_ij - a_i - b_j >= 0 where kept, <= 0 where not.
struct IntegerOptimum {
  std::vector<uint8_t> kept;               // m x m, row-major, 0 or 1; every line sums to n
  std::vector<int64_t> row_potentials;     // a
  std::vector<int64_t> column_potentials;  // b
  int64_t augmentations = 0;               // paths flipped: n * m, one for each entry kept
};

// Solves one block from an empty mask: n * m searches of O(m^2) steps each. Deterministic.
// REQUIRES: `scores` is m x m, row-major, each within +-2^40 (path lengths then stay below 2^50).
IntegerOptimum MaximiseIntegerScores(std::span<const int64_t> scores, Pattern pattern);

}  // namespace tsenor
