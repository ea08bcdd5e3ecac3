#include "solver/reference/tsenor.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <tuple>

namespace tsenor {
namespace {

// `count` entries of a matrix, `stride` apart: a row or a column.
struct Line {
  double* first;
  size_t stride;
  int count;

  double& operator[](int k) const { return first[k * stride]; }
};

// Scales a line of exp(log_s) so that it sums to n.
void ProjectOntoSum(const Line& log_s, double log_n) {
  double greatest = log_s[0];
  for (int k = 1; k < log_s.count; ++k) greatest = std::max(greatest, log_s[k]);
  double sum = 0;
  for (int k = 0; k < log_s.count; ++k) sum += std::exp(log_s[k] - greatest);
  const double log_scale = log_n - (greatest + std::log(sum));
  for (int k = 0; k < log_s.count; ++k) log_s[k] += log_scale;
}

// Dykstra's algorithm in the log domain, where nothing overflows; returns log S. One iteration:
//
//   S <- diag(n / S 1) S           rows
//   S <- S diag(n / S^T 1)         columns
//   S' <- min(S . Q, 1)            the box; Q <- Q . (S / S') = max(S . Q, 1), S <- S'
std::vector<double> Dykstra(std::span<const float> scores, Pattern pattern,
                            const TsenorOptions& options) {
  const int m = pattern.m;
  const double greatest = *std::max_element(scores.begin(), scores.end());
  const double tau = greatest > 0 ? options.tau / greatest : 0.0;
  const double log_n = std::log(pattern.n);
  std::vector<double> log_s(scores.size());
  std::vector<double> log_q(scores.size(), 0.0);
  for (size_t e = 0; e < scores.size(); ++e) log_s[e] = tau * scores[e];
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    for (int i = 0; i < m; ++i) {
      ProjectOntoSum({log_s.data() + static_cast<size_t>(i) * m, 1, m}, log_n);
    }
    for (int j = 0; j < m; ++j) {
      ProjectOntoSum({log_s.data() + j, static_cast<size_t>(m), m}, log_n);
    }
    for (size_t e = 0; e < log_s.size(); ++e) {
      const double log_sq = log_s[e] + log_q[e];
      log_s[e] = std::min(log_sq, 0.0);
      log_q[e] = std::max(log_sq, 0.0);
    }
  }
  return log_s;
}

// A mask under construction: no line sums to more than n.
//
// Not thread-safe: belongs to one call.
class Rounding {
 public:
  Rounding(std::span<const float> scores, Pattern pattern)
      : scores_(scores),
        m_(pattern.m),
        n_(pattern.n),
        kept_(scores.size()),
        row_sums_(m_),
        column_sums_(m_) {}

  // Keeps what fits, in the order documented at TsenorMask().
  void FillGreedily(const std::vector<double>& log_s) {
    std::vector<int> order(log_s.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int x, int y) {
      return std::make_tuple(-log_s[x], -scores_[x], x) <
             std::make_tuple(-log_s[y], -scores_[y], y);
    });
    for (const int e : order) {
      if (row_sums_[e / m_] < n_ && column_sums_[e % m_] < n_) Set(e / m_, e % m_, true);
    }
  }

  // Fills one unsaturated row i and column j: keeps (i, j') and (i', j), drops (i', j'), with the
  // greatest gain w_ij' + w_i'j - w_i'j'. (i, j) itself is kept already, or else FillGreedily()
  // would have kept it. Returns whether there was such a row and column, and a swap for them.
  bool Swap() {
    const int i = FirstWithRoom(row_sums_);
    const int j = FirstWithRoom(column_sums_);
    if (i == m_ || j == m_) return false;
    double best_gain = -std::numeric_limits<double>::infinity();
    int best = -1;
    for (int e = 0; e < m_ * m_; ++e) {
      const int other_i = e / m_;
      const int other_j = e % m_;
      if (!kept_[e] || kept_[Entry(i, other_j)] || kept_[Entry(other_i, j)]) continue;
      const double gain =
          static_cast<double>(scores_[Entry(i, other_j)]) + scores_[Entry(other_i, j)] - scores_[e];
      if (gain > best_gain) {
        best_gain = gain;
        best = e;
      }
    }
    if (best < 0) return false;
    Set(i, best % m_, true);
    Set(best / m_, j, true);
    Set(best / m_, best % m_, false);
    return true;
  }

  std::vector<uint8_t> TakeMask() { return std::move(kept_); }

 private:
  size_t Entry(int row, int column) const { return static_cast<size_t>(row) * m_ + column; }

  void Set(int row, int column, bool keep) {
    kept_[Entry(row, column)] = keep;
    row_sums_[row] += keep ? 1 : -1;
    column_sums_[column] += keep ? 1 : -1;
  }

  int FirstWithRoom(const std::vector<int>& sums) const {
    return static_cast<int>(
        std::find_if(sums.begin(), sums.end(), [this](int sum) { return sum < n_; }) -
        sums.begin());
  }

  const std::span<const float> scores_;
  const int m_;
  const int n_;
  std::vector<uint8_t> kept_;
  std::vector<int> row_sums_;
  std::vector<int> column_sums_;
};

}  // namespace

std::vector<uint8_t> TsenorMask(std::span<const float> scores, Pattern pattern,
                                const TsenorOptions& options) {
  Rounding rounding(scores, pattern);
  rounding.FillGreedily(Dykstra(scores, pattern, options));
  for (int swap = 0; swap < options.swaps && rounding.Swap(); ++swap) {
  }
  return rounding.TakeMask();
}

}  // namespace tsenor
