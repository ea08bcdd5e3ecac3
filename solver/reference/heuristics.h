// The methods without sweeps, as plain as their definitions (solver/README.md, "Methods").
//
// Each answers the mask of one block: m x m, row-major, 0 or 1. Of equal scores the entry of the
// lower index comes first. REQUIRES, of all: `scores` is m x m, row-major, finite and non-negative.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "solver/options.h"
#include "solver/problem.h"

namespace tsenor {

// Method::kTwoApprox: visits the entries by descending score and keeps those whose row and column
// have room (Hubara et al., Accelerated sparse neural training, 2021). No line keeps more than n,
// some may keep fewer; the value is at least half of the greatest.
std::vector<uint8_t> GreedyMask(std::span<const float> scores, Pattern pattern);

// Method::kRowNm and kColumnNm: the n greatest entries of each row, or of each column.
std::vector<uint8_t> RowMask(std::span<const float> scores, Pattern pattern);
std::vector<uint8_t> ColumnMask(std::span<const float> scores, Pattern pattern);

// Method::kBiNm: of the entries of RowMask() the n greatest of each column, or all where there are
// fewer.
std::vector<uint8_t> RowThenColumnMask(std::span<const float> scores, Pattern pattern);

// Method::kMaxRandom: the first among the masks of solver/random_masks.h that keeps most, counted
// in quanta (solver/quantise.h). REQUIRES: 0 < n < m.
std::vector<uint8_t> BestRandomMask(std::span<const float> scores, Pattern pattern,
                                    const MaxRandomOptions& options);

}  // namespace tsenor
