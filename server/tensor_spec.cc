#include "server/tensor_spec.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "solver/validate.h"

namespace tsenor::server {
namespace {

absl::Status ValidateNorms(const TensorSpec& spec) {
  const int64_t count = static_cast<int64_t>(spec.column_norms.size());
  const bool wanted = spec.problem.score_kind == ScoreKind::kMagnitudeTimesColumnNorm;
  if (const int64_t expected = wanted ? spec.columns : 0; count != expected) {
    return absl::InvalidArgumentError(absl::StrCat(
        "scores.column_norms has ", count, " values; it must have ", expected,
        wanted ? " (shape[1]) with this kind of scores" : " with this kind of scores"));
  }
  return ValidateColumnNorms(spec.column_norms.data(), count);
}

}  // namespace

absl::Status ValidateTensor(const TensorSpec& spec, const Limits& limits) {
  if (static_cast<int64_t>(spec.name.size()) > kMaxNameBytes) {
    return absl::InvalidArgumentError(absl::StrCat("name has ", spec.name.size(),
                                                   " bytes; it must have at most ", kMaxNameBytes));
  }
  if (absl::Status status = ValidateProblem(spec.problem); !status.ok()) return status;
  const Pattern pattern = spec.problem.pattern;
  if (absl::Status status = ValidateShape(pattern, spec.rows, spec.columns, spec.edge);
      !status.ok()) {
    return status;
  }
  // Both lengths are at most kMaxLength = 2^30: no product overflows.
  const int64_t row_bytes = spec.columns * static_cast<int64_t>(SizeOf(spec.problem.dtype));
  if (const int64_t bytes = spec.rows * row_bytes; bytes > limits.max_tensor_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shape is ", spec.rows, " x ", spec.columns, ", ", bytes,
        " bytes; it must be at most limits.max_tensor_bytes = ", limits.max_tensor_bytes,
        " bytes"));
  }
  if (const int64_t bytes = pattern.m * row_bytes; bytes > limits.max_block_row_bytes()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shape[1] (columns) is ", spec.columns, ", so that pattern.m = ", pattern.m, " rows are ",
        bytes, " bytes; they must be at most limits.max_block_row_bytes = ",
        limits.max_block_row_bytes(), " bytes"));
  }
  return ValidateNorms(spec);
}

TensorLayout::TensorLayout(const TensorSpec& spec, const Limits& limits) {
  const int m = spec.problem.pattern.m;
  row_bytes = spec.columns * static_cast<int64_t>(SizeOf(spec.problem.dtype));
  total_bytes = spec.rows * row_bytes;
  mask_row_bytes = MaskRowBytes(spec.columns);
  block_rows = BlocksAlong(spec.rows, m);
  // All that a piece holds counts: with narrow matrices and small m, statistics outweigh weights.
  const int64_t block_row_cost =
      m * (row_bytes + mask_row_bytes) + static_cast<int64_t>(sizeof(SolveStats));
  const int64_t block_rows_per_piece = std::max<int64_t>(1, limits.piece_bytes / block_row_cost);
  rows_per_piece = std::min(spec.rows, block_rows_per_piece * m);
}

}  // namespace tsenor::server
