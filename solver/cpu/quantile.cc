#include "solver/cpu/quantile.h"

#include <cmath>

namespace tsenor::cpu {

float QuantileFactor(int n, int m) {
  // erfc(x / sqrt 2) is the share of magnitudes above x; bisection: once per problem, not per
  // block.
  double low = 0, high = 6;
  for (int k = 0; k < 60; ++k) {
    const double middle = 0.5 * (low + high);
    (std::erfc(middle / std::sqrt(2.0)) > static_cast<double>(n) / m ? low : high) = middle;
  }
  // To 12 bits: the last ones differ between C libraries, and the answer must not.
  return static_cast<float>(std::nearbyint(low * std::sqrt(std::acos(-1.0) / 2) * 4096) / 4096);
}

}  // namespace tsenor::cpu
