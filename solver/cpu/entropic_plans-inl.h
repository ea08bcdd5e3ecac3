// The transport plans of TSENOR (arXiv 2505.23949): Dykstra's algorithm, side by side on a block in
// every vector lane.
//
// Compiled once for every instruction set (cpu/solve_rows.cc), hence the guard that can be flipped.
#if defined(SOLVER_CPU_ENTROPIC_PLANS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SOLVER_CPU_ENTROPIC_PLANS_INL_H_
#undef SOLVER_CPU_ENTROPIC_PLANS_INL_H_
#else
#define SOLVER_CPU_ENTROPIC_PLANS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

#include "solver/cpu/load-inl.h"
#include "solver/cpu/transpose-inl.h"
#include "solver/options.h"
#include "solver/problem.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

// Powers exp(tau w) reach 2^721 (kMaxTau), and the scales that project them as far down, beyond
// float32. So powers are kept as integers: 2^k (1 + f) as (k + f) 2^kFractionBits. Those are the
// bits of a float with fewer of them for the fraction, and more for the exponent: up to 2^4096.
// Rounded to a relative error of 1e-6, as if tau w were.
constexpr int kFractionBits = 19;

// Kernels in float32 are limited to 2^+-kKernelRange: what lies below counts as nothing, what lies
// above is at the cap.
constexpr int kKernelRange = 116;

// Powers of two of a block's scales are absorbed into its kernel whenever those of rows and columns
// are further apart from 1 than kScaleRange together, looked at every kShortPeriod iterations. No
// iteration but the first changes a scale by more than the factor m (solver/README.md). So four
// cannot lift the product of two beyond 2^(32 + 56), and what counts as nothing stays below 2^-28.
constexpr int kShortPeriod = 4, kScaleRange = 32;

// The same in longer intervals with a smaller range, so that the blocks of a group absorb at the
// same time and the kernel is taken anew for all at once: with this pair 24 times in 300
// iterations, without it 40 times (Gaussian 16:32).
constexpr int kLongPeriod = 16, kSmallScaleRange = 8;

// Plans are integers like the powers, S = 1 is 0. What lies below 2^-kPlanRange is equal.
constexpr int kPlanFractionBits = 21;
constexpr int kPlanRange = 1016;

// 2^x in integers, x >= 0, within 1e-8: 2^x = 2^k e^r, where e^r is its Taylor series up to
// r^9 / 9! (the next term is below 1e-8).
template <class D, class V = hn::Vec<D>>
HWY_INLINE hn::Vec<hn::Rebind<int32_t, D>> IntegerPower(D d, V x) {
  constexpr auto kTaylor = [] {
    std::array<double, 10> terms = {1};
    for (int k = 1; k < 10; ++k) terms[k] = terms[k - 1] * 0x1.62e42fefa39efp-1 / k;  // ln(2) / k
    return terms;
  }();
  const V k = hn::Floor(x), f = hn::Sub(x, k);
  V sum = hn::Set(d, kTaylor[9]);
  for (int term = 8; term > 0; --term) sum = hn::Add(hn::Mul(sum, f), hn::Set(d, kTaylor[term]));
  const V power = hn::Add(k, hn::Mul(sum, f));  // without the 1 of 1 + f
  const V unit = hn::Set(d, 1 << kFractionBits), half = hn::Set(d, 0.5);
  return hn::DemoteTo(hn::Rebind<int32_t, D>(), hn::Add(hn::Mul(power, unit), half));
}

