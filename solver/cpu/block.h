// The working memory of one block while the CPU backend solves it.
#pragma once

#include <bit>
#include <cstdint>

#include "solver/limits.h"

namespace tsenor::cpu {

// 2^exponent. REQUIRES: |exponent| <= 1022.
inline double PowerOfTwo(int exponent) {
  return std::bit_cast<double>(uint64_t(1023 + exponent) << 52);
}

// Whether a block needs no refinement: its gap is within the tolerance (relative), and so small
// that on scores in whole quanta (solver/quantise.h) the mask is the optimum. Of normalised scores.
inline bool IsTolerable(double value, double bound, double gap_tolerance) {
  constexpr double kQuantum = 1.0 / (1 << kQuantisationBits);
  const double gap = bound - value;
  return gap <= gap_tolerance * bound && gap < 0.5 * kQuantum;  // the rest is room for rounding
}

// A block, padded to kWidth x kWidth, entry (i, j) at i * kWidth + j; suffix _t: the transpose,
// entry (i, j) at j * kWidth + i. Both are kept so that the lines being worked on always lie side
// by side in vector lanes, and no sum runs across lanes. Padded scores are 0; no other padded value
// is ever used.
//
// Scores are normalised: the caller's times 2^-exponent (exact, but for what is below 2^-126 of the
// greatest), so that the greatest lies in [0.5, 1). Potentials are in the same unit.
template <int kWidth>
struct Block {
  static constexpr int kArea = kWidth * kWidth;

  int m = 0;
  int n = 0;
  int exponent = 0;  // of the caller's greatest score: max = f * 2^exponent
  float mean = 0;    // robust mean score: of the rows' means without their maxima
  // Largest relative deviation of a row's and a column's mean (without its maximum) from `mean`.
  float row_spread = 0;
  float column_spread = 0;

  alignas(64) float scores[kArea];
  alignas(64) float scores_t[kArea];
  alignas(64) float row_mean[kWidth];  // without the maximum, limited to a multiple of `mean`
  alignas(64) float column_mean[kWidth];
  alignas(64) float row_potential[kWidth];     // a
  alignas(64) float column_potential[kWidth];  // b
};

}  // namespace tsenor::cpu
