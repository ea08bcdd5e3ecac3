#include "solver/certificate.h"

#include <algorithm>
#include <vector>

#include "solver/limits.h"
#include "solver/scores.h"

namespace tsenor {
namespace {

// Lines of a block, `existing` entries each, that keep more or fewer entries than n allows.
void CountLines(const std::vector<int>& kept, int64_t lines, int64_t existing, Pattern pattern,
                MaskCertificate& certificate) {
  const int64_t missing = pattern.m - existing;  // entries of the line that lie beyond the matrix
  for (int64_t k = 0; k < lines; ++k) {
    certificate.lines_over += kept[k] > pattern.n;
    certificate.lines_under += kept[k] < pattern.n - missing;
  }
}

MaskCertificate CertifyBlock(const Problem& problem, const Tile& tile, int64_t first_row,
                             int64_t first_column, const double* potentials) {
  const auto [n, m] = problem.pattern;
  const bool of_rows = ConstrainsRows(problem.options.method);
  const bool of_columns = ConstrainsColumns(problem.options.method);
  const int64_t rows = std::min<int64_t>(m, tile.rows - first_row);
  const int64_t columns = std::min<int64_t>(m, tile.columns - first_column);
  std::vector<float> scores(m);
  std::vector<int> kept_in_row(m, 0), kept_in_column(m, 0);

  MaskCertificate certificate;
  SolveStats& stats = certificate.stats;
  stats.blocks = 1;
  const auto row_potential = [=](int i) { return of_rows ? potentials[i] : 0.0; };
  const auto column_potential = [=](int j) { return of_columns ? potentials[m + j] : 0.0; };
  for (int i = 0; i < m; ++i) {
    stats.bound += n * (row_potential(i) + column_potential(i));
    LoadScores(problem, tile, first_row + i, first_column, m, scores.data());
    const uint8_t* mask_row = tile.mask + (first_row + i) * tile.mask_row_stride;
    for (int j = 0; j < m; ++j) {
      stats.bound += std::max(0.0, scores[j] - row_potential(i) - column_potential(j));
      if (i >= rows || j >= columns) continue;
      const int64_t column = first_column + j;
      stats.score_sum += scores[j];
      if ((mask_row[column / 8] >> (column % 8) & 1) == 0) continue;
      stats.value += scores[j];
      ++stats.kept;
      ++kept_in_row[i];
      ++kept_in_column[j];
    }
  }
  if (of_rows) CountLines(kept_in_row, rows, columns, problem.pattern, certificate);
  if (of_columns) CountLines(kept_in_column, columns, rows, problem.pattern, certificate);
  stats.blocks_short = certificate.lines_under > 0;
  stats.blocks_proven = certificate.lines_under == 0 && certificate.lines_over == 0 &&
                        stats.relative_gap() <= kProvenGap;
  return certificate;
}

}  // namespace

MaskCertificate Certify(const Problem& problem, const Tile& tile) {
  const int m = problem.pattern.m;
  const double* potentials = tile.potentials;
  MaskCertificate total;
  for (int64_t row = 0; row < tile.rows; row += m) {
    for (int64_t column = 0; column < tile.columns; column += m) {
      const MaskCertificate block = CertifyBlock(problem, tile, row, column, potentials);
      total.stats += block.stats;
      total.lines_over += block.lines_over;
      total.lines_under += block.lines_under;
      potentials += 2 * m;
    }
  }
  return total;
}

}  // namespace tsenor