// Finds the entropic transport plans of a group of neighbouring blocks of up to kWidth x kWidth at
// once, one block in each lane: S = min(u K v, 1), where K = exp(tau w), after T iterations of
// Dykstra's algorithm. His correction Q need not be stored: S Q = diag(u) K diag(v) throughout.
//
// In float32; errors and ranges: solver/README.md. A lane's arithmetic is its block's alone, so a
// plan depends on neither the other lanes nor their number. Large (kWidth = 128: 1.6 MB): lives on
// the heap.
//
// Not thread-safe: one per thread.
template <int kWidth>
class EntropicPlans {
 public:
  // Wide vectors, but powers and kernels of all blocks should fit the second-level cache.
  static constexpr int kMaxLanes = kWidth <= 32 ? 16 : 8;
  static constexpr int kLanes = hn::MaxLanes(hn::CappedTag<float, kMaxLanes>());

  // `problem` must outlive the plans. REQUIRES: ValidateProblem() accepts it; 0 < n < m <= kWidth.
  explicit EntropicPlans(const Problem& problem)
      : problem_(problem), n_(problem.pattern.n), m_(problem.pattern.m) {}

  // Finds the plans of `count` <= kLanes blocks whose first entries are (row, column + k m).
  void Solve(const Tile& tile, int64_t row, int64_t column, int count);

  // The plan of block k of the last group: S_ij at i * kWidth + j.
  const int32_t* PlanOf(int k) const { return plans_ + k * kWidth * kWidth; }

 private:
  using D = hn::CappedTag<float, kLanes>;
  using V = hn::Vec<D>;
  using DI = hn::RebindToSigned<D>;
  using VI = hn::Vec<DI>;

  // Rows that are projected together, and lie entry by entry in memory: one stream instead of four.
  static constexpr int kRows = 4;

  // A vector for each line of the blocks.
  struct alignas(64) Lines {
    V operator[](int line) const { return hn::Load(D(), at + line * kLanes); }
    void Set(int line, V lanes) { hn::Store(lanes, D(), at + line * kLanes); }
    VI Bits(int line) const { return hn::BitCast(DI(), (*this)[line]); }
    void SetBits(int line, VI bits) { Set(line, hn::BitCast(D(), bits)); }
    float at[kWidth * kLanes] = {};
  };
  struct alignas(64) Exponents {
    VI operator[](int line) const { return hn::Load(DI(), at + line * kLanes); }
    void Set(int line, VI lanes) { hn::Store(lanes, DI(), at + line * kLanes); }
    int32_t at[kWidth * kLanes] = {};
  };

  // Entry (i, j) of the block in lane k is at Row(i) + j * Step(i) + k of a kernel.
  bool InGroup(int i) const { return i < m_ / kRows * kRows; }
  int Row(int i) const {
    return (InGroup(i) ? i / kRows * kRows * m_ + i % kRows : i * m_) * kLanes;
  }
  int Step(int i) const { return (InGroup(i) ? kRows : 1) * kLanes; }
  VI Power(int i, int j) const { return hn::Load(DI(), powers_ + Row(i) + j * Step(i)); }

  static V FromPower(VI power);
  static VI SharePower(VI power, V scale);
  void Load(const Tile& tile, int64_t row, int64_t column, int count);
  void TakePowers();
  void IterateFirst();
  void Iterate();
  template <int kCount>
  void ProjectRows(int first);
  bool Absorb(int range);
  void BuildKernel();
  void StorePlans();

  // With the room that TransposeTiles() needs beyond the last row.
  static constexpr int kEntries = (kWidth * kWidth + 3 * kRows) * kLanes;

  const Problem& problem_;
  const int n_, m_;
  alignas(64) float loaded_[kWidth * kLanes + 4] = {};  // a row of all blocks, as in the tile
  alignas(64) int32_t powers_[kEntries];                // exp(tau w), as integers
  alignas(64) float kernel_[kEntries];            // K with what was absorbed; at first the scores
  Exponents row_exponent_, column_exponent_;      // what was, in units of the powers
  Lines row_scale_, row_inverse_, column_scale_;  // u, 1 / u, v
  Lines column_sum_;
  alignas(64) int32_t plans_[kLanes * kWidth * kWidth] = {};
};

