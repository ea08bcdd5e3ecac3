// From the caller's elements to float32 scores: the one definition that all host code shares.
#pragma once

#include <cstdint>

#include "solver/problem.h"

namespace tsenor {

// `count` elements from `elements[first]` on, as float32 (exact for every dtype).
void LoadElements(DType dtype, const void* elements, int64_t first, int64_t count, float* out);

// Scores of the entries (row, column) .. (row, column + count - 1) of a tile in host memory; exact
// but for the one float32 product of ScoreKind::kMagnitudeTimesColumnNorm. Entries beyond the
// tile's rows and columns score 0.
void LoadScores(const Problem& problem, const Tile& tile, int64_t row, int64_t column,
                int64_t count, float* scores);

}  // namespace tsenor
