// How a mask is found. Ranges are checked by ValidateProblem() (solver/validate.h).
#pragma once

#include <compare>

namespace tsenor {

enum class Method {
  kOptimal,  // sweeps, rounding, exact finish, float64 certificate (solver/README.md)
  kTsenor,   // Dykstra, greedy rounding and swaps as published: arXiv 2505.23949
};

// Options of Method::kOptimal.
struct OptimalOptions {
  // A block whose relative gap exceeds this is refined. Range (0, 1]; 1 never refines, so that the
  // answer is the exact optimum of the quantised scores.
  double gap_tolerance = 1e-9;

  auto operator<=>(const OptimalOptions&) const = default;
};

// Options of Method::kTsenor; the defaults are the published settings.
struct TsenorOptions {
  double tau = 200;      // regularisation strength times the block's greatest score; (0, kMaxTau]
  int iterations = 300;  // T, Dykstra iterations; [1, kMaxIterations]
  int swaps = 10;        // L, greatest number of swaps per block; [0, kMaxSwaps]

  auto operator<=>(const TsenorOptions&) const = default;
};

// A method and its options. The options of the other methods keep their defaults, so that equal
// work compares equal.
struct SolveOptions {
  Method method = Method::kOptimal;
  OptimalOptions optimal;
  TsenorOptions tsenor;

  auto operator<=>(const SolveOptions&) const = default;
};

}  // namespace tsenor
