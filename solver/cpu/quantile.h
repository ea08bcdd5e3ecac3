// Where the sweeps start.
#pragma once

namespace tsenor::cpu {

// A Gaussian line's n-th greatest of m magnitudes, over the mean magnitude: what a line's mean is
// multiplied by for its first threshold. REQUIRES: 0 < n < m. Thread-safe.
float QuantileFactor(int n, int m);

}  // namespace tsenor::cpu
