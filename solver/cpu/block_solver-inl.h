// Solves blocks one after another in one thread's working memory.
//
// Compiled once for every instruction set (cpu/solve_rows.cc), hence the guard that can be flipped.
#if defined(SOLVER_CPU_BLOCK_SOLVER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SOLVER_CPU_BLOCK_SOLVER_INL_H_
#undef SOLVER_CPU_BLOCK_SOLVER_INL_H_
#else
#define SOLVER_CPU_BLOCK_SOLVER_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <memory>

#include "solver/cpu/block.h"
#include "solver/cpu/exact_finish-inl.h"
#include "solver/cpu/quantile.h"
#include "solver/cpu/sweeps-inl.h"
#include "solver/cpu/tsenor.h"
#include "solver/limits.h"
#include "solver/mask_bits.h"
#include "solver/problem.h"
#include "solver/quantise.h"
#include "solver/result.h"
#include "solver/scores.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

constexpr int kRefinementBits = 12;    // more bits per refinement
constexpr float kTieLattice = 8;       // snapped potentials lie this many 1 / tau apart
constexpr float kOutlierMean = 8;      // a line's mean counts up to this many times the block's
constexpr float kStartRange = 0x1p2f;  // greatest normalised potential that the finish starts from
constexpr double kResidualRange = 0x1p26;  // entries whose residual is further away cannot matter

// Nearest integer, ties to even, of 0 <= x <= 2^24: vectorises on every instruction set.
inline int32_t RoundToEven(float x) {
  const int32_t whole = static_cast<int32_t>(x);
  const float rest = x - static_cast<float>(whole);
  return whole + (rest > 0.5f || (rest == 0.5f && whole % 2 == 1) ? 1 : 0);
}

// x * 2^exponent in two exact factors: the scale itself may lie outside float32.
inline void ScaleByPowerOfTwo(float* x, int count, int exponent) {
  const float first = std::ldexp(1.0f, exponent / 2);
  const float second = std::ldexp(1.0f, exponent - exponent / 2);
  for (int k = 0; k < count; ++k) x[k] = x[k] * first * second;
}

// A block of m x m is worked on in the least kWidth of 4, 8, 16, 32, 64, 128 that holds it.
//
// Holds everything that a block needs while it is solved, kept between blocks, so that none
// allocates. Large (kWidth = 128: 900 KB): lives on the heap.
//
// Not thread-safe: one per thread.
template <int kWidth>
class BlockSolver {
 public:
  // `problem` must outlive the solver. REQUIRES: ValidateProblem() accepts it, pattern.m <= kWidth.
  explicit BlockSolver(const Problem& problem);

  // Solves the block whose first entry is (row, column) of `tile`, and sets the bits of its kept
  // entries in the tile's mask, whose rows the caller has cleared. `potentials` (may be null):
  // where its 2 m potentials go. False: an internal error, no optimum was found.
  bool Solve(const Tile& tile, int64_t row, int64_t column, double* potentials, SolveStats& stats);

 private:
  // Each returns once kept_ and the potentials hold an answer; certificate_ then matches them.
  void SolveTrivially();
  bool SolveOptimally(SolveStats& stats);
  bool Refine(int round, SolveStats& stats);

  void Load(const Tile& tile, int64_t row, int64_t column);
  void MeasureLines();
  void Quantise();
  void QuantiseResiduals(double scale);
  bool FinishInt32(int32_t snap_unit, double unit, SolveStats& stats);
  template <typename Int>
  bool FinishAs(FinishProblem<kWidth, Int>& finish, Int snap_unit, double unit, SolveStats& stats);
  void Certify();
  void Store(const Tile& tile, int64_t row, int64_t column, double* potentials, SolveStats& stats);

  // Sums over the block in units of the normalised scores.
  struct Certificate {
    double value = 0;
    double bound = 0;
    double score_sum = 0;
    double relative_gap() const { return bound > value ? (bound - value) / bound : 0; }
  };

  const Problem& problem_;
  const int n_;
  const int m_;
  const float quantile_factor_;
  bool all_zero_ = false;

