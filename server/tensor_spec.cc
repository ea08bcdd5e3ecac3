#include "server/tensor_spec.h"

#include <algorithm>
#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/fair_share.h"
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

absl::Status ValidatePath(const std::string& path) {
  if (path.empty() || path.size() > kMaxPathBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("file.path has ", path.size(), " bytes; it must have 1 to ", kMaxPathBytes));
  }
  if (path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("file.path holds a byte 0; it must hold none");
  }
  const std::vector<std::string> names = absl::StrSplit(path, '/');
  if (path.front() == '/' || std::find(names.begin(), names.end(), "..") != names.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("file.path is ", Shown(path),
                     "; it must be relative to the server's directory, without \"..\""));
  }
  return absl::OkStatus();
}

absl::Status ValidateFile(const FileRange& file, int64_t tensor_bytes) {
  if (absl::Status status = ValidatePath(file.path); !status.ok()) return status;
  if (file.size != static_cast<uint64_t>(tensor_bytes)) {
    return absl::InvalidArgumentError(absl::StrCat("file.size is ", file.size, "; it must be ",
                                                   tensor_bytes, ", the bytes of shape and dtype"));
  }
  constexpr uint64_t kGreatest = std::numeric_limits<int64_t>::max();  // of any file
  if (file.file_bytes > kGreatest) {
    return absl::InvalidArgumentError(
        absl::StrCat("file.file_bytes is ", file.file_bytes, "; it must be at most ", kGreatest));
  }
  if (file.size > file.file_bytes || file.offset > file.file_bytes - file.size) {
    return absl::InvalidArgumentError(
        absl::StrCat("file.offset is ", file.offset, " and file.size ", file.size,
                     "; their sum must be at most file.file_bytes = ", file.file_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

std::string Shown(const std::string& path) {
  constexpr size_t kShownBytes = 256;
  return absl::StrCat(absl::CHexEscape(path.substr(0, kShownBytes)),
                      path.size() > kShownBytes ? "..." : "");
}

absl::Status ValidateTensor(const TensorSpec& spec, const Limits& limits) {
  if (static_cast<int64_t>(spec.name.size()) > kMaxNameBytes) {
    return absl::InvalidArgumentError(absl::StrCat("name has ", spec.name.size(),
                                                   " bytes; it must have at most ", kMaxNameBytes));
  }
  if (spec.priority < kMinPriority || spec.priority > kMaxPriority) {
    return absl::InvalidArgumentError(absl::StrCat(
        "priority is ", spec.priority, "; it must be in [", kMinPriority, ", ", kMaxPriority, "]"));
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
  if (spec.file.has_value()) {
    if (absl::Status status = ValidateFile(*spec.file, spec.rows * row_bytes); !status.ok()) {
      return status;
    }
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
