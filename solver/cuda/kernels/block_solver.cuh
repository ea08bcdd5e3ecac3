// One block, from the caller's weights to the pass's results: the steps of the general kernel.
#pragma once

#include <cstdint>

#include "solver/cuda/kernels/block_state.cuh"
#include "solver/cuda/kernels/exact_finish.cuh"
#include "solver/cuda/kernels/line_search.cuh"
#include "solver/cuda/kernels/pass.h"
#include "solver/cuda/kernels/sweeps.cuh"
#include "solver/cuda/kernels/ties.cuh"
#include "solver/cuda/primitives/block_view.cuh"
#include "solver/cuda/primitives/group.cuh"
#include "solver/limits.h"

namespace tsenor::cuda {

// Quanta of the first finish, per mean score (its power of two): on blocks without outliers they
// prove a gap of 1e-9, and leave residuals of up to a mean score inside kFinishRange.
constexpr int kResidualBits = 28;
// At most so many bits for a score of 1, the greatest. Where the mean is far below that, as of
// 2^-(i + j), quanta are coarser: they still prove 1e-10 of the value, and paths, which may be long
// against the mean, stay inside the range.
constexpr int kGreatestBits = 42;
// Of two potentials that move this far, entries that were clamped to kFinishRange may feel it.
constexpr int32_t kGreatestMove = kFinishRange / 2;
// More bits per refinement. After the round before, a path of 2 m entries is no longer than m of
// its quanta, which stay inside the range.
constexpr int kRefinementBits = 20;
// Scores tie if more entries than this, plus one for every 64 of a line, are within reach.
constexpr float kTieEntries = 1.1f;
constexpr float kTieReach = 0.125f;  // potentials are snapped to entries this many mean scores away

// 2^exponent. REQUIRES: |exponent| <= 1022.
inline __device__ double PowerOfTwo(int exponent) {
  return __hiloint2double((1023 + exponent) << 20, 0);
}

// e of a normal x = f 2^e, f in [1, 2).
inline __device__ int ExponentOf(double x) { return (__double2hiint(x) >> 20) - 1023; }

// Sums over the block in units of the normalised scores.
struct Certificate {
  double value;
  double gap;  // bound - value
  double score_sum;
};

// Solves one block: thread k of the group works for row k and column k, and all call every
// function.
//
// The scores are read from device memory three times (sweeps, quantisation, certificate; the last
// two out of the second-level cache), so that shared memory holds the block but once:
//
//   Entries      4 (m rounded up to 8) (kWidth + 1) bytes
//   BlockState   24 kWidth bytes, and some
template <int kWidth>
class BlockSolver {
 public:
  // Block number `index` of those of the pass.
  __device__ BlockSolver(const Pass& pass, int64_t index, BlockState<kWidth>& state,
                         int32_t* entries)
      : pass_(pass),
        index_(index),
        view_(Locate(pass, pass.first_block + index)),
        m_(pass.problem.pattern.m),
        n_(pass.problem.pattern.n),
        state_(state),
        entries_(entries),
        group_(state.scratch),
        k_(group_.thread()) {}

  __device__ void Run() {
    const bool all_zero = Load();
    const bool has_choice = !all_zero && n_ > 0 && n_ < m_;
    if (!has_choice || !SolveOptimally()) SolveTrivially(/*unsolved=*/has_choice);
    Store();
  }

 private:
  using Set = typename Group<kWidth>::Set;
  // visit(first, scores) for the scores of rows `first` .. of the thread's column, as the caller
  // has them, kLinesAtATime at a time; 0 beyond row m.
  template <typename Visit>
  __device__ void VisitColumn(Visit visit) const {
    if (k_ >= m_) return;
    const ColumnReader column(pass_, view_, k_);
    for (int first = 0; first < m_; first += kLinesAtATime) {
      float scores[kLinesAtATime];
      column.Read(first, scores);
      visit(first, scores);
    }
  }

