#include "tests/support/dykstra_oracle.h"

#include <algorithm>
#include <cmath>

namespace tsenor {
namespace {

using Matrix = std::vector<std::vector<long double>>;

Matrix Project(std::span<const float> scores, Pattern pattern, const TsenorOptions& options) {
  const auto [n, m] = pattern;
  const long double greatest = *std::max_element(scores.begin(), scores.end());
  Matrix s(m, std::vector<long double>(m));
  Matrix q(m, std::vector<long double>(m, 1));
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < m; ++j) s[i][j] = std::exp(options.tau * scores[i * m + j] / greatest);
  }
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    for (int i = 0; i < m; ++i) {
      long double sum = 0;
      for (int j = 0; j < m; ++j) sum += s[i][j];
      for (int j = 0; j < m; ++j) s[i][j] *= n / sum;
    }
    for (int j = 0; j < m; ++j) {
      long double sum = 0;
      for (int i = 0; i < m; ++i) sum += s[i][j];
      for (int i = 0; i < m; ++i) s[i][j] *= n / sum;
    }
    for (int i = 0; i < m; ++i) {
      for (int j = 0; j < m; ++j) {
        const long double capped = std::min(s[i][j] * q[i][j], 1.0L);
        q[i][j] *= s[i][j] / capped;
        s[i][j] = capped;
      }
    }
  }
  return s;
}

struct Candidate {
  long double s;
  float score;
  int row;
  int column;
};

// By S descending, then score descending; a stable sort leaves the rest row-major.
std::vector<Candidate> Ordered(const Matrix& s, std::span<const float> scores, int m) {
  std::vector<Candidate> candidates;
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < m; ++j) candidates.push_back({s[i][j], scores[i * m + j], i, j});
  }
  std::stable_sort(candidates.begin(), candidates.end(), [](const auto& x, const auto& y) {
    return x.s != y.s ? x.s > y.s : x.score > y.score;
  });
  return candidates;
}

// One swap for the first row and column with room; false if there is none.
bool SwapOnce(std::vector<uint8_t>& kept, std::vector<int>& row_room, std::vector<int>& column_room,
              std::span<const float> scores, int m) {
  const auto row =
      std::find_if(row_room.begin(), row_room.end(), [](int room) { return room > 0; });
  const auto column =
      std::find_if(column_room.begin(), column_room.end(), [](int room) { return room > 0; });
  if (row == row_room.end() || column == column_room.end()) return false;
  const auto i = static_cast<int>(row - row_room.begin());
  const auto j = static_cast<int>(column - column_room.begin());
  int best_row = -1;
  int best_column = -1;
  double best = 0;
  for (int x = 0; x < m; ++x) {
    for (int y = 0; y < m; ++y) {
      if (!kept[x * m + y] || kept[i * m + y] || kept[x * m + j]) continue;
      const double gain = double{scores[i * m + y]} + scores[x * m + j] - scores[x * m + y];
      if (best_row < 0 || gain > best) {
        best = gain;
        best_row = x;
        best_column = y;
      }
    }
  }
  if (best_row < 0) return false;
  kept[i * m + best_column] = kept[best_row * m + j] = 1;
  kept[best_row * m + best_column] = 0;
  --*row;
  --*column;
  return true;
}

}  // namespace

std::vector<uint8_t> MaskByExplicitDykstra(std::span<const float> scores, Pattern pattern,
                                           const TsenorOptions& options) {
  const auto [n, m] = pattern;
  std::vector<uint8_t> kept(m * m, 0);
  std::vector<int> row_room(m, n);
  std::vector<int> column_room(m, n);
  for (const Candidate& c : Ordered(Project(scores, pattern, options), scores, m)) {
    if (row_room[c.row] == 0 || column_room[c.column] == 0) continue;
    kept[c.row * m + c.column] = 1;
    --row_room[c.row];
    --column_room[c.column];
  }
  for (int k = 0; k < options.swaps; ++k) {
    if (!SwapOnce(kept, row_room, column_room, scores, m)) break;
  }
  return kept;
}

}  // namespace tsenor
