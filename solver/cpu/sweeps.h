// Potentials first: a few annealed entropic sweeps that leave the exact finish almost nothing to
// do.
#pragma once

#include "solver/cpu/block.h"

namespace tsenor::cpu {

// The start of the sweeps depends on the pattern alone: a Gaussian line's n-th greatest of m
// magnitudes, over the mean magnitude. REQUIRES: 0 < n < m.
float QuantileFactor(int n, int m);

struct SweepResult {
  int sweeps = 0;
  float tau = 0;  // of the last stage: the potentials are good to about 1 / tau
};

// Sets row_potential and column_potential such that [score > a_i + b_j] nearly has n entries in
// each line.
//
// Binary-entropy regularisation of the transport problem (the logistic relative of TSENOR's
// Dykstra: the box 0 <= S <= 1 is inside the entropy, so it needs no correction term): S = 1 / (1 +
// 1 / (K u v)) with K = exp(tau (w - a - b)). Alternately for rows and columns, one Newton step in
// the logarithm of each line's scale brings its sum towards n; tau grows in stages, between which
// the scales are absorbed: K <- (K u v)^growth needs no new exponentials.
//
// REQUIRES: scores, mean, spreads, and in the potentials the mean of each line without its maximum,
// at most 8 times the block's (LoadBlock(), cpu/block_solver.cc); `quantile_factor` is
// QuantileFactor(n, m).
template <int kWidth>
SweepResult Sweep(Block<kWidth>& block, float quantile_factor);

}  // namespace tsenor::cpu