  // Normalised scores into shared memory: the caller's times 2^-exponent, so that the greatest lies
  // in [0.5, 1). Returns whether all are 0.
  __device__ bool Load() {
    float greatest = 0;
    double sum = 0;
    VisitColumn([&](int first, const float(&scores)[kLinesAtATime]) {
#pragma unroll
      for (int k = 0; k < kLinesAtATime; ++k) {
        entries_.set_score(first + k, k_, scores[k]);
        greatest = fmaxf(greatest, scores[k]);
        sum += static_cast<double>(scores[k]);
      }
    });
    greatest = group_.Max(greatest);
    const bool all_zero = greatest == 0;
    exponent_ = all_zero ? 0 : ExponentOf(static_cast<double>(greatest)) + 1;
    unit_ = PowerOfTwo(-exponent_);
    certificate_.score_sum = group_.Sum(sum) * unit_;
    // 2^-exponent in two exact factors: it may itself lie outside float32.
    const float once = static_cast<float>(PowerOfTwo(-exponent_ / 2));
    const float again = static_cast<float>(PowerOfTwo(-exponent_ - -exponent_ / 2));
#pragma unroll 8
    for (int i = 0; k_ < m_ && i < m_; ++i) {
      entries_.set_score(i, k_, entries_.score(i, k_) * once * again);
    }
    group_.Sync();
    return all_zero;
  }

  // No scores, or no choice: the first n of each line, cyclically, and potentials that prove it. Or
  // no answer: the same mask, and nothing is proven.
  __device__ void SolveTrivially(bool unsolved) {
    kept_.in_row = Set::Empty();
    for (int d = 0; d < n_ && k_ < m_; ++d) kept_.in_row.insert((k_ + d) % m_);
    TakeMask();
    row_potential_ = n_ == 0 ? 1 : 0;  // with n = 0, above every normalised score
    column_potential_ = 0;
    const double score_sum = certificate_.score_sum;
    certificate_.value = n_ == m_ ? score_sum : 0;
    certificate_.gap = unsolved ? score_sum : 0;
    unsolved_ = unsolved;
  }

  // Sweeps; then the exact finish on what is left of the scores after the potentials so far, again
  // and again in finer quanta, until the gap is tolerable: the potentials found add up. After a
  // finish that left the range, quanta are so coarse that nothing can. False: there is no answer at
  // all.
  __device__ bool SolveOptimally() {
    const LineMeans means = MeasureLines(group_, entries_, m_);
    const Schedule schedule = ScheduleFor(m_, means);
    FindPotentials(means, schedule);
    double quanta = PowerOfTwo(min(kResidualBits - 1 - ExponentOf(means.block), kGreatestBits));
    bool hard = means.tied;
    bool solved = false;
    int failures = 0;
    for (int round = 0; round <= kMaxRefinements; ++round) {
      Quantise(quanta);
      hard = hard || IsFarFromFeasible();
      if (hard) SearchLines(group_, entries_, m_, n_, state_, kept_);
      if (Finish(quanta, hard)) {
        solved = true;
        if (IsSolved()) break;
        quanta *= PowerOfTwo(kRefinementBits);
      } else {
        quanta = CoarseQuanta() * PowerOfTwo(-3 * failures++);
      }
      hard = true;
    }
    return solved;
  }

  // By sweeps, rounded; snapped if scores tie.
  __device__ void FindPotentials(const LineMeans& means, const Schedule& schedule) {
    const float within =
        Sweep(group_, entries_, m_, n_, pass_.quantile_factor, means, schedule, state_);
    sweeps_ = schedule.sweeps;
    float& a = state_.rows.potential[k_];
    float& b = state_.columns.potential[k_];
    a = Rounded(a, means.block);
    b = Rounded(b, means.block);
    group_.Sync();
    if (means.tied && within > kTieEntries + static_cast<float>(m_) / 64) {
      TieForest<kWidth>(group_, entries_, m_, kTieReach * means.block, state_).Snap();
    }
    row_potential_ = k_ < m_ ? a : 0;
    column_potential_ = k_ < m_ ? b : 0;
    group_.Sync();
  }

