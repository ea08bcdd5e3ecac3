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
#include "solver/cpu/heuristics.h"
#include "solver/cpu/lanes-inl.h"
#include "solver/cpu/line_search-inl.h"
#include "solver/cpu/load-inl.h"
#include "solver/cpu/quantile.h"
#include "solver/cpu/residuals-inl.h"
#include "solver/cpu/rounding-inl.h"
#include "solver/cpu/sweeps-inl.h"
#include "solver/cpu/ties-inl.h"
#include "solver/cpu/transpose-inl.h"
#include "solver/limits.h"
#include "solver/mask_bits.h"
#include "solver/problem.h"
#include "solver/quantise.h"
#include "solver/result.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

// Quanta of the first finish, per mean score (its power of two): on blocks without outliers they
// prove a gap of 1e-9, and leave residuals of up to a mean score inside kFinishRange.
constexpr int kResidualBits = 28;
// Of two potentials that move this far, entries that were clamped to kFinishRange may feel it.
constexpr int32_t kGreatestMove = kFinishRange / 2;
constexpr int kRefinementBits = 12;  // more bits per refinement
// Scores tie if more entries than this, plus one for every 64 of a line, are within reach.
constexpr float kTieEntries = 1.1f;
constexpr float kTieReach = 12;  // potentials are snapped to entries this many reaches away

// A block of m x m is worked on in the least kWidth of 4, 8, 16, 32, 64, 128 that holds it.
//
// Holds everything that a block needs while it is solved, kept between blocks, so that none
// allocates. Large (kWidth = 128: 270 KB): lives on the heap.
//
// Not thread-safe: one per thread.
template <int kWidth>
class BlockSolver {
 public:
  // What sweeps have found elsewhere, of normalised scores (cpu/lane_solver-inl.h).
  struct Start {
    SweepResult sweeps;
    float row_potential[kWidth];
    float column_potential[kWidth];
    const int32_t* plan = nullptr;  // with Method::kTsenor (cpu/entropic_plans-inl.h)
  };

  // `problem` must outlive the solver. REQUIRES: ValidateProblem() accepts it, pattern.m <= kWidth.
  explicit BlockSolver(const Problem& problem);

  // Solves the block whose first entry is (row, column) of `tile`, and sets the bits of its kept
  // entries in the tile's mask, whose rows the caller has cleared. `potentials` (may be null):
  // where its 2 m potentials go. `start` (may be null, but for kTsenor, whose plan it brings):
  // takes the place of the sweeps. False: an internal error, no optimum was found.
  bool Solve(const Tile& tile, int64_t row, int64_t column, double* potentials, SolveStats& stats,
             const Start* start = nullptr);

 private:
  // Each returns once kept_ and the potentials hold an answer; certificate_ then matches them.
  void SolveTrivially();
  bool SolveOptimally(SweepResult sweeps, SolveStats& stats);
  int Quantise(const SweepResult& sweeps, bool tied);
  bool IsTied(const SweepResult& sweeps) const;
  bool IsSolved() const;
  bool Refine(bool solved, double quanta, SolveStats& stats);
  // After the potentials of the optimum are there, if the method's masks are transposable.
  void SolveAsPublished(const int32_t* plan, SolveStats& stats);
  void SolveHeuristically(SolveStats& stats);
  void TakeMask(const uint8_t* kept);  // entry (i, j) at i * kWidth + j, 1 or 0; certifies it

  void Load(const Tile& tile, int64_t row, int64_t column);
  void MeasureLines();
  SweepResult Take(const Start& start);
  double CoarseQuanta() const;
  bool RunFinish(double unit, SolveStats& stats);
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
  float quanta_ = 0;  // of the first finish, per unit of the normalised scores

  Block<kWidth> block_;
  FinishProblem<kWidth> finish_;
  LineSet<kWidth> kept_[kWidth];                   // the mask: columns kept, by row
  alignas(64) double row_potential_[kWidth] = {};  // of the normalised scores
  alignas(64) double column_potential_[kWidth] = {};
  Certificate certificate_;
  Heuristics<kWidth> heuristics_;
  std::unique_ptr<Rounding<kWidth>> rounding_;  // with Method::kTsenor alone
};

template <int kWidth>
BlockSolver<kWidth>::BlockSolver(const Problem& problem)
    : problem_(problem),
      n_(problem.pattern.n),
      m_(problem.pattern.m),
      quantile_factor_(n_ > 0 && n_ < m_ ? QuantileFactor(n_, m_) : 0.0f),
      block_(),
      finish_(),
      heuristics_(problem) {
  block_.m = finish_.m = m_;
  block_.n = finish_.n = n_;
  const SolveOptions& options = problem_.options;
  if (options.method == Method::kTsenor) {
    rounding_ = std::make_unique<Rounding<kWidth>>(n_, m_, options.tsenor.swaps);
  }
}

