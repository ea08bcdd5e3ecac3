// Small blocks, side by side: one in every vector lane.
//
// Compiled once for every instruction set (cpu/solve_rows.cc), hence the guard that can be flipped.
#if defined(SOLVER_CPU_LANE_SOLVER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SOLVER_CPU_LANE_SOLVER_INL_H_
#undef SOLVER_CPU_LANE_SOLVER_INL_H_
#else
#define SOLVER_CPU_LANE_SOLVER_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "solver/cpu/block.h"
#include "solver/cpu/lanes-inl.h"
#include "solver/cpu/load-inl.h"
#include "solver/cpu/quantile.h"
#include "solver/cpu/sweeps-inl.h"
#include "solver/cpu/transpose-inl.h"
#include "solver/limits.h"
#include "solver/mask_bits.h"
#include "solver/problem.h"
#include "solver/result.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

// More sweeps than for large blocks: here they are cheap, and leave most blocks nothing to finish.
// Found by timed search on 4:8 and 8:16. Where lines hardly differ in scale, and keep more than a
// few entries each, a harder start and shorter steps leave less to finish.
constexpr Schedule kSmall = {Schedule::Reach::kRootOfScale, 8, 1.0f, 2.0f, 1.1f, 2.0f};
constexpr Schedule kSmallEven = {Schedule::Reach::kRootOfScale, 8, 1.2f, 1.9f, 1.25f, 1.0f};
static_assert(kSmall.reach == kSmallEven.reach && kSmall.sweeps == kSmallEven.sweeps,
              "both run side by side");

// As kEvenSpread; greater, because the means of few scores spread more by chance.
constexpr float kSmallEvenSpread = 1.0f;

// Sweeps a group of neighbouring blocks of up to kMaxM x kMaxM at once, one block in each lane, and
// solves those for which that is enough: whose thresholded mask keeps exactly n entries in every
// line. For the others it leaves the start of a finish.
//
// A lane's arithmetic is its block's alone, so the answer depends on neither the other lanes nor
// their number.
//
// Not thread-safe: one per thread.
class LaneSolver {
 public:
  static constexpr int kMaxM = 16;
  static constexpr int kLanes = hn::MaxLanes(hn::CappedTag<float, 16>());

  // `problem` must outlive the solver. REQUIRES: ValidateProblem() accepts it; Method::kOptimal,
  // 0 < n < m <= kMaxM.
  explicit LaneSolver(const Problem& problem)
      : problem_(problem),
        n_(problem.pattern.n),
        m_(problem.pattern.m),
        quantile_factor_(QuantileFactor(n_, m_)) {}

  // Solves what it can of `count` <= kLanes blocks whose first entries are (row, column + k m),
  // and sets the bits of their kept entries in the tile's mask, whose rows the caller has cleared.
  // Returns the solved ones, one bit each, and their stats. `potentials` (may be null): where those
  // of the first block go, 2 m for each.
  uint32_t Solve(const Tile& tile, int64_t row, int64_t column, int count, double* potentials,
                 SolveStats* stats);

  // Of block k of the last group, if it was not solved: its potentials, normalised, into row[i] and
  // column[j]. `sweeps` is 0 if there are none, for want of scores.
  SweepResult StartOf(int k, float* row, float* column) const;

 private:
  using D = hn::CappedTag<float, kLanes>;
  using V = hn::Vec<D>;
  using DI = hn::RebindToSigned<D>;

  // A vector for each line of the blocks.
  struct alignas(64) Lines {
    float at[kMaxM * kLanes];
    V operator[](int line) const { return hn::Load(D(), at + line * kLanes); }
    void Set(int line, V lanes) { hn::Store(lanes, D(), at + line * kLanes); }
  };

  // The constants of Schedule that may differ from lane to lane; the sharpness is that of the
  // sweep.
  struct Schedules {
    V sharpness, growth, relaxation, longest_step;
  };

  V Score(int i, int j) const { return hn::Load(D(), scores_ + (i * m_ + j) * kLanes); }