  Block<kWidth> block_;
  FinishProblem<kWidth, int32_t> finish_;
  std::unique_ptr<FinishProblem<kWidth, int64_t>> wide_finish_;  // made when first needed: rarely
  alignas(64) uint8_t kept_[kWidth * kWidth] = {};               // 1: in the mask
  alignas(64) double row_potential_[kWidth] = {};                // of the normalised scores
  alignas(64) double column_potential_[kWidth] = {};
  Certificate certificate_;
};

template <int kWidth>
BlockSolver<kWidth>::BlockSolver(const Problem& problem)
    : problem_(problem),
      n_(problem.pattern.n),
      m_(problem.pattern.m),
      quantile_factor_(n_ > 0 && n_ < m_ ? QuantileFactor(n_, m_) : 0.0f),
      block_(),
      finish_() {
  block_.m = finish_.m = m_;
  block_.n = finish_.n = n_;
}

template <int kWidth>
bool BlockSolver<kWidth>::Solve(const Tile& tile, int64_t row, int64_t column, double* potentials,
                                SolveStats& stats) {
  stats.blocks = 1;
  Load(tile, row, column);
  if (all_zero_ || n_ == 0 || n_ == m_) {
    SolveTrivially();
  } else {
    MeasureLines();
    if (!SolveOptimally(stats)) return false;
    if (problem_.options.method == Method::kTsenor) {
      // The potentials of the optimum prove how far the published algorithm stays below it.
      stats.sweeps = problem_.options.tsenor.iterations;
      stats.augmentations = 0;
      stats.blocks_short =
          !SolveTsenor<kWidth>(block_.scores, n_, m_, problem_.options.tsenor, kept_);
      Certify();
    }
  }
  Store(tile, row, column, potentials, stats);
  return true;
}

// Scores, normalised, in both orders. Scores that a caller should have refused become finite ones.
template <int kWidth>
void BlockSolver<kWidth>::Load(const Tile& tile, int64_t row, int64_t column) {
  float greatest_in_lane[kWidth] = {};
  for (int i = 0; i < m_; ++i) {
    float* scores = block_.scores + i * kWidth;
    LoadScores(problem_, tile, row + i, column, m_, scores);
    for (int lane = 0; lane < kWidth; ++lane) {
      scores[lane] = scores[lane] > 0 ? std::min(scores[lane], FLT_MAX) : 0.0f;
      greatest_in_lane[lane] = std::max(greatest_in_lane[lane], scores[lane]);
    }
  }
  const float greatest = *std::max_element(greatest_in_lane, greatest_in_lane + kWidth);
  all_zero_ = greatest == 0;
  block_.exponent = kQuantisationBits - QuantisationShift(greatest);
  for (int i = 0; i < m_; ++i) {
    float* scores = block_.scores + i * kWidth;
    ScaleByPowerOfTwo(scores, kWidth, -block_.exponent);
    for (int j = 0; j < m_; ++j) block_.scores_t[j * kWidth + i] = scores[j];
  }
}

// Start of the sweeps: every line's mean without its maximum, and how far they spread.
template <int kWidth>
void BlockSolver<kWidth>::MeasureLines() {
  const auto trimmed_means = [this](const float* scores, float* mean) {
    float sum[kWidth] = {}, greatest[kWidth] = {};
    for (int k = 0; k < m_; ++k) {
      for (int lane = 0; lane < kWidth; ++lane) {
        sum[lane] += scores[k * kWidth + lane];
        greatest[lane] = std::max(greatest[lane], scores[k * kWidth + lane]);
      }
    }
    for (int lane = 0; lane < kWidth; ++lane) {
      mean[lane] = (sum[lane] - greatest[lane]) / static_cast<float>(m_ - 1);
    }
  };
  trimmed_means(block_.scores_t, block_.row_potential);
  trimmed_means(block_.scores, block_.column_potential);
  float mean = 0;
  for (int i = 0; i < m_; ++i) mean += block_.row_potential[i];
  mean /= static_cast<float>(m_);
  block_.mean = std::max(mean, 1e-9f);  // the greatest score is at least 0.5

  const auto spread = [this](float* means) {
    float widest = 0;
    for (int k = 0; k < m_; ++k) {
      means[k] = std::min(means[k], kOutlierMean * block_.mean);
      widest = std::max(widest, std::abs(means[k] - block_.mean));
    }
    return widest / block_.mean;
  };
  block_.row_spread = spread(block_.row_potential);
  block_.column_spread = spread(block_.column_potential);
}

