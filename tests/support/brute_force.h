// The optimum of tiny blocks by trying every mask.
#pragma once

#include <cstdint>
#include <span>

#include "solver/problem.h"

namespace tsenor {

// The greatest sum that a mask of exact line sums can keep of the m x m `scores` (row-major).
// REQUIRES: pattern.m <= 4 (90 masks of 2:4; 12870^2 of 8:16 would not end).
int64_t GreatestKeptSumByTrying(std::span<const int64_t> scores, Pattern pattern);

}  // namespace tsenor
