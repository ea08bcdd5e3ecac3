// The one grid of whole quanta: on scores that lie on it, the integer optima of all backends are
// equal to the bit. (The reference backend rounds all scores to it; cpu and cuda quantise
// residuals, far finer.)
//
//   Let max be the greatest score of a block and max = f * 2^e with f in [0.5, 1) (frexp).
//   W_ij = score_ij * 2^(kQuantisationBits - e), rounded to the nearest integer, ties to even,
//   in exact arithmetic. A block whose scores are all zero has W = 0.
//
// A power of two keeps ties of 8-bit, bfloat16 and integer scores exact, and makes masks
// invariant under scaling by powers of two. 0 <= W_ij <= 2^kQuantisationBits.
#pragma once

#include <cmath>
#include <cstdint>

#include "solver/limits.h"

namespace tsenor {

// kQuantisationBits - e for a block whose greatest score is `max` (finite, >= 0); 0 if `max` is 0.
inline int QuantisationShift(float max) {
  if (max == 0) return 0;
  int exponent = 0;
  std::frexp(max, &exponent);
  return kQuantisationBits - exponent;
}

// The rule for one score. float64 holds every intermediate value exactly.
inline int32_t Quantise(float score, int shift) {
  return static_cast<int32_t>(std::nearbyint(std::ldexp(static_cast<double>(score), shift)));
}

}  // namespace tsenor
