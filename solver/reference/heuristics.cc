#include "solver/reference/heuristics.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <numeric>

#include "solver/quantise.h"
#include "solver/random_masks.h"

namespace tsenor {
namespace {

// Sorts entries by descending score, then ascending index.
void SortByScore(std::span<const float> scores, std::vector<int>& entries) {
  std::sort(entries.begin(), entries.end(), [scores](int x, int y) {
    return scores[x] != scores[y] ? scores[x] > scores[y] : x < y;
  });
}

// Of the entries that a line keeps, all but the n greatest go.
void DropLeast(std::span<const float> scores, std::vector<int> line, int n,
               std::vector<uint8_t>& kept) {
  std::erase_if(line, [&kept](int e) { return !kept[e]; });
  SortByScore(scores, line);
  for (size_t k = n; k < line.size(); ++k) kept[line[k]] = 0;
}

void DropLeastOfRows(std::span<const float> scores, Pattern pattern, std::vector<uint8_t>& kept) {
  for (int i = 0; i < pattern.m; ++i) {
    std::vector<int> row;
    for (int j = 0; j < pattern.m; ++j) row.push_back(i * pattern.m + j);
    DropLeast(scores, row, pattern.n, kept);
  }
}

void DropLeastOfColumns(std::span<const float> scores, Pattern pattern,
                        std::vector<uint8_t>& kept) {
  for (int j = 0; j < pattern.m; ++j) {
    std::vector<int> column;
    for (int i = 0; i < pattern.m; ++i) column.push_back(i * pattern.m + j);
    DropLeast(scores, column, pattern.n, kept);
  }
}

}  // namespace

std::vector<uint8_t> GreedyMask(std::span<const float> scores, Pattern pattern) {
  const auto [n, m] = pattern;
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  SortByScore(scores, order);
  std::vector<uint8_t> kept(scores.size(), 0);
  std::vector<int> row_sums(m, 0), column_sums(m, 0);
  for (const int e : order) {
    if (row_sums[e / m] == n || column_sums[e % m] == n) continue;
    kept[e] = 1;
    ++row_sums[e / m];
    ++column_sums[e % m];
  }
  return kept;
}

std::vector<uint8_t> RowMask(std::span<const float> scores, Pattern pattern) {
  std::vector<uint8_t> kept(scores.size(), 1);
  DropLeastOfRows(scores, pattern, kept);
  return kept;
}

std::vector<uint8_t> ColumnMask(std::span<const float> scores, Pattern pattern) {
  std::vector<uint8_t> kept(scores.size(), 1);
  DropLeastOfColumns(scores, pattern, kept);
  return kept;
}

std::vector<uint8_t> RowThenColumnMask(std::span<const float> scores, Pattern pattern) {
  std::vector<uint8_t> kept(scores.size(), 1);
  DropLeastOfRows(scores, pattern, kept);
  DropLeastOfColumns(scores, pattern, kept);
  return kept;
}

std::vector<uint8_t> BestRandomMask(std::span<const float> scores, Pattern pattern,
                                    const MaxRandomOptions& options) {
  const int m = pattern.m;
  const int shift = QuantisationShift(*std::max_element(scores.begin(), scores.end()));
  const std::shared_ptr<const RandomMasks> masks = SharedRandomMasks(pattern, options);
  std::vector<uint8_t> best;
  int64_t greatest = -1;
  for (int mask = 0; mask < options.samples; ++mask) {
    std::vector<uint8_t> kept(scores.size());
    int64_t sum = 0;
    for (int e = 0; e < m * m; ++e) {
      kept[e] = masks->Keeps(mask, e / m, e % m);
      if (kept[e]) sum += Quantise(scores[e], shift);
    }
    if (sum <= greatest) continue;
    greatest = sum;
    best = kept;
  }
  return best;
}

}  // namespace tsenor