template <int kWidth>
bool BlockSolver<kWidth>::Solve(const Tile& tile, int64_t row, int64_t column, double* potentials,
                                SolveStats& stats, const Start* start) {
  stats.blocks = 1;
  Load(tile, row, column);
  const Method method = problem_.options.method;
  const bool has_choice = n_ > 0 && n_ < m_;
  if (IsTransposable(method)) {
    if (all_zero_ || !has_choice) {
      SolveTrivially();
    } else {
      MeasureLines();
      const SweepResult sweeps = start && start->sweeps.sweeps > 0
                                     ? Take(*start)
                                     : Sweep(block_, quantile_factor_, ScheduleFor(block_));
      if (!SolveOptimally(sweeps, stats)) return false;
    }
  }
  if (!IsTransposable(method) || (has_choice && method > Method::kTsenor)) {
    SolveHeuristically(stats);
  } else if (has_choice && method == Method::kTsenor) {
    SolveAsPublished(start->plan, stats);
  }
  Store(tile, row, column, potentials, stats);
  return true;
}

// Scores, normalised, in both orders. Scores that a caller should have refused become finite ones.
template <int kWidth>
void BlockSolver<kWidth>::Load(const Tile& tile, int64_t row, int64_t column) {
  const Lanes<float, kWidth> d;
  using V = hn::Vec<decltype(d)>;
  constexpr int kLanes = hn::MaxLanes(d);
  LoadRows(problem_, tile, row, column, m_, m_, block_.scores, kWidth);
  V greatest_lanes = hn::Zero(d);
  for (int i = 0; i < m_; ++i) {
    float* scores = block_.scores + i * kWidth;
    for (int lane = 0; lane < kWidth; lane += kLanes) {
      V score = hn::Load(d, scores + lane);
      score = hn::IfThenElseZero(hn::Gt(score, hn::Zero(d)), hn::Min(score, hn::Set(d, FLT_MAX)));
      hn::Store(score, d, scores + lane);
      greatest_lanes = hn::Max(greatest_lanes, score);
    }
  }
  const float greatest = hn::GetLane(hn::MaxOfLanes(d, greatest_lanes));
  all_zero_ = greatest == 0;
  block_.exponent = kQuantisationBits - QuantisationShift(greatest);
  // 2^-exponent in two exact factors: the scale itself may lie outside float32.
  const V first = hn::Set(d, std::ldexp(1.0f, -block_.exponent / 2));
  const V second = hn::Set(d, std::ldexp(1.0f, -block_.exponent - -block_.exponent / 2));
  for (int i = 0; i < m_ * kWidth; i += kLanes) {
    float* scores = block_.scores + i;
    hn::Store(hn::Mul(hn::Mul(hn::Load(d, scores), first), second), d, scores);
  }
  TransposeTiles(block_.scores, kWidth, m_, m_, block_.scores_t, kWidth);
}

// Every line's mean without its maximum; lanes are the lines.
template <int kWidth>
void TrimmedMeans(const float* scores, int m, float* mean) {
  const Lanes<float, kWidth> d;
  using V = hn::Vec<decltype(d)>;
  const V others = hn::Set(d, static_cast<float>(m - 1));
  for (int lane = 0; lane < kWidth; lane += hn::MaxLanes(d)) {
    V sum = hn::Zero(d), greatest = hn::Zero(d);
    for (int k = 0; k < m; ++k) {
      const V score = hn::Load(d, scores + k * kWidth + lane);
      sum = hn::Add(sum, score);
      greatest = hn::Max(greatest, score);
    }
    hn::Store(hn::Div(hn::Sub(sum, greatest), others), d, mean + lane);
  }
}

// Limits lines' means to kOutlierMean times that of the block; returns how far they spread around
// it.
inline float LimitMeans(float* means, int m, float block_mean) {
  float widest = 0;
  for (int k = 0; k < m; ++k) {
    means[k] = std::min(means[k], kOutlierMean * block_mean);
    widest = std::max(widest, std::abs(means[k] - block_mean));
  }
  return widest / block_mean;
}