// No scores, or no choice: the first n of each line, cyclically, and potentials that prove it.
template <int kWidth>
void BlockSolver<kWidth>::SolveTrivially() {
  for (int i = 0; i < m_; ++i) {
    for (int j = 0; j < m_; ++j) kept_[i * kWidth + j] = (j - i + m_) % m_ < n_;
    row_potential_[i] = n_ == 0 ? 1.0 : 0.0;  // with n = 0, above every normalised score
    column_potential_[i] = 0;
  }
  Certify();
}

template <int kWidth>
bool BlockSolver<kWidth>::SolveOptimally(SolveStats& stats) {
  const SweepResult sweeps = Sweep(block_, quantile_factor_);
  stats.sweeps = sweeps.sweeps;
  Quantise();
  std::fill_n(row_potential_, kWidth, 0.0);
  std::fill_n(column_potential_, kWidth, 0.0);
  constexpr float kQuanta = 1 << kQuantisationBits;
  const auto snap_unit = static_cast<int32_t>(std::min(kTieLattice / sweeps.tau, 1.0f) * kQuanta);
  if (!FinishInt32(std::max(snap_unit, 1), 1.0 / kQuanta, stats)) return false;
  Certify();
  for (int round = 1; round <= kMaxRefinements; ++round) {
    if (certificate_.relative_gap() <= problem_.options.optimal.gap_tolerance) break;
    if (!Refine(round, stats)) return false;
  }
  return true;
}

// The rule of solver/quantise.h, on normalised scores.
template <int kWidth>
void BlockSolver<kWidth>::Quantise() {
  constexpr float kQuanta = 1 << kQuantisationBits;
  for (int i = 0; i < m_; ++i) {
    for (int lane = 0; lane < kWidth; ++lane) {
      const int k = i * kWidth + lane;
      finish_.weight[k] = RoundToEven(block_.scores[k] * kQuanta);
      finish_.weight_t[k] = RoundToEven(block_.scores_t[k] * kQuanta);
    }
  }
  const auto quantise = [](float potential) {
    return static_cast<int32_t>(std::clamp(potential, -kStartRange, kStartRange) * kQuanta);
  };
  for (int k = 0; k < m_; ++k) {
    finish_.row_potential[k] = quantise(block_.row_potential[k]);
    finish_.column_potential[k] = quantise(block_.column_potential[k]);
  }
}

// Solves what is left of the scores after the potentials, 2^-12 times finer in each round: the
// optimum moves by rounding errors only, and the potentials found add up to the proof of a smaller
// gap.
template <int kWidth>
bool BlockSolver<kWidth>::Refine(int round, SolveStats& stats) {
  const double scale = std::ldexp(1.0, kQuantisationBits + kRefinementBits * round);
  QuantiseResiduals(scale);
  if (!FinishInt32(0, 1.0 / scale, stats)) return false;
  Certify();
  return true;
}

template <int kWidth>
void BlockSolver<kWidth>::QuantiseResiduals(double scale) {
  for (int i = 0; i < m_; ++i) {
    for (int j = 0; j < m_; ++j) {
      const double residual =
          block_.scores[i * kWidth + j] - row_potential_[i] - column_potential_[j];
      const double quantised = std::clamp(residual * scale, -kResidualRange, kResidualRange);
      const auto weight = static_cast<int32_t>(std::nearbyint(quantised));
      finish_.weight[i * kWidth + j] = finish_.weight_t[j * kWidth + i] = weight;
    }
  }
  std::fill_n(finish_.row_potential, kWidth, 0);
  std::fill_n(finish_.column_potential, kWidth, 0);
}

