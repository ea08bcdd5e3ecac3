// How a mask is found. Ranges are checked by ValidateProblem() (solver/validate.h).
#pragma once

#include <compare>
#include <cstdint>

namespace tsenor {

// solver/README.md, "Methods", defines each. Of equal scores the first entry wins, row by row (but
// with kOptimal).
enum class Method {
  kOptimal,    // sweeps, rounding, exact finish, float64 certificate
  kTsenor,     // Dykstra, greedy rounding and swaps as published: arXiv 2505.23949
  kTwoApprox,  // entries by descending score while row and column have room; at least half the best
  kBiNm,       // the n greatest of each row, then of these the n greatest of each column
  kMaxRandom,  // the best of random feasible masks
  kRowNm,      // the n greatest of each row: N:M along rows only
  kColumnNm,   // the n greatest of each column: N:M along columns only
};

inline constexpr Method kAllMethods[] = {
    Method::kOptimal,   Method::kTsenor, Method::kTwoApprox, Method::kBiNm,
    Method::kMaxRandom, Method::kRowNm,  Method::kColumnNm,
};

// Which lines of a block keep n entries. The masks of the other methods are transposable.
constexpr bool ConstrainsRows(Method method) { return method != Method::kColumnNm; }
constexpr bool ConstrainsColumns(Method method) { return method != Method::kRowNm; }
constexpr bool IsTransposable(Method method) {
  return ConstrainsRows(method) && ConstrainsColumns(method);
}

// Options of Method::kOptimal. Its answer is the optimum itself on scores that are whole quanta of
// their block (solver/quantise.h), such as integers and 8-bit weights.
struct OptimalOptions {
  // A block whose relative gap exceeds this is refined. Range (0, 1].
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

// Options of Method::kMaxRandom. The masks depend on them and on the pattern alone: every block
// chooses among the same ones, and those of fewer samples come first among those of more.
struct MaxRandomOptions {
  int samples = 1000;  // masks to choose from; [1, kMaxSamples]
  uint64_t seed = 0;   // any

  auto operator<=>(const MaxRandomOptions&) const = default;
};

// A method and its options. The options of the other methods keep their defaults, so that equal
// work compares equal.
struct SolveOptions {
  Method method = Method::kOptimal;
  OptimalOptions optimal;
  TsenorOptions tsenor;
  MaxRandomOptions max_random;

  auto operator<=>(const SolveOptions&) const = default;
};

}  // namespace tsenor
