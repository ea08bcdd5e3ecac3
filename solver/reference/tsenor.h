// Method::kTsenor as published (arXiv 2505.23949): Dykstra's projections, greedy rounding, swaps.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "solver/options.h"
#include "solver/problem.h"

namespace tsenor {

// The mask of one block: m x m, row-major, 0 or 1; no line sums to more than n. Deterministic:
// * The projections start from S = exp(tau * score / greatest score) (all ones if that is 0), in
//   float64.
// * Rounding visits entries by S descending, then score descending, then row-major index ascending.
// * A swap fills the first row and the first column with room. Among equal gains the first entry
//   removed, in row-major order, wins. The swaps end when no line has room, or none is possible.
// REQUIRES: `scores` is m x m, row-major, finite and non-negative.
std::vector<uint8_t> TsenorMask(std::span<const float> scores, Pattern pattern,
                                const TsenorOptions& options);

}  // namespace tsenor
