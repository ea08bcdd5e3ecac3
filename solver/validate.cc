#include "solver/validate.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "solver/limits.h"
#include "solver/scores.h"

namespace tsenor {
namespace {

absl::Status ValidateOptions(const SolveOptions& options) {
  if (options.method < Method::kOptimal || options.method > Method::kColumnNm) {
    return absl::InvalidArgumentError(absl::StrCat("method is ", static_cast<int>(options.method),
                                                   ", which is none of this version"));
  }
  // Negated comparisons, so that NaN is refused too.
  const double tolerance = options.optimal.gap_tolerance;
  if (!(tolerance > 0 && tolerance <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("optimal.gap_tolerance is ", tolerance, "; it must be in (0, 1]"));
  }
  const TsenorOptions& tsenor = options.tsenor;
  if (!(tsenor.tau > 0 && tsenor.tau <= kMaxTau)) {
    return absl::InvalidArgumentError(
        absl::StrCat("tsenor.tau is ", tsenor.tau, "; it must be in (0, ", kMaxTau, "]"));
  }
  if (tsenor.iterations < 1 || tsenor.iterations > kMaxIterations) {
    return absl::InvalidArgumentError(absl::StrCat("tsenor.iterations is ", tsenor.iterations,
                                                   "; it must be in [1, ", kMaxIterations, "]"));
  }
  if (tsenor.swaps < 0 || tsenor.swaps > kMaxSwaps) {
    return absl::InvalidArgumentError(
        absl::StrCat("tsenor.swaps is ", tsenor.swaps, "; it must be in [0, ", kMaxSwaps, "]"));
  }
  const int samples = options.max_random.samples;
  if (samples < 1 || samples > kMaxSamples) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_random.samples is ", samples, "; it must be in [1, ", kMaxSamples, "]"));
  }
  return absl::OkStatus();
}

absl::Status ValidateLength(const char* field, int64_t length, int m, Edge edge) {
  if (length < 1 || length > kMaxLength) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, " is ", length, "; it must be in [1, ", kMaxLength, "]"));
  }
  if (edge == Edge::kRefuse && length % m != 0) {
    return absl::InvalidArgumentError(absl::StrCat(field, " is ", length,
                                                   "; it must be a multiple of pattern.m = ", m,
                                                   " unless edge is PAD"));
  }
  return absl::OkStatus();
}

// Why `element` has no score, or null if it has one.
const char* Objection(ScoreKind kind, float element, float norm) {
  if (std::isnan(element)) return "is NaN";
  if (std::isinf(element)) return "is infinite";
  if (kind == ScoreKind::kGiven && element < 0) return "is negative";
  if (!(std::fabs(element) * norm <= FLT_MAX)) return "times its column norm overflows float32";
  return nullptr;
}

// Whether any of `count` elements has no score, without branches: this runs over every weight that
// arrives.
bool AnyInvalid(ScoreKind kind, const float* elements, const float* norms, int64_t count) {
  const float least = kind == ScoreKind::kGiven ? 0.0f : -FLT_MAX;
  int invalid = 0;
  for (int64_t k = 0; k < count; ++k) {
    invalid |= !(elements[k] >= least) | !(elements[k] <= FLT_MAX);
  }
  if (norms != nullptr) {
    for (int64_t k = 0; k < count; ++k) {
      invalid |= !(std::fabs(elements[k]) * norms[k] <= FLT_MAX);
    }
  }
  return invalid != 0;
}

}  // namespace

absl::Status ValidateProblem(const Problem& problem) {
  const Pattern& pattern = problem.pattern;
  if (pattern.m < 1 || pattern.m > kMaxM) {
    return absl::InvalidArgumentError(
        absl::StrCat("pattern.m is ", pattern.m, "; it must be in [1, ", kMaxM, "]"));
  }
  if (pattern.n < 0 || pattern.n > pattern.m) {
    return absl::InvalidArgumentError(absl::StrCat(
        "pattern.n is ", pattern.n, "; it must be in [0, pattern.m = ", pattern.m, "]"));
  }
  if (std::ranges::find(kAllDTypes, problem.dtype) == std::end(kAllDTypes)) {
    return absl::InvalidArgumentError(absl::StrCat("dtype is ", static_cast<int>(problem.dtype),
                                                   ", which is none of this version"));
  }
  if (problem.score_kind != ScoreKind::kMagnitude && problem.score_kind != ScoreKind::kGiven &&
      problem.score_kind != ScoreKind::kMagnitudeTimesColumnNorm) {
    return absl::InvalidArgumentError(absl::StrCat(
        "score kind is ", static_cast<int>(problem.score_kind), ", which is none of this version"));
  }
  return ValidateOptions(problem.options);
}

absl::Status ValidateShape(Pattern pattern, int64_t rows, int64_t columns, Edge edge) {
  if (absl::Status status = ValidateLength("shape[0] (rows)", rows, pattern.m, edge);
      !status.ok()) {
    return status;
  }
  return ValidateLength("shape[1] (columns)", columns, pattern.m, edge);
}

absl::Status ValidateColumnNorms(const float* norms, int64_t count) {
  for (int64_t k = 0; k < count; ++k) {
    if (!(norms[k] >= 0 && norms[k] <= FLT_MAX)) {
      return absl::InvalidArgumentError(
          absl::StrCat("column_norms[", k, "] is ", norms[k], "; it must be finite and >= 0"));
    }
  }
  return absl::OkStatus();
}

std::optional<InvalidWeight> FindInvalidWeight(const Problem& problem, const Tile& tile) {
  constexpr int64_t kRun = 512;  // floats on the stack: stays in the first-level cache
  float elements[kRun];
  const bool normed = problem.score_kind == ScoreKind::kMagnitudeTimesColumnNorm;
  for (int64_t row = 0; row < tile.rows; ++row) {
    for (int64_t column = 0; column < tile.columns; column += kRun) {
      const int64_t count = std::min(kRun, tile.columns - column);
      const float* norms = normed ? tile.column_norms + column : nullptr;
      LoadElements(problem.dtype, tile.weights, row * tile.row_stride + column, count, elements);
      if (!AnyInvalid(problem.score_kind, elements, norms, count)) continue;
      for (int64_t k = 0; k < count; ++k) {
        const char* reason = Objection(problem.score_kind, elements[k], norms ? norms[k] : 1.0f);
        if (reason) return InvalidWeight{row, column + k, elements[k], reason};
      }
    }
  }
  return std::nullopt;
}

}  // namespace tsenor