// Exact finish in 32 bits; in 64 if a potential left their range.
template <int kWidth>
bool BlockSolver<kWidth>::FinishInt32(int32_t snap_unit, double unit, SolveStats& stats) {
  if (FinishAs(finish_, snap_unit, unit, stats)) return true;
  if (!wide_finish_) wide_finish_ = std::make_unique<FinishProblem<kWidth, int64_t>>();
  FinishProblem<kWidth, int64_t>& wide = *wide_finish_;
  wide.m = m_;
  wide.n = n_;
  std::copy_n(finish_.weight, kWidth * kWidth, wide.weight);
  std::copy_n(finish_.weight_t, kWidth * kWidth, wide.weight_t);
  std::copy_n(finish_.row_potential, kWidth, wide.row_potential);
  std::copy_n(finish_.column_potential, kWidth, wide.column_potential);
  return FinishAs(wide, int64_t{0}, unit, stats);
}

// Threshold and finish; then takes over the mask and adds the potentials, in quanta of `unit`.
template <int kWidth>
template <typename Int>
bool BlockSolver<kWidth>::FinishAs(FinishProblem<kWidth, Int>& finish, Int snap_unit, double unit,
                                   SolveStats& stats) {
  Threshold(finish, snap_unit);
  const FinishResult result = Finish(finish);
  stats.augmentations += result.augmentations;
  if (!result.optimal) return false;
  for (int k = 0; k < kWidth * kWidth; ++k) kept_[k] = finish.selected[k] != 0;
  for (int k = 0; k < m_; ++k) {
    row_potential_[k] += static_cast<double>(finish.row_potential[k]) * unit;
    column_potential_[k] += static_cast<double>(finish.column_potential[k]) * unit;
  }
  return true;
}

// Value of kept_ and the bound of the potentials (solver/certificate.h), in float64.
template <int kWidth>
void BlockSolver<kWidth>::Certify() {
  double value[kWidth] = {}, beyond[kWidth] = {}, score_sum[kWidth] = {};
  for (int i = 0; i < m_; ++i) {
    const float* scores = block_.scores + i * kWidth;
    const uint8_t* kept = kept_ + i * kWidth;
    for (int lane = 0; lane < kWidth; ++lane) {
      const double score = scores[lane];
      value[lane] += kept[lane] ? score : 0.0;
      score_sum[lane] += score;
      beyond[lane] += std::max(score - row_potential_[i] - column_potential_[lane], 0.0);
    }
  }
  certificate_ = {};
  for (int j = 0; j < m_; ++j) {
    certificate_.value += value[j];
    certificate_.score_sum += score_sum[j];
    certificate_.bound += beyond[j] + n_ * (row_potential_[j] + column_potential_[j]);
  }
}

// Mask bits, potentials and stats in the caller's units.
template <int kWidth>
void BlockSolver<kWidth>::Store(const Tile& tile, int64_t row, int64_t column, double* potentials,
                                SolveStats& stats) {
  const int rows = static_cast<int>(std::min<int64_t>(m_, tile.rows - row));
  const int columns = static_cast<int>(std::min<int64_t>(m_, tile.columns - column));
  for (int i = 0; i < rows; ++i) {
    const uint8_t* kept = kept_ + i * kWidth;
    SetMaskBits(tile.mask + (row + i) * tile.mask_row_stride, column, kept, columns);
    for (int j = 0; j < columns; ++j) stats.kept += kept[j];
  }
  stats.value = std::ldexp(certificate_.value, block_.exponent);
  stats.bound = std::ldexp(certificate_.bound, block_.exponent);
  stats.score_sum = std::ldexp(certificate_.score_sum, block_.exponent);
  stats.blocks_proven = stats.blocks_short == 0 && certificate_.relative_gap() <= kProvenGap;
  if (potentials == nullptr) return;
  for (int k = 0; k < m_; ++k) {
    potentials[k] = std::ldexp(row_potential_[k], block_.exponent);
    potentials[m_ + k] = std::ldexp(column_potential_[k], block_.exponent);
  }
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_BLOCK_SOLVER_INL_H_