// Start of the sweeps.
template <int kWidth>
void BlockSolver<kWidth>::MeasureLines() {
  TrimmedMeans<kWidth>(block_.scores_t, m_, block_.row_mean);
  TrimmedMeans<kWidth>(block_.scores, m_, block_.column_mean);
  float mean = 0;
  for (int i = 0; i < m_; ++i) mean += block_.row_mean[i];
  mean /= static_cast<float>(m_);
  block_.mean = std::max(mean, kLeastMean);
  block_.row_spread = LimitMeans(block_.row_mean, m_, block_.mean);
  block_.column_spread = LimitMeans(block_.column_mean, m_, block_.mean);
}

// No scores, or no choice: the first n of each line, cyclically, and potentials that prove it.
template <int kWidth>
void BlockSolver<kWidth>::SolveTrivially() {
  for (int i = 0; i < m_; ++i) {
    kept_[i] = {};
    for (int k = 0; k < n_; ++k) kept_[i].insert((i + k) % m_);
    row_potential_[i] = n_ == 0 ? 1.0 : 0.0;  // with n = 0, above every normalised score
    column_potential_[i] = 0;
  }
  Certify();
}

// Another's sweeps.
template <int kWidth>
SweepResult BlockSolver<kWidth>::Take(const Start& start) {
  std::copy_n(start.row_potential, m_, block_.row_potential);
  std::copy_n(start.column_potential, m_, block_.column_potential);
  return start.sweeps;
}

template <int kWidth>
bool BlockSolver<kWidth>::SolveOptimally(SweepResult sweeps, SolveStats& stats) {
  stats.sweeps = sweeps.sweeps;
  bool tied = IsTied(sweeps);
  int missing = Quantise(sweeps, tied);
  if (missing > m_ && !tied && !ScaledBothWays(block_)) {
    // The wrong schedule after all: the softest one serves all blocks.
    sweeps = Sweep(block_, quantile_factor_, kScaledBothWays);
    stats.sweeps += sweeps.sweeps;
    tied = IsTied(sweeps);
    missing = Quantise(sweeps, tied);
  }
  if (missing > m_ || tied || ScaledBothWays(block_)) {
    SearchLines(finish_);
    TightFill(finish_).Run();
  }
  const bool in_range = RunFinish(1.0 / quanta_, stats);
  return (in_range && IsSolved()) || Refine(in_range, quanta_, stats);
}

// Sets up the finish from the potentials that sweeps have found, snapped if scores tie; returns the
// entries that rows miss.
template <int kWidth>
int BlockSolver<kWidth>::Quantise(const SweepResult& sweeps, bool tied) {
  if (tied) SnapPotentials(block_, kTieReach * sweeps.reach);
  std::copy_n(block_.row_potential, kWidth, row_potential_);
  std::copy_n(block_.column_potential, kWidth, column_potential_);
  quanta_ = std::ldexp(1.0f, kResidualBits - 1 - std::ilogb(block_.mean));
  return QuantiseResiduals(block_, quanta_, finish_);
}

template <int kWidth>
bool BlockSolver<kWidth>::IsTied(const SweepResult& sweeps) const {
  return sweeps.within > kTieEntries + static_cast<float>(m_) / 64 && ManyScoresTie(block_);
}

template <int kWidth>
bool BlockSolver<kWidth>::IsSolved() const {
  return IsTolerable(certificate_.value, certificate_.bound,
                     problem_.options.optimal.gap_tolerance);
}

// Solves what is left of the scores after the potentials so far, again and again in finer quanta,
// until the gap is tolerable: the potentials found add up. If the first finish went well
// (`solved`), its own quanta are fine enough to start with; after one that left the range, they are
// so coarse that nothing can. False: there is no answer at all.
template <int kWidth>
bool BlockSolver<kWidth>::Refine(bool solved, double quanta, SolveStats& stats) {
  bool in_range = solved;
  int failures = 0;
  for (int round = 0; round < kMaxRefinements; ++round) {
    if (!in_range) quanta = std::ldexp(CoarseQuanta(), -3 * failures++);
    QuantiseResidualsWidely(block_, row_potential_, column_potential_, quanta, finish_);
    SearchLines(finish_);
    TightFill(finish_).Run();
    in_range = RunFinish(1.0 / quanta, stats);
    if (!in_range) continue;
    solved = true;
    if (IsSolved()) break;
    quanta = std::ldexp(quanta, kRefinementBits);
  }
  return solved;
}