  void Load(const Tile& tile, int64_t row, int64_t column, int count);
  void Normalise();
  void MeasureLines();
  V TrimmedMean(int first, int step) const;
  Schedules ChooseSchedules() const;
  void Sweep();
  V ProjectLine(int first, int step, const Lines& other, const Schedules& schedules, V line_reach,
                V potential, V& within) const;
  uint32_t Threshold();
  void Certify();
  void Store(const Tile& tile, int64_t row, int64_t column, int count, uint32_t solved,
             double* potentials, SolveStats* stats) const;

  const Problem& problem_;
  const int n_;
  const int m_;
  const float quantile_factor_;

  // Normalised: entry (i, j) of the block in lane k at (i m + j) kLanes + k; and as it lies in the
  // tile.
  alignas(64) float scores_[(kMaxM * kMaxM + 3) * kLanes];
  alignas(64) float loaded_[kMaxM * kMaxM * kLanes + 4];
  Lines row_mean_, column_mean_, row_potential_, column_potential_;
  alignas(64) float greatest_[kLanes], mean_[kLanes], usable_[kLanes];
  alignas(64) float reach_[kLanes], within_[kLanes];  // of the last sweep: SweepResult
  alignas(64) int32_t exponent_[kLanes];
  alignas(64) int32_t kept_[kMaxM * kLanes];  // columns kept, by row
  alignas(64) double value_[kLanes], bound_[kLanes], score_sum_[kLanes];
};

inline uint32_t LaneSolver::Solve(const Tile& tile, int64_t row, int64_t column, int count,
                                  double* potentials, SolveStats* stats) {
  Load(tile, row, column, count);
  Normalise();
  MeasureLines();
  Sweep();
  uint32_t solved = Threshold() & ((1u << count) - 1);
  if (solved == 0) return 0;
  Certify();
  for (int k = 0; k < count; ++k) {
    if (!IsTolerable(value_[k], bound_[k], problem_.options.optimal.gap_tolerance)) {
      solved &= ~(1u << k);
    }
  }
  Store(tile, row, column, count, solved, potentials, stats);
  return solved;
}

// From rows of blocks to lanes of blocks: entry (i, k m + j) to (i m + j) kLanes + k.
inline void LaneSolver::Load(const Tile& tile, int64_t row, int64_t column, int count) {
  const int stride = kLanes * m_;
  LoadRows(problem_, tile, row, column, m_, count * m_, loaded_, stride);
  if (count < kLanes) {
    for (int i = 0; i < m_; ++i) {
      std::fill(loaded_ + i * stride + count * m_, loaded_ + (i + 1) * stride, 0.0f);
    }
  }
  for (int i = 0; i < m_; ++i) {
    TransposeTiles(loaded_ + i * stride, m_, kLanes, m_, scores_ + i * m_ * kLanes, kLanes);
  }
}

// Mean of the line of entries first, first + step, .. without its maximum.
inline LaneSolver::V LaneSolver::TrimmedMean(int first, int step) const {
  const D d;
  V sum = hn::Zero(d), greatest = hn::Zero(d);
  for (int k = 0; k < m_; ++k) {
    const V score = hn::Load(d, scores_ + (first + k * step) * kLanes);
    sum = hn::Add(sum, score);
    greatest = hn::Max(greatest, score);
  }
  return hn::Div(hn::Sub(sum, greatest), hn::Set(d, static_cast<float>(m_ - 1)));
}