  // Whether rows and columns are so far from n that line searches are worth their time.
  __device__ bool IsFarFromFeasible() const {
    const int row = abs(n_ - kept_.in_row.count()), column = abs(n_ - kept_.in_column.count());
    return group_.Sum(k_ < m_ ? row + column : 0) > m_;
  }

  // The gap is tolerable, and so small that on scores in whole quanta (solver/quantise.h) the mask
  // is the optimum.
  __device__ bool IsSolved() const {
    constexpr double kQuantum = 1.0 / (1 << kQuantisationBits);
    const double tolerance = pass_.problem.options.optimal.gap_tolerance;
    return certificate_.gap <= tolerance * (certificate_.value + certificate_.gap) &&
           certificate_.gap < 0.5 * kQuantum;  // the rest is room for rounding
  }

  // The greatest power of two with which 2 m residuals in a row, the longest path, stay inside the
  // range of a finish. No normalised score is above 1.
  __device__ double CoarseQuanta() const {
    const bool exists = k_ < m_;
    const double a = group_.Max(exists ? fabs(row_potential_) : 0.0);
    const double b = group_.Max(exists ? fabs(column_potential_) : 0.0);
    return PowerOfTwo(ExponentOf(kGreatestMove / (2 * m_ * (1 + a + b))));
  }

  // The rows' potentials times `scale` where all threads see them.
  __device__ void PublishRows(double scale) {
    state_.row_potential[k_] = row_potential_ * scale;
    group_.Sync();
  }

  // The residuals w - a - b times `quanta`, to the nearest integers within kFinishRange, take the
  // place of the scores; the positive ones are kept. float64, in which w - b is rounded by 2^-53
  // of the greater, and products with powers of two are exact.
  __device__ void Quantise(double quanta) {
    group_.Sync();  // all have certified what the round before left
    state_.rows.quanta[k_] = state_.columns.quanta[k_] = 0;
    PublishRows(quanta);
    const double unit = unit_ * quanta, potential = column_potential_ * quanta;
    kept_.in_column = Set::Empty();
    VisitColumn([&](int first, const float(&scores)[kLinesAtATime]) {
      uint32_t positive = 0;
#pragma unroll
      for (int k = 0; k < kLinesAtATime; ++k) {
        const int i = first + k;
        const double residual = __fma_rn(scores[k], unit, -potential) - state_.row_potential[i];
        const int32_t rounded = __double2int_rn(residual);  // saturates
        const int32_t clamped = min(max(rounded, -kFinishRange), kFinishRange);
        entries_.set_residual(i, k_, clamped);
        positive |= clamped > 0 ? 1u << k : 0;
      }
      kept_.in_column.InsertBits(first, positive);
    });
    kept_.in_column = kept_.in_column & Set::First(m_);
    group_.Sync();
    kept_.in_row = LinesWhere<Group<kWidth>::kWarps>(
        k_ < m_ ? m_ : 0, [&](int j) { return entries_.residual(k_, j) > 0; });
  }

  // Finishes; if all went well inside the range, adds the potentials and takes the mask.
  __device__ bool Finish(double quanta, bool ties) {
    const FinishResult result = Finisher<kWidth>(group_, entries_, m_, n_, state_, kept_).Run(ties);
    augmentations_ += result.augmentations;
    if (!result.optimal || result.greatest_move >= kGreatestMove) return false;
    const double unit = 1 / quanta;
    row_potential_ += state_.rows.quanta[k_] * unit;
    column_potential_ += state_.columns.quanta[k_] * unit;
    Certify();
    TakeMask();
    return true;
  }

