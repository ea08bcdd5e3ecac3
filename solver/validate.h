// Refuses what no backend can solve, before any work is done. Every message names field, value and
// bound.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "solver/problem.h"
#include "solver/solver.h"

namespace tsenor {

// Pattern, enums and options. Errors: InvalidArgument.
absl::Status ValidateProblem(const Problem& problem);

// A matrix's shape under `edge`. Errors: InvalidArgument.
// REQUIRES: ValidateProblem() accepts the pattern.
absl::Status ValidateShape(Pattern pattern, int64_t rows, int64_t columns, Edge edge);

// Column norms finite and >= 0: `count` values. Errors: InvalidArgument naming the first bad index.
absl::Status ValidateColumnNorms(const float* norms, int64_t count);

// A weight that has no score.
struct InvalidWeight {
  int64_t row = 0;  // within the tile
  int64_t column = 0;
  double value = 0;  // of the weight
  const char* reason =
      nullptr;  // "is NaN", "is infinite", "is negative", "times its column norm overflows float32"
};

// The first weight of `tile`, row by row, that is NaN, infinite, negative with ScoreKind::kGiven,
// or whose product with its column norm is infinite. Host memory; reads only the tile's inputs.
std::optional<InvalidWeight> FindInvalidWeight(const Problem& problem, const Tile& tile);

}  // namespace tsenor