// Scores times 2^-exponent, as in Block (cpu/block.h).
inline void LaneSolver::Normalise() {
  const D d;
  const DI di;
  V greatest = hn::Zero(d);
  for (int k = 0; k < m_ * m_; ++k) {
    greatest = hn::Max(greatest, hn::Load(d, scores_ + k * kLanes));
  }
  hn::Store(greatest, d, greatest_);
  // In two exact factors: the first brings subnormal and huge numbers into the middle.
  const auto is_small = hn::Lt(greatest, hn::Set(d, 0x1p-60f));
  const auto is_large = hn::Gt(greatest, hn::Set(d, 0x1p60f));
  const V first = hn::IfThenElse(is_small, hn::Set(d, 0x1p80f),
                                 hn::IfThenElse(is_large, hn::Set(d, 0x1p-80f), hn::Set(d, 1.0f)));
  // greatest * first = f 2^(biased - 126), f in [0.5, 1).
  const auto biased = hn::ShiftRight<23>(hn::BitCast(di, hn::Mul(greatest, first)));
  const V second = hn::BitCast(d, hn::ShiftLeft<23>(hn::Sub(hn::Set(di, 253), biased)));
  for (int k = 0; k < m_ * m_; ++k) {
    float* const at = scores_ + k * kLanes;
    hn::Store(hn::Mul(hn::Mul(hn::Load(d, at), first), second), d, at);
  }
  auto exponent = hn::Sub(biased, hn::Set(di, 126));
  exponent = hn::Sub(exponent, hn::IfThenElseZero(hn::RebindMask(di, is_small), hn::Set(di, 80)));
  exponent = hn::Add(exponent, hn::IfThenElseZero(hn::RebindMask(di, is_large), hn::Set(di, 80)));
  hn::Store(exponent, di, exponent_);
}

inline void LaneSolver::MeasureLines() {
  const D d;
  V mean = hn::Zero(d);
  for (int i = 0; i < m_; ++i) {
    row_mean_.Set(i, TrimmedMean(i * m_, 1));
    column_mean_.Set(i, TrimmedMean(i, m_));
    mean = hn::Add(mean, row_mean_[i]);
  }
  mean = hn::Mul(mean, hn::Set(d, 1.0f / static_cast<float>(m_)));
  hn::Store(hn::Max(mean, hn::Set(d, kLeastMean)), d, mean_);
  // Not the blocks without scores, nor those with scores that a caller should have refused.
  const auto finite = hn::Lt(hn::Load(d, greatest_), hn::Set(d, HUGE_VALF));
  const auto usable = hn::And(finite, hn::Gt(hn::Load(d, greatest_), hn::Zero(d)));
  const auto is_number = hn::Ge(mean, hn::Zero(d));  // and then so are all scores
  hn::Store(hn::IfThenElseZero(hn::And(usable, is_number), hn::Set(d, 1.0f)), d, usable_);
}

// For the first sweep.
inline LaneSolver::Schedules LaneSolver::ChooseSchedules() const {
  const D d;
  const V mean = hn::Load(d, mean_);
  V widest = hn::Zero(d);
  for (int k = 0; k < m_; ++k) {
    widest = hn::Max(widest, hn::Abs(hn::Sub(row_mean_[k], mean)));
    widest = hn::Max(widest, hn::Abs(hn::Sub(column_mean_[k], mean)));
  }
  const bool keeps_enough = n_ > 1 && 4 * n_ >= m_;
  const auto even =
      hn::Lt(widest, hn::Mul(mean, hn::Set(d, keeps_enough ? kSmallEvenSpread : 0.0f)));
  const auto choose = [&](float if_even, float otherwise) {
    return hn::IfThenElse(even, hn::Set(d, if_even), hn::Set(d, otherwise));
  };
  return {.sharpness = choose(0.5f / kSmallEven.tau, 0.5f / kSmall.tau),
          .growth = choose(kSmallEven.growth, kSmall.growth),
          .relaxation = choose(kSmallEven.relaxation, kSmall.relaxation),
          .longest_step = choose(kSmallEven.longest_step, kSmall.longest_step)};
}

// One Newton step of a line's potential: ProjectLines() of cpu/sweeps-inl.h. Adds to `within`.
inline LaneSolver::V LaneSolver::ProjectLine(int first, int step, const Lines& other,
                                             const Schedules& schedules, V line_reach, V potential,
                                             V& within) const {
  const D d;
  const V reach = hn::Mul(line_reach, schedules.sharpness);
  const V low = hn::Sub(potential, reach), high = hn::Add(potential, reach);
  const V one = hn::Set(d, 1.0f);
  V sum = hn::Zero(d), count = hn::Zero(d);
  for (int k = 0; k < m_; ++k) {
    const V rest = hn::Sub(hn::Load(d, scores_ + (first + k * step) * kLanes), other[k]);
    const V clamped = hn::Min(hn::Max(rest, low), high);
    sum = hn::Add(sum, clamped);
    count = hn::IfThenElse(hn::Eq(rest, clamped), hn::Add(count, one), count);
  }
  within = hn::Add(within, count);
  return hn::Add(potential, NewtonStep(d, sum, count, low, high, m_, n_, schedules.relaxation,
                                       schedules.longest_step));
}

