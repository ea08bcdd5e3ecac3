#include "solver/solver.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "solver/validate.h"

namespace tsenor {

absl::StatusOr<MaskResult> SolveMatrix(Solver& solver, const Problem& problem, const void* weights,
                                       int64_t rows, int64_t columns, Edge edge,
                                       const float* column_norms) {
  if (absl::Status status = ValidateProblem(problem); !status.ok()) return status;
  if (absl::Status status = ValidateShape(problem.pattern, rows, columns, edge); !status.ok()) {
    return status;
  }
  const bool normed = problem.score_kind == ScoreKind::kMagnitudeTimesColumnNorm;
  if (normed != (column_norms != nullptr)) {
    return absl::InvalidArgumentError(normed
                                          ? "column_norms is missing; the score kind needs it"
                                          : "column_norms is set; the score kind does not use it");
  }
  if (normed) {
    if (absl::Status status = ValidateColumnNorms(column_norms, columns); !status.ok())
      return status;
  }

  MaskResult result;
  result.mask.resize(rows * MaskRowBytes(columns));
  std::vector<SolveStats> stats(BlocksAlong(rows, problem.pattern.m));
  const Tile tile = {.weights = weights,
                     .row_stride = columns,
                     .rows = rows,
                     .columns = columns,
                     .column_norms = column_norms,
                     .mask = result.mask.data(),
                     .mask_row_stride = MaskRowBytes(columns),
                     .stats = stats.data()};
  if (auto bad = FindInvalidWeight(problem, tile)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "weight at row ", bad->row, ", column ", bad->column, " (", bad->value, ") ", bad->reason));
  }
  if (absl::Status status = solver.Solve({.problem = problem, .tiles = {&tile, 1}}); !status.ok()) {
    return status;
  }
  for (const SolveStats& block_row : stats) result.stats += block_row;
  return result;
}

}  // namespace tsenor