template <int kWidth>
void EntropicPlans<kWidth>::Solve(const Tile& tile, int64_t row, int64_t column, int count) {
  Load(tile, row, column, count);
  TakePowers();
  IterateFirst();
  BuildKernel();
  for (int done = 1; done < problem_.options.tsenor.iterations; ++done) {
    const int range = done % kLongPeriod == 1 ? kSmallScaleRange : kScaleRange;
    if (done % kShortPeriod == 1 && Absorb(range)) BuildKernel();
    Iterate();
  }
  StorePlans();
}

// The float of an integer power.
template <int kWidth>
HWY_INLINE typename EntropicPlans<kWidth>::V EntropicPlans<kWidth>::FromPower(VI power) {
  const DI di;
  const VI range = hn::Set(di, kKernelRange << kFractionBits);
  power = hn::Min(hn::Max(power, hn::Neg(range)), range);
  const VI bias = hn::Set(di, 127 << kFractionBits);
  return hn::BitCast(D(), hn::ShiftLeft<23 - kFractionBits>(hn::Add(power, bias)));
}

// From rows of blocks to lanes of blocks.
template <int kWidth>
void EntropicPlans<kWidth>::Load(const Tile& tile, int64_t row, int64_t column, int count) {
  std::fill(loaded_ + count * m_, loaded_ + kLanes * m_, 0.0f);
  for (int i = 0; i < m_; ++i) {
    LoadRows(problem_, tile, row + i, column, 1, count * m_, loaded_, 0);
    TransposeTiles(loaded_, m_, kLanes, m_, kernel_ + Row(i), Step(i));
  }
}

// exp(tau w) of the scores in kernel_; tau is given times the block's greatest score.
template <int kWidth>
void EntropicPlans<kWidth>::TakePowers() {
  const D d;
  const int entries = m_ * m_ * kLanes;
  V greatest = hn::Set(d, std::numeric_limits<float>::denorm_min());
  for (int k = 0; k < entries; k += kLanes) greatest = hn::Max(greatest, hn::Load(d, kernel_ + k));
  alignas(64) float greatest_lanes[kLanes];
  hn::Store(greatest, d, greatest_lanes);

  const hn::CappedTag<double, kLanes> dd;
  const hn::Rebind<float, decltype(dd)> as_float;
  const hn::Rebind<int32_t, decltype(dd)> as_integer;
  const auto tau = hn::Set(dd, problem_.options.tsenor.tau * 0x1.71547652b82fep0);  // log2(e)
  for (int lane = 0; lane < kLanes; lane += hn::MaxLanes(dd)) {
    const auto factor = hn::Div(tau, hn::PromoteTo(dd, hn::Load(as_float, greatest_lanes + lane)));
    for (int k = lane; k < entries; k += kLanes) {
      const auto score = hn::PromoteTo(dd, hn::Load(as_float, kernel_ + k));
      hn::Store(IntegerPower(dd, hn::Mul(score, factor)), as_integer, powers_ + k);
    }
  }
}

// The first iteration, before which no entry is capped. Here sums reach as far as the powers: those
// of each line are taken relative to its greatest, or nearly so.
template <int kWidth>
void EntropicPlans<kWidth>::IterateFirst() {
  const D d;
  const DI di;
  const V n = hn::Set(d, static_cast<float>(n_));
  const VI fraction = hn::Set(di, (1 << kFractionBits) - 1);
  for (int i = 0; i < m_; ++i) {
    VI greatest = Power(i, 0);
    for (int j = 1; j < m_; ++j) greatest = hn::Max(greatest, Power(i, j));
    const VI exponent = hn::Neg(hn::AndNot(fraction, greatest));
    V sum = hn::Zero(d);
    for (int j = 0; j < m_; ++j) sum = hn::Add(sum, FromPower(hn::Add(Power(i, j), exponent)));
    row_exponent_.Set(i, exponent);
    row_scale_.Set(i, hn::Div(n, sum));
    row_inverse_.Set(i, hn::Div(sum, n));
  }
  for (int j = 0; j < m_; ++j) {
    VI greatest = hn::Add(Power(0, j), row_exponent_[0]);
    for (int i = 1; i < m_; ++i) {
      greatest = hn::Max(greatest, hn::Add(Power(i, j), row_exponent_[i]));
    }
    const VI exponent = hn::Neg(hn::AndNot(fraction, greatest));
    V sum = hn::Zero(d);
    for (int i = 0; i < m_; ++i) {
      const VI power = hn::Add(Power(i, j), hn::Add(row_exponent_[i], exponent));
      sum = hn::Add(sum, hn::Mul(row_scale_[i], FromPower(power)));
    }
    column_exponent_.Set(j, exponent);
    column_scale_.Set(j, hn::Div(n, sum));
  }
}

