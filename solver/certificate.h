// The float64 certificate: what a mask is worth, and that none can be worth more.
//
// For any a, b in R^M weak duality bounds the value of every feasible mask of a block:
//
//   value <= N * sum(a) + N * sum(b) + sum_ij max(0, score_ij - a_i - b_j)
//
// so potentials need no trust: whoever made them, the bound holds (up to float64 rounding).
//
// For a mask of rows alone (Method::kRowNm) the b count as 0, for one of columns alone
// (Method::kColumnNm) the a: what is left bounds every mask with at most N entries in each row, or
// in each column, and says nothing tight of transposable masks.
#pragma once

#include <cstdint>

#include "solver/problem.h"
#include "solver/result.h"

namespace tsenor {

// What Certify() found in a given mask.
struct MaskCertificate {
  SolveStats stats;  // sweeps and augmentations are 0
  // Rows and columns of blocks, of those that the method constrains, that keep more than n entries.
  int64_t lines_over = 0;
  int64_t lines_under = 0;  // that keep fewer (incomplete blocks: than they could not avoid)
};

// Reads the mask and the potentials of `tile` (host memory, potentials not null) and evaluates both
// on its scores, in plain float64 loops that share nothing with the backends. Of the method it
// matters only which lines it constrains. Writes nothing to the tile.
MaskCertificate Certify(const Problem& problem, const Tile& tile);

}  // namespace tsenor