inline void LaneSolver::Sweep() {
  const D d;
  const V mean = hn::Load(d, mean_), factor = hn::Set(d, quantile_factor_);
  const V least = hn::Mul(mean, hn::Set(d, kLeastScale));
  const V greatest = hn::Mul(mean, hn::Set(d, kOutlierMean));
  Lines row_reach, column_reach;
  for (int k = 0; k < m_; ++k) {
    const V row_mean = hn::Min(row_mean_[k], greatest);
    const V column_mean = hn::Min(column_mean_[k], greatest);
    // The root of a line's scale, times the block's.
    row_reach.Set(k, hn::Sqrt(hn::Mul(hn::Max(row_mean, least), mean)));
    column_reach.Set(k, hn::Sqrt(hn::Mul(hn::Max(column_mean, least), mean)));
    row_potential_.Set(k, hn::Mul(hn::Sub(row_mean, mean), factor));
    column_potential_.Set(k, hn::Mul(column_mean, factor));
  }
  Schedules schedules = ChooseSchedules();
  for (int sweep = 0; sweep < kSmall.sweeps; ++sweep) {
    V within = hn::Zero(d);
    for (int i = 0; i < m_; ++i) {
      row_potential_.Set(i, ProjectLine(i * m_, 1, column_potential_, schedules, row_reach[i],
                                        row_potential_[i], within));
    }
    within = hn::Zero(d);
    for (int j = 0; j < m_; ++j) {
      column_potential_.Set(j, ProjectLine(j, m_, row_potential_, schedules, column_reach[j],
                                           column_potential_[j], within));
    }
    hn::Store(hn::Mul(within, hn::Set(d, 1.0f / static_cast<float>(m_))), d, within_);
    hn::Store(hn::Mul(mean, schedules.sharpness), d, reach_);
    schedules.sharpness = hn::Div(schedules.sharpness, schedules.growth);
  }
  const V per_unit = PotentialsPerUnit(d, mean);
  for (int k = 0; k < m_; ++k) {
    row_potential_.Set(k, RoundPotential(d, row_potential_[k], per_unit));
    column_potential_.Set(k, RoundPotential(d, column_potential_[k], per_unit));
  }
}

// Keeps the entries with a positive residual. Returns the blocks whose lines all keep n.
inline uint32_t LaneSolver::Threshold() {
  const D d;
  const DI di;
  const auto n = hn::Set(di, n_);
  hn::Vec<DI> in_column[kMaxM];
  for (int j = 0; j < m_; ++j) in_column[j] = hn::Zero(di);
  auto wrong = hn::Zero(di);
  for (int i = 0; i < m_; ++i) {
    auto columns = hn::Zero(di), in_row = hn::Zero(di);
    const V row = row_potential_[i];
    for (int j = 0; j < m_; ++j) {
      const V potential = hn::Add(row, column_potential_[j]);
      const auto keep = hn::RebindMask(di, hn::Gt(Score(i, j), potential));
      const auto one = hn::IfThenElseZero(keep, hn::Set(di, 1));
      in_column[j] = hn::Add(in_column[j], one);
      in_row = hn::Add(in_row, one);
      columns = hn::Or(columns, hn::IfThenElseZero(keep, hn::Set(di, 1 << j)));
    }
    hn::Store(columns, di, kept_ + i * kLanes);
    wrong = hn::Or(wrong, hn::Xor(in_row, n));
  }
  for (int j = 0; j < m_; ++j) wrong = hn::Or(wrong, hn::Xor(in_column[j], n));
  const auto usable = hn::RebindMask(di, hn::Gt(hn::Load(d, usable_), hn::Zero(d)));
  uint8_t bits[8] = {};
  hn::StoreMaskBits(di, hn::And(usable, hn::Eq(wrong, hn::Zero(di))), bits);
  return static_cast<uint32_t>(bits[0] | bits[1] << 8);
}