// One iteration: u_i <- n / sum_j P_ij, where P_ij = min(K_ij v_j, 1 / u_i), then
// v_j <- v_j n / sum_i u_i P_ij.
template <int kWidth>
void EntropicPlans<kWidth>::Iterate() {
  const D d;
  for (int j = 0; j < m_; ++j) column_sum_.Set(j, hn::Zero(d));
  int i = 0;
  for (; InGroup(i); i += kRows) ProjectRows<kRows>(i);
  for (; i < m_; ++i) ProjectRows<1>(i);
  const V n = hn::Set(d, static_cast<float>(n_));
  for (int j = 0; j < m_; ++j) {
    column_scale_.Set(j, hn::Mul(column_scale_[j], hn::Div(n, column_sum_[j])));
  }
}

// Scales the rows first .. first + kCount - 1 to the sum n, and adds them to the columns' sums.
template <int kWidth>
template <int kCount>
void EntropicPlans<kWidth>::ProjectRows(int first) {
  const D d;
  const V n = hn::Set(d, static_cast<float>(n_));
  const V inverse_n = hn::Set(d, 1.0f / static_cast<float>(n_));
  alignas(64) float capped[kWidth * kCount * kLanes];
  V cap[kCount], sum[kCount];
  for (int r = 0; r < kCount; ++r) {
    cap[r] = row_inverse_[first + r];
    sum[r] = hn::Zero(d);
  }
  const float* HWY_RESTRICT kernel = kernel_ + Row(first);
  for (int j = 0; j < m_; ++j) {
    const V column_scale = column_scale_[j];
    for (int r = 0; r < kCount; ++r) {
      const int entry = (j * kCount + r) * kLanes;
      const V share = hn::Min(hn::Mul(hn::Load(d, kernel + entry), column_scale), cap[r]);
      hn::Store(share, d, capped + entry);
      sum[r] = hn::Add(sum[r], share);
    }
  }
  V scale[kCount];
  for (int r = 0; r < kCount; ++r) {
    scale[r] = hn::Div(n, sum[r]);
    row_scale_.Set(first + r, scale[r]);
    row_inverse_.Set(first + r, hn::Mul(sum[r], inverse_n));
  }
  for (int j = 0; j < m_; ++j) {
    V column_sum = column_sum_[j];
    for (int r = 0; r < kCount; ++r) {
      const V share = hn::Load(d, capped + (j * kCount + r) * kLanes);
      column_sum = hn::Add(column_sum, hn::Mul(scale[r], share));
    }
    column_sum_.Set(j, column_sum);
  }
}