// The greatest power of two with which 2 m residuals in a row, the longest path, stay inside the
// range of a finish.
template <int kWidth>
double BlockSolver<kWidth>::CoarseQuanta() const {
  double greatest = 0;
  for (int i = 0; i < m_; ++i) {
    for (int j = 0; j < m_; ++j) {
      const double residual =
          block_.scores[i * kWidth + j] - row_potential_[i] - column_potential_[j];
      greatest = std::max(greatest, std::abs(residual));
    }
  }
  return std::ldexp(1.0, std::ilogb(kGreatestMove / (2 * m_ * greatest)));
}

// Finishes; if all went well inside the range, takes over the mask, adds the potentials, in quanta
// of `unit`, and certifies.
template <int kWidth>
bool BlockSolver<kWidth>::RunFinish(double unit, SolveStats& stats) {
  const FinishResult result = Finish(finish_);
  stats.augmentations += result.augmentations;
  if (!result.optimal || result.greatest_potential >= kGreatestMove) return false;
  for (int k = 0; k < m_; ++k) {
    kept_[k] = finish_.kept_in_row[k];
    row_potential_[k] += finish_.row_potential[k] * unit;
    column_potential_[k] += finish_.column_potential[k] * unit;
  }
  Certify();
  return true;
}

// The potentials of the optimum prove how far the published algorithm stays below it.
template <int kWidth>
void BlockSolver<kWidth>::SolveAsPublished(const int32_t* plan, SolveStats& stats) {
  stats.blocks_short = !rounding_->Round(plan, block_, kept_);
  stats.sweeps = problem_.options.tsenor.iterations;
  stats.augmentations = 0;
  Certify();
}

// The same for the methods of cpu/heuristics.h; masks of rows or of columns alone bring their own
// potentials.
template <int kWidth>
void BlockSolver<kWidth>::SolveHeuristically(SolveStats& stats) {
  uint8_t kept[kWidth * kWidth];
  stats.blocks_short = !heuristics_.Solve(block_.scores, kept, row_potential_, column_potential_);
  stats.sweeps = 0;
  stats.augmentations = 0;
  TakeMask(kept);
}

template <int kWidth>
void BlockSolver<kWidth>::TakeMask(const uint8_t* kept) {
  for (int i = 0; i < m_; ++i) {
    kept_[i] = {};
    for (int j = 0; j < m_; ++j) {
      if (kept[i * kWidth + j]) kept_[i].insert(j);
    }
  }
  Certify();
}

// Value of kept_ and the bound of the potentials (solver/certificate.h), in float64: one sum a
// column, then over the columns, so that the order does not depend on the instruction set.
template <int kWidth>
void BlockSolver<kWidth>::Certify() {
  const Lanes<double, kWidth> d;
  const hn::Rebind<float, decltype(d)> as_float;
  using V = hn::Vec<decltype(d)>;
  alignas(64) double value[kWidth], beyond[kWidth], score_sum[kWidth];
  for (int lane = 0; lane < kWidth; lane += hn::MaxLanes(d)) {
    const V column_potential = hn::Load(d, column_potential_ + lane);
    V lane_value = hn::Zero(d), lane_beyond = hn::Zero(d), lane_sum = hn::Zero(d);
    for (int i = 0; i < m_; ++i) {
      const V score = hn::PromoteTo(d, hn::Load(as_float, block_.scores + i * kWidth + lane));
      const V residual = hn::Sub(hn::Sub(score, hn::Set(d, row_potential_[i])), column_potential);
      lane_sum = hn::Add(lane_sum, score);
      lane_beyond = hn::Add(lane_beyond, hn::Max(residual, hn::Zero(d)));
      lane_value = hn::Add(lane_value, hn::IfThenElseZero(kept_[i].LanesFrom(d, lane), score));
    }
    hn::Store(lane_value, d, value + lane);
    hn::Store(lane_beyond, d, beyond + lane);
    hn::Store(lane_sum, d, score_sum + lane);
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
    const LineSet<kWidth> kept = kept_[i] & LineSet<kWidth>::First(columns);
    SetMaskBits(tile.mask + (row + i) * tile.mask_row_stride, column, kept.words(), columns);
    stats.kept += kept.count();
  }
  const double unit = PowerOfTwo(block_.exponent);
  stats.value = certificate_.value * unit;
  stats.bound = certificate_.bound * unit;
  stats.score_sum = certificate_.score_sum * unit;
  stats.blocks_proven = stats.blocks_short == 0 && certificate_.relative_gap() <= kProvenGap;
  if (potentials == nullptr) return;
  for (int k = 0; k < m_; ++k) {
    potentials[k] = row_potential_[k] * unit;
    potentials[m_ + k] = column_potential_[k] * unit;
  }
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_BLOCK_SOLVER_INL_H_
