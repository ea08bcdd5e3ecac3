// The published TSENOR algorithm, written a second time: S and Q explicit, in the probability
// domain.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "solver/options.h"
#include "solver/problem.h"

namespace tsenor {

// The mask (m x m, row-major, 0 or 1) by the rules documented in solver/reference/tsenor.h. In long
// double, whose exponent range holds exp(+-500) and all its products.
std::vector<uint8_t> MaskByExplicitDykstra(std::span<const float> scores, Pattern pattern,
                                           const TsenorOptions& options);

}  // namespace tsenor
