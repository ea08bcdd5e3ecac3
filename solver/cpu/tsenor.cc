#include "solver/cpu/tsenor.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace tsenor::cpu {
namespace {

// Dykstra's algorithm; leaves S = min(u exp(tau w) v, 1) in `plan`.
template <int kWidth>
void Dykstra(const float* scores, int n, int m, const TsenorOptions& options, double* plan) {
  float greatest = 0;
  for (int i = 0; i < m; ++i) {
    greatest = std::max(greatest, *std::max_element(scores + i * kWidth, scores + i * kWidth + m));
  }
  // exp(tau (w / max - 1/2)): the first projection removes the common factor, and without it the
  // powers for the greatest tau overflow.
  std::vector<double> kernel(kWidth * kWidth);
  const double tau = greatest > 0 ? options.tau / greatest : 0.0;
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < m; ++j) {
      kernel[i * kWidth + j] = std::exp(tau * scores[i * kWidth + j] - options.tau / 2);
    }
  }
  double u[kWidth], v[kWidth];
  std::fill_n(u, kWidth, 1.0);
  std::fill_n(v, kWidth, 1.0);
  // The plan before the first cap: S = exp(tau w), Q = 1.
  std::copy(kernel.begin(), kernel.end(), plan);
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    double column_sum[kWidth] = {};
    for (int i = 0; i < m; ++i) {
      double row_sum = 0;
      for (int j = 0; j < m; ++j) row_sum += plan[i * kWidth + j];
      const double scale = n / row_sum;
      u[i] *= scale;
      for (int j = 0; j < kWidth; ++j) column_sum[j] += scale * plan[i * kWidth + j];
    }
    for (int j = 0; j < m; ++j) v[j] *= n / column_sum[j];
    for (int i = 0; i < m; ++i) {
      for (int j = 0; j < kWidth; ++j) {
        // In this order a NaN becomes 1: the entries can always be sorted.
        plan[i * kWidth + j] = std::min(1.0, u[i] * kernel[i * kWidth + j] * v[j]);
      }
    }
  }
}

// Rounding of one plan: a mask under construction in which no line keeps more than n entries.
template <int kWidth>
class Rounding {
 public:
  Rounding(const float* scores, int n, int m, uint8_t* kept)
      : scores_(scores), n_(n), m_(m), kept_(kept) {
    std::fill_n(kept_, kWidth * kWidth, uint8_t{0});
    std::fill_n(row_room_, kWidth, n);
    std::fill_n(column_room_, kWidth, n);
  }

  void FillByPlan(const double* plan) {
    std::vector<int> order;
    order.reserve(m_ * m_);
    for (int i = 0; i < m_; ++i) {
      for (int j = 0; j < m_; ++j) order.push_back(i * kWidth + j);
    }
    std::sort(order.begin(), order.end(), [&](int x, int y) {
      if (plan[x] != plan[y]) return plan[x] > plan[y];
      if (scores_[x] != scores_[y]) return scores_[x] > scores_[y];
      return x < y;
    });
    for (const int entry : order) {
      const int i = entry / kWidth, j = entry % kWidth;
      if (row_room_[i] > 0 && column_room_[j] > 0) Keep(i, j);
    }
  }

  // Serves the first row i and column j with room by the best swap: keeps (i, j') and (i', j),
  // drops (i', j'). False if there is no such line, or no swap for it.
  bool Swap() {
    const int i = FirstWithRoom(row_room_), j = FirstWithRoom(column_room_);
    if (i == m_ || j == m_) return false;
    double best_gain = -std::numeric_limits<double>::infinity();
    int best_row = -1, best_column = -1;
    for (int row = 0; row < m_; ++row) {
      if (kept_[row * kWidth + j]) continue;
      for (int column = 0; column < m_; ++column) {
        if (!kept_[row * kWidth + column] || kept_[i * kWidth + column]) continue;
        const double gain = static_cast<double>(scores_[i * kWidth + column]) +
                            scores_[row * kWidth + j] - scores_[row * kWidth + column];
        if (gain <= best_gain) continue;
        best_gain = gain;
        best_row = row;
        best_column = column;
      }
    }
    if (best_row < 0) return false;
    Drop(best_row, best_column);
    Keep(i, best_column);
    Keep(best_row, j);
    return true;
  }

  bool Complete() const { return FirstWithRoom(row_room_) == m_; }

 private:
  void Keep(int i, int j) {
    kept_[i * kWidth + j] = 1;
    --row_room_[i];
    --column_room_[j];
  }

  void Drop(int i, int j) {
    kept_[i * kWidth + j] = 0;
    ++row_room_[i];
    ++column_room_[j];
  }

  int FirstWithRoom(const int* room) const {
    return static_cast<int>(std::find_if(room, room + m_, [](int r) { return r > 0; }) - room);
  }

  const float* const scores_;
  const int n_, m_;
  uint8_t* const kept_;
  int row_room_[kWidth], column_room_[kWidth];  // entries that the line may still keep
};

}  // namespace

template <int kWidth>
bool SolveTsenor(const float* scores, int n, int m, const TsenorOptions& options, uint8_t* kept) {
  std::vector<double> plan(kWidth * kWidth);
  Dykstra<kWidth>(scores, n, m, options, plan.data());
  Rounding<kWidth> rounding(scores, n, m, kept);
  rounding.FillByPlan(plan.data());
  for (int swap = 0; swap < options.swaps && rounding.Swap(); ++swap) {
  }
  return rounding.Complete();
}

template bool SolveTsenor<4>(const float*, int, int, const TsenorOptions&, uint8_t*);
template bool SolveTsenor<8>(const float*, int, int, const TsenorOptions&, uint8_t*);
template bool SolveTsenor<16>(const float*, int, int, const TsenorOptions&, uint8_t*);
template bool SolveTsenor<32>(const float*, int, int, const TsenorOptions&, uint8_t*);
template bool SolveTsenor<64>(const float*, int, int, const TsenorOptions&, uint8_t*);
template bool SolveTsenor<128>(const float*, int, int, const TsenorOptions&, uint8_t*);

}  // namespace tsenor::cpu
