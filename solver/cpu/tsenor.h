// TSENOR as published (arXiv 2505.23949): Dykstra's algorithm, greedy rounding, swaps.
#pragma once

#include <cstdint>

#include "solver/options.h"

namespace tsenor::cpu {

// Rounds the entropic transport plan of one block to a mask: kept[i * kWidth + j] is 1 or 0.
// Whether every line keeps exactly n entries: rounding and swaps may end short of that, never
// beyond.
//
// Dykstra's correction Q need not be stored: S . Q = diag(u) exp(tau w) diag(v) throughout, so that
// the state of the iteration is two vectors, here in float64.
//
// Entries are visited by descending S; ties (entries at the cap, above all) by descending score,
// then row by row. A swap serves the first row and the first column that have room.
//
// REQUIRES: scores (entry (i, j) at i * kWidth + j) finite, >= 0; 0 < n < m <= kWidth.
template <int kWidth>
bool SolveTsenor(const float* scores, int n, int m, const TsenorOptions& options, uint8_t* kept);

}  // namespace tsenor::cpu
