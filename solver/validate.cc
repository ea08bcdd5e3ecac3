#include "solver/validate.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstring>
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

// The sign bit of an element of `dtype`; the bits below it are its magnitude, and order like it.
uint32_t SignBit(DType dtype) { return 1u << (8 * SizeOf(dtype) - 1); }

// The least magnitude, as bits, whose product with `norm` is not finite; the sign bit if there is
// none. Infinity and NaN are the greatest magnitudes of every type.
uint32_t LeastRefused(DType dtype, float norm) {
  const auto is_accepted = [&](uint32_t magnitude) {
    float value = 0;
    LoadElements(dtype, &magnitude, 0, 1, &value);  // little-endian: the low bytes come first
    return value * norm <= FLT_MAX;
  };
  uint32_t accepted_below = 0, refused_from = SignBit(dtype);
  while (accepted_below < refused_from) {
    const uint32_t middle = accepted_below + (refused_from - accepted_below) / 2;
    if (is_accepted(middle)) {
      accepted_below = middle + 1;
    } else {
      refused_from = middle;
    }
  }
  return refused_from;
}

// Whether any of `count` magnitudes is at least `least_refused`, or, with kGiven, any element less
// than zero. Sums that reach the sign bit tell, without branches: this runs over every weight that
// arrives.
template <bool kGiven, typename Bits>
bool AnyRefused(const std::byte* elements, int64_t count, uint32_t least_refused) {
  constexpr Bits kSign = Bits{1} << (8 * sizeof(Bits) - 1);
  const Bits to_sign = static_cast<Bits>(kSign - least_refused);
  Bits refused = 0;
  for (int64_t k = 0; k < count; ++k) {
    Bits element;
    std::memcpy(&element, elements + k * sizeof(Bits), sizeof(Bits));
    const Bits magnitude = element & (kSign - 1);
    refused |= magnitude + to_sign;
    if (kGiven) refused |= element & (magnitude + (kSign - 1));  // a sign, and not that of zero
  }
  return (refused & kSign) != 0;
}

// AnyRefused() of `count` elements from `elements[first]` on.
bool AnyRefused(const Problem& problem, const void* elements, int64_t first, int64_t count,
                uint32_t least_refused) {
  const size_t size = SizeOf(problem.dtype);
  const std::byte* source = static_cast<const std::byte*>(elements) + first * size;
  const auto any = [&](auto bits) {
    using Bits = decltype(bits);
    return problem.score_kind == ScoreKind::kGiven
               ? AnyRefused<true, Bits>(source, count, least_refused)
               : AnyRefused<false, Bits>(source, count, least_refused);
  };
  return size == 1 ? any(uint8_t{}) : size == 2 ? any(uint16_t{}) : any(uint32_t{});
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
  const bool normed = problem.score_kind == ScoreKind::kMagnitudeTimesColumnNorm;
  const float greatest_norm =
      normed ? *std::max_element(tile.column_norms, tile.column_norms + tile.columns) : 1.0f;
  const uint32_t least_refused = LeastRefused(problem.dtype, greatest_norm);
  for (int64_t row = 0; row < tile.rows; ++row) {
    const int64_t first = row * tile.row_stride;
    if (!AnyRefused(problem, tile.weights, first, tile.columns, least_refused)) continue;
    // Now one by one: most columns have a norm less than the greatest.
    for (int64_t column = 0; column < tile.columns; ++column) {
      float element = 0;
      LoadElements(problem.dtype, tile.weights, first + column, 1, &element);
      const char* reason =
          Objection(problem.score_kind, element, normed ? tile.column_norms[column] : 1.0f);
      if (reason) return InvalidWeight{row, column, element, reason};
    }
  }
  return std::nullopt;
}

}  // namespace tsenor
