#include "tests/support/solved_matrix.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace tsenor {

bool SolvedMatrix::Keeps(int64_t row, int64_t column) const {
  return mask[row * MaskRowBytes(columns) + column / 8] >> (column % 8) & 1;
}

std::vector<uint8_t> SolvedMatrix::KeptOfBlock(int64_t block_row, int64_t block_column) const {
  std::vector<uint8_t> kept;
  for (int64_t i = block_row * pattern.m; i < (block_row + 1) * pattern.m; ++i) {
    for (int64_t j = block_column * pattern.m; j < (block_column + 1) * pattern.m; ++j) {
      kept.push_back(i < rows && j < columns && Keeps(i, j));
    }
  }
  return kept;
}

std::span<const double> SolvedMatrix::PotentialsOfBlock(int64_t block_row,
                                                        int64_t block_column) const {
  const int64_t block = block_row * BlocksAlong(columns, pattern.m) + block_column;
  return std::span(potentials).subspan(block * 2 * pattern.m, 2 * pattern.m);
}

SolveStats SolvedMatrix::Total() const {
  SolveStats total;
  for (const SolveStats& stats : block_rows) total += stats;
  return total;
}

SolvedMatrix SolveWholeMatrix(Solver& solver, const Problem& problem, const void* weights,
                              int64_t rows, int64_t columns, const float* column_norms) {
  const int m = problem.pattern.m;
  SolvedMatrix solved;
  solved.pattern = problem.pattern;
  solved.rows = rows;
  solved.columns = columns;
  // What a solver leaves unwritten must not look like an answer.
  solved.mask.assign(rows * MaskRowBytes(columns), 0xa5);
  solved.block_rows.resize(BlocksAlong(rows, m));
  solved.potentials.assign(BlocksAlong(rows, m) * BlocksAlong(columns, m) * 2 * m, -1e300);
  const Tile tile = {.weights = weights,
                     .row_stride = columns,
                     .rows = rows,
                     .columns = columns,
                     .column_norms = column_norms,
                     .mask = solved.mask.data(),
                     .mask_row_stride = MaskRowBytes(columns),
                     .stats = solved.block_rows.data(),
                     .potentials = solved.potentials.data()};
  const absl::Status status = solver.Solve({.problem = problem, .tiles = {&tile, 1}});
  if (!status.ok()) {
    std::fprintf(stderr, "Solve() failed: %s\n", status.ToString().c_str());
    std::abort();
  }
  return solved;
}

MaskCertificate CertifyWholeMatrix(const Problem& problem, const void* weights,
                                   SolvedMatrix solved) {
  const Tile tile = {.weights = weights,
                     .row_stride = solved.columns,
                     .rows = solved.rows,
                     .columns = solved.columns,
                     .mask = solved.mask.data(),
                     .mask_row_stride = MaskRowBytes(solved.columns),
                     .potentials = solved.potentials.data()};
  return Certify(problem, tile);
}

std::vector<float> MagnitudesOfBlock(std::span<const float> weights, int64_t rows, int64_t columns,
                                     int m, int64_t block_row, int64_t block_column) {
  std::vector<float> scores;
  for (int64_t i = block_row * m; i < (block_row + 1) * m; ++i) {
    for (int64_t j = block_column * m; j < (block_column + 1) * m; ++j) {
      scores.push_back(i < rows && j < columns ? std::fabs(weights[i * columns + j]) : 0.0f);
    }
  }
  return scores;
}

}  // namespace tsenor