// Value and bound in float64 (solver/certificate.h). As float32, a + b is exact: an entry's
// residual is positive here just where Threshold() keeps it.
inline void LaneSolver::Certify() {
  const hn::CappedTag<double, kLanes> d;
  const hn::Rebind<float, decltype(d)> df;
  using Double = hn::Vec<decltype(d)>;
  for (int lane = 0; lane < kLanes; lane += hn::MaxLanes(d)) {
    const auto at = [&](const float* lanes) { return hn::Load(df, lanes + lane); };
    Double value = hn::Zero(d), beyond = hn::Zero(d), sum = hn::Zero(d), potentials = hn::Zero(d);
    for (int i = 0; i < m_; ++i) {
      const auto row = at(row_potential_.at + i * kLanes);
      const auto column = at(column_potential_.at + i * kLanes);
      potentials = hn::Add(potentials, hn::PromoteTo(d, hn::Add(row, column)));
      for (int j = 0; j < m_; ++j) {
        const auto potential = hn::Add(row, at(column_potential_.at + j * kLanes));
        const Double score = hn::PromoteTo(d, at(scores_ + (i * m_ + j) * kLanes));
        const Double residual = hn::Sub(score, hn::PromoteTo(d, potential));
        sum = hn::Add(sum, score);
        beyond = hn::Add(beyond, hn::Max(residual, hn::Zero(d)));
        value = hn::Add(value, hn::IfThenElseZero(hn::Gt(residual, hn::Zero(d)), score));
      }
    }
    hn::Store(value, d, value_ + lane);
    hn::Store(sum, d, score_sum_ + lane);
    hn::Store(hn::Add(beyond, hn::Mul(potentials, hn::Set(d, static_cast<double>(n_)))), d,
              bound_ + lane);
  }
}

inline void LaneSolver::Store(const Tile& tile, int64_t row, int64_t column, int count,
                              uint32_t solved, double* potentials, SolveStats* stats) const {
  const int rows = static_cast<int>(std::min<int64_t>(m_, tile.rows - row));
  for (int k = 0; k < count; ++k) {
    if (!(solved >> k & 1)) continue;
    const int64_t first = column + k * m_;
    const int columns = static_cast<int>(std::min<int64_t>(m_, tile.columns - first));
    const double unit = PowerOfTwo(exponent_[k]);
    SolveStats block = {
        .value = value_[k] * unit, .bound = bound_[k] * unit, .score_sum = score_sum_[k] * unit};
    for (int i = 0; i < rows; ++i) {
      const uint64_t kept = kept_[i * kLanes + k] & ((1u << columns) - 1);
      SetMaskBits(tile.mask + (row + i) * tile.mask_row_stride, first, &kept, columns);
      block.kept += std::popcount(kept);
    }
    block.blocks = block.blocks_proven = 1;
    block.sweeps = kSmall.sweeps;
    stats[k] = block;
    if (potentials == nullptr) continue;
    for (int i = 0; i < m_; ++i) {
      potentials[2 * m_ * k + i] = unit * row_potential_.at[i * kLanes + k];
      potentials[2 * m_ * k + m_ + i] = unit * column_potential_.at[i * kLanes + k];
    }
  }
}

inline SweepResult LaneSolver::StartOf(int k, float* row, float* column) const {
  if (usable_[k] == 0) return {};
  for (int i = 0; i < m_; ++i) {
    row[i] = row_potential_.at[i * kLanes + k];
    column[i] = column_potential_.at[i * kLanes + k];
  }
  return {.sweeps = kSmall.sweeps, .reach = reach_[k], .within = within_[k]};
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_LANE_SOLVER_INL_H_
