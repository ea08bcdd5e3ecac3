// From the caller's elements to float32 scores: the one definition that all host code shares.
#pragma once

#include <cstdint>

#include "solver/problem.h"

namespace tsenor {

// Scores of the entries (row, column) .. (row, column + count - 1) of a tile in host memory; exact for
// every dtype but for the one float32 product of ScoreKind::kMagnitudeTimesColumnNorm. Entries
// beyond the tile's rows and columns score 0.
void LoadScores(const Problem& problem, const Tile& tile, int64_t row, int64_t column, int count,
                float* scores);

// One element as float32 (exact).
float LoadElement(DType dtype, const void* elements, int64_t index);

}  // namespace tsenor