  // Value of the mask and the gap to the bound of the potentials (solver/certificate.h), in
  // float64. As every line keeps n entries,
  //
  //   bound - value = sum_ij max(0, r_ij) - S_ij r_ij,   r = w - a - b,
  //
  // to which an entry adds only if it is kept with r < 0 or dropped with r > 0. After a finish no
  // entry is, in rounded quanta: only those count whose rounded residual is at most kNear. Their
  // scores take the place of the residuals, which have done their duty.
  __device__ void Certify() {
    constexpr int32_t kNear = 1;
    const int32_t potential = state_.columns.quanta[k_];
    PublishRows(1);
    double value = 0, gap = 0;
    Set near = Set::Empty();
    VisitColumn([&](int first, const float(&scores)[kLinesAtATime]) {
      const uint32_t kept = kept_.in_column.bits(first);
      uint32_t bits = 0;
#pragma unroll
      for (int k = 0; k < kLinesAtATime; ++k) {
        const int i = first + k;
        if (kept >> k & 1) value += static_cast<double>(scores[k]);
        const int32_t left = entries_.residual(i, k_) - state_.rows.quanta[i] - potential;
        bits |= static_cast<uint32_t>(left + kNear) <= 2 * kNear ? 1u << k : 0;
        entries_.set_score(i, k_, scores[k]);
      }
      near.InsertBits(first, bits);
    });
    near = near & Set::First(m_);
    for (int i = near.PopFirst(); i >= 0; i = near.PopFirst()) {
      const double residual =
          __fma_rn(entries_.score(i, k_), unit_, -column_potential_) - state_.row_potential[i];
      gap += fmax(kept_.in_column.contains(i) ? -residual : residual, 0.0);
    }
    certificate_.value = group_.Sum(value) * unit_;
    certificate_.gap = group_.Sum(gap);
  }

  // The mask becomes the answer, as long as no better one follows.
  __device__ void TakeMask() {
    const Set& row = kept_.in_row;
    if (pass_.WritesMasks()) {
      if (k_ < m_) StoreMaskRow(view_, k_, row.First64());
    } else if (k_ < m_) {
      StoreSet(row, pass_.masks + (index_ * m_ + k_) * MaskWords(m_));
    }
    entries_kept_ = group_.Sum(k_ < view_.rows ? (row & Set::First(view_.columns)).count() : 0);
  }

  // Potentials and sums, in the caller's units.
  __device__ void Store() {
    const double unit = PowerOfTwo(exponent_);
    if (k_ < m_ && view_.tile->potentials != nullptr) {
      double* const potentials = view_.tile->potentials + view_.number_in_tile * 2 * m_;
      potentials[k_] = row_potential_ * unit;
      potentials[m_ + k_] = column_potential_ * unit;
    }
    if (k_ > 0) return;
    const Certificate& found = certificate_;
    pass_.results[index_] = {.value = found.value * unit,
                             .bound = (found.value + found.gap) * unit,
                             .score_sum = found.score_sum * unit,
                             .kept = entries_kept_,
                             .sweeps = sweeps_,
                             .augmentations = augmentations_,
                             .proven = found.gap <= kProvenGap * (found.value + found.gap),
                             .unsolved = unsolved_};
  }

  const Pass& pass_;
  const int64_t index_;  // in the workspace
  const BlockView view_;
  const int m_;
  const int n_;
  BlockState<kWidth>& state_;
  Entries<kWidth> entries_;
  const Group<kWidth> group_;
  const int k_;

  int exponent_ = 0;  // of the block's greatest score: max = f * 2^exponent
  double unit_ = 1;   // of the normalised scores: 2^-exponent
  double row_potential_ = 0, column_potential_ = 0;  // of the thread's lines, normalised
  Kept<kWidth> kept_;
  int entries_kept_ = 0;  // of those that exist
  int sweeps_ = 0;
  int augmentations_ = 0;
  bool unsolved_ = false;
  Certificate certificate_ = {};
};

}  // namespace tsenor::cuda