// Moves the powers of two of the scales into the exponents, in those blocks where the farthest of
// rows and of columns have more than `range` of them, up or down, together. False if there are
// none: the kernel is still right.
template <int kWidth>
bool EntropicPlans<kWidth>::Absorb(int range) {
  const DI di;
  const auto exponent_of = [&](const Lines& scales, int line) {
    return hn::Sub(hn::ShiftRight<23>(scales.Bits(line)), hn::Set(di, 127));
  };
  VI row_farthest = hn::Zero(di), column_farthest = hn::Zero(di);
  for (int k = 0; k < m_; ++k) {
    row_farthest = hn::Max(row_farthest, hn::Abs(exponent_of(row_scale_, k)));
    column_farthest = hn::Max(column_farthest, hn::Abs(exponent_of(column_scale_, k)));
  }
  const auto absorbed = hn::Gt(hn::Add(row_farthest, column_farthest), hn::Set(di, range));
  if (hn::AllFalse(di, absorbed)) return false;
  for (int k = 0; k < m_; ++k) {
    const VI row = hn::IfThenElseZero(absorbed, exponent_of(row_scale_, k));
    const VI column = hn::IfThenElseZero(absorbed, exponent_of(column_scale_, k));
    row_exponent_.Set(k, hn::Add(row_exponent_[k], hn::ShiftLeft<kFractionBits>(row)));
    column_exponent_.Set(k, hn::Add(column_exponent_[k], hn::ShiftLeft<kFractionBits>(column)));
    row_scale_.SetBits(k, hn::Sub(row_scale_.Bits(k), hn::ShiftLeft<23>(row)));
    row_inverse_.SetBits(k, hn::Add(row_inverse_.Bits(k), hn::ShiftLeft<23>(row)));
    column_scale_.SetBits(k, hn::Sub(column_scale_.Bits(k), hn::ShiftLeft<23>(column)));
  }
  return true;
}

// K from powers and exponents. The same bits again for blocks whose exponents have not changed.
template <int kWidth>
void EntropicPlans<kWidth>::BuildKernel() {
  for (int i = 0; i < m_; ++i) {
    const VI row_exponent = row_exponent_[i];
    for (int j = 0; j < m_; ++j) {
      const VI power = hn::Add(Power(i, j), hn::Add(row_exponent, column_exponent_[j]));
      hn::Store(FromPower(power), D(), kernel_ + Row(i) + j * Step(i));
    }
  }
}

// S of each block.
template <int kWidth>
void EntropicPlans<kWidth>::StorePlans() {
  Absorb(-1);
  alignas(64) int32_t row[kWidth * kLanes] = {};
  for (int i = 0; i < m_; ++i) {
    for (int j = 0; j < m_; ++j) {
      const VI power = hn::Add(Power(i, j), hn::Add(row_exponent_[i], column_exponent_[j]));
      const V scale = hn::Mul(row_scale_[i], column_scale_[j]);
      hn::Store(SharePower(power, scale), DI(), row + j * kLanes);
    }
    TransposeTiles(row, kLanes, m_, kLanes, plans_ + i * kWidth, kWidth * kWidth);
  }
}

// min(power scale, 1) in the units of plans; scale in [1, 4).
template <int kWidth>
HWY_INLINE typename EntropicPlans<kWidth>::VI EntropicPlans<kWidth>::SharePower(VI power, V scale) {
  const DI di;
  power = hn::Max(power, hn::Set(di, -(kPlanRange + 2) * (1 << kFractionBits)));
  power = hn::Min(power, hn::Set(di, 1 << kFractionBits));
  const VI fraction = hn::And(power, hn::Set(di, (1 << kFractionBits) - 1));
  const VI one = hn::Set(di, 127 << 23);  // the bits of 1.0f
  const VI product = hn::BitCast(
      di,
      hn::Mul(hn::BitCast(D(), hn::Add(hn::ShiftLeft<23 - kFractionBits>(fraction), one)), scale));
  const VI share =
      hn::Add(hn::ShiftLeft<kPlanFractionBits - kFractionBits>(hn::Sub(power, fraction)),
              hn::ShiftRight<23 - kPlanFractionBits>(hn::Sub(product, one)));
  const VI least = hn::Set(di, -kPlanRange * (1 << kPlanFractionBits));
  return hn::Min(hn::Max(share, least), hn::Zero(di));
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_ENTROPIC_PLANS_INL_H_
