// TSENOR as published (arXiv 2505.23949): Dykstra's algorithm, greedy rounding, swaps.
//
// Compiled once for every instruction set (cpu/solve_rows.cc), hence the guard that can be flipped.
#if defined(SOLVER_CPU_TSENOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SOLVER_CPU_TSENOR_INL_H_
#undef SOLVER_CPU_TSENOR_INL_H_
#else
#define SOLVER_CPU_TSENOR_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "solver/cpu/block.h"
#include "solver/cpu/lanes-inl.h"
#include "solver/options.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

// e^x for |x| <= 700, to the last bit or two, from exact operations alone: e^x = 2^k e^r with |r|
// <= ln(2) / 2, where e^r is its Taylor series up to r^13 / 13! (the next term is below 5e-18).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  const hn::RebindToSigned<D> di;
  // Adding 3 * 2^51 rounds to an integer, which is then found in the lowest bits.
  const V round = hn::Set(d, 0x1.8p52);
  const V shifted = hn::Add(hn::Mul(x, hn::Set(d, 0x1.71547652b82fep0)), round);
  const V k = hn::Sub(shifted, round);
  // ln(2) in two parts; the first has so few bits that its product with k is exact.
  V r = hn::Sub(x, hn::Mul(k, hn::Set(d, 0x1.62e42feep-1)));
  r = hn::Sub(r, hn::Mul(k, hn::Set(d, 0x1.a39ef35793c76p-33)));
  const V one = hn::Set(d, 1.0);
  V power = one;
  for (int term = 13; term > 0; --term) {
    power = hn::Add(one, hn::Mul(power, hn::Mul(r, hn::Set(d, 1.0 / term))));
  }
  return hn::BitCast(d,
                     hn::Add(hn::BitCast(di, power), hn::ShiftLeft<52>(hn::BitCast(di, shifted))));
}

constexpr int kBalancePeriod = 16;  // iterations: too few for a drift, too many for a cost

// The state of the iteration, for the lines of one side (rows u, columns v).
template <int kWidth>
struct TsenorScales {
  // Before the first projection nothing is capped, as if the scales were infinitely small.
  void Reset() {
    std::fill_n(scale, kWidth, 1.0);
    std::fill_n(inverse, kWidth, std::numeric_limits<double>::infinity());
    std::fill_n(step, kWidth, 1.0);
  }

  void Multiply(double factor) {
    for (int k = 0; k < kWidth; ++k) {
      scale[k] *= factor;
      inverse[k] /= factor;
    }
  }

  alignas(64) double scale[kWidth];
  alignas(64) double inverse[kWidth];  // 1 / scale
  alignas(64) double step[kWidth];     // what the last projection multiplied the scale by
};

// The two projections of an iteration: the rows' follows the box, the columns' that of the rows.
enum class Lines { kRows, kColumns };

// sum + min(K other, cap / scale): one more entry of every line in the lanes. Rows meet the cap 1,
// columns what the other line's step made of it.
template <Lines kLines, class D, class V = hn::Vec<D>>
HWY_INLINE V AddCapped(D d, V sum, const double* entries, V other, V step, V inverse) {
  const V cap = kLines == Lines::kRows ? inverse : hn::Mul(step, inverse);
  return hn::Add(sum, hn::Min(hn::Mul(hn::Load(d, entries), other), cap));
}

// Scales the rows of S = min(u K v, 1), or the columns of S = min(u K v, step of u), to the sum n.
// In terms of `lines`, whose entries with line k of `others` lie at kernel + k * kWidth:
// scale_l <- n / sum_k min(K_kl others.scale_k, cap_k / scale_l).
template <Lines kLines, int kWidth>
void ProjectOntoSums(const double* HWY_RESTRICT kernel, const TsenorScales<kWidth>& others,
                     TsenorScales<kWidth>& lines, int m, int n) {
  const Lanes<double, kWidth> d;
  using V = hn::Vec<decltype(d)>;
  constexpr int kLanes = hn::MaxLanes(d);
  constexpr int kVectors = std::min(kWidth / kLanes, 4);  // the sums stay in registers
  const V target = hn::Set(d, n), inverse_target = hn::Set(d, 1.0 / n);
  for (int first = 0; first < m; first += kVectors * kLanes) {
    // Two sums a line, so that additions wait for one another half as long.
    V inverse[kVectors], even[kVectors], odd[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      inverse[v] = hn::Load(d, lines.inverse + first + v * kLanes);
      even[v] = odd[v] = hn::Zero(d);
    }
    int k = 0;
    const double* entries = kernel + first;
    for (; k + 1 < m; k += 2, entries += 2 * kWidth) {
      const V other0 = hn::Set(d, others.scale[k]), other1 = hn::Set(d, others.scale[k + 1]);
      const V step0 = hn::Set(d, others.step[k]), step1 = hn::Set(d, others.step[k + 1]);
      for (int v = 0; v < kVectors; ++v) {
        const double* at = entries + v * kLanes;
        even[v] = AddCapped<kLines>(d, even[v], at, other0, step0, inverse[v]);
        odd[v] = AddCapped<kLines>(d, odd[v], at + kWidth, other1, step1, inverse[v]);
      }
    }
    if (k < m) {
      const V other = hn::Set(d, others.scale[k]), step = hn::Set(d, others.step[k]);
      for (int v = 0; v < kVectors; ++v) {
        even[v] = AddCapped<kLines>(d, even[v], entries + v * kLanes, other, step, inverse[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      const int line = first + v * kLanes;
      const V sum = hn::Add(even[v], odd[v]);
      const V scale = hn::Div(target, sum);
      hn::Store(scale, d, lines.scale + line);
      hn::Store(hn::Mul(scale, inverse[v]), d, lines.step + line);
      hn::Store(hn::Mul(sum, inverse_target), d, lines.inverse + line);
    }
  }
}

// Finds masks by the published algorithm, block by block; kept between blocks, so that none
// allocates. Large (kWidth = 128: 0.5 MB): lives on the heap.
//
// Dykstra's correction Q need not be stored: S . Q = diag(u) exp(tau w) diag(v) throughout, so that
// the state of the iteration is two vectors. All in float64, in which the scales of the greatest
// tau fit (kMaxTau) and rounding errors decide no order of entries but of such as nearly tie.
//
// Not thread-safe: one per thread.
template <int kWidth>
class Tsenor {
 public:
  // REQUIRES: 0 < n < m <= kWidth; options that ValidateProblem() accepts.
  Tsenor(int n, int m, const TsenorOptions& options) : n_(n), m_(m), options_(options) {}

  // Rounds the entropic transport plan of a block to a mask: kept[i] holds the columns that row i
  // keeps. Whether every line keeps exactly n entries: rounding and swaps may end short of that,
  // never beyond.
  //
  // Entries are visited by descending S; ties (entries at the cap, above all) by descending score,
  // then row by row. A swap serves the first row and the first column that have room; of equal
  // gains the first entry dropped, row by row, wins.
  bool Solve(const Block<kWidth>& block, LineSet<kWidth>* kept);

 private:
  // An entry of the block that the rounding may keep.
  struct Candidate {
    double plan;  // S
    float score;
    int entry;  // i * kWidth + j

    // The order of the visits.
    bool operator<(const Candidate& other) const {
      if (plan != other.plan) return plan > other.plan;
      if (score != other.score) return score > other.score;
      return entry < other.entry;
    }
  };

  void BuildKernel(const float* scores, double tau, double* kernel) const;
  void Dykstra(const Block<kWidth>& block);
  void Balance();
  void FillByPlan(const float* scores, LineSet<kWidth>* kept);
  void VisitBand(double least, double above, const float* scores, LineSet<kWidth>* kept);
  bool AllFit(const Candidate* first, const Candidate* last) const;
  bool Swap(const float* scores, LineSet<kWidth>* kept);

  int FirstWithRoom(const int* room) const {
    return static_cast<int>(std::find_if(room, room + m_, [](int r) { return r > 0; }) - room);
  }

  const int n_, m_;
  const TsenorOptions options_;
  alignas(64) double kernel_[kWidth * kWidth];    // K = exp(tau w), at last S
  alignas(64) double kernel_t_[kWidth * kWidth];  // its transpose
  TsenorScales<kWidth> rows_, columns_;           // u, v
  Candidate candidates_[kWidth * kWidth];
  int row_room_[kWidth], column_room_[kWidth];  // entries that the line may still keep
};

template <int kWidth>
bool Tsenor<kWidth>::Solve(const Block<kWidth>& block, LineSet<kWidth>* kept) {
  Dykstra(block);
  FillByPlan(block.scores, kept);
  for (int swap = 0; swap < options_.swaps && Swap(block.scores, kept); ++swap) {
  }
  return FirstWithRoom(row_room_) == m_;
}

// exp(tau w - options.tau / 2): the first projection removes the common factor, and without it the
// powers for the greatest tau overflow.
template <int kWidth>
void Tsenor<kWidth>::BuildKernel(const float* scores, double tau, double* kernel) const {
  const Lanes<double, kWidth> d;
  const hn::Rebind<float, decltype(d)> as_float;
  const auto factor = hn::Set(d, tau), offset = hn::Set(d, options_.tau / 2);
  for (int k = 0; k < m_ * kWidth; k += hn::MaxLanes(d)) {
    const auto score = hn::PromoteTo(d, hn::Load(as_float, scores + k));
    hn::Store(Exp(d, hn::Sub(hn::Mul(factor, score), offset)), d, kernel + k);
  }
}

// Moves a power of two from the scales u to v or back, which changes no bit of u K v: they would
// otherwise drift apart, towards the ends of float64.
template <int kWidth>
void Tsenor<kWidth>::Balance() {
  const auto [least, greatest] = std::minmax_element(rows_.scale, rows_.scale + m_);
  const int middle = (std::ilogb(*least) + std::ilogb(*greatest)) / 2;
  rows_.Multiply(std::ldexp(1.0, -middle));
  columns_.Multiply(std::ldexp(1.0, middle));
}

// Dykstra's algorithm; leaves S = min(u K v, 1) in kernel_.
template <int kWidth>
void Tsenor<kWidth>::Dykstra(const Block<kWidth>& block) {
  const float greatest = *std::max_element(block.scores, block.scores + m_ * kWidth);
  const double tau = greatest > 0 ? options_.tau / greatest : 0.0;
  BuildKernel(block.scores, tau, kernel_);
  BuildKernel(block.scores_t, tau, kernel_t_);
  rows_.Reset();
  columns_.Reset();
  for (int iteration = 0; iteration < options_.iterations; ++iteration) {
    ProjectOntoSums<Lines::kRows>(kernel_t_, columns_, rows_, m_, n_);
    ProjectOntoSums<Lines::kColumns>(kernel_, rows_, columns_, m_, n_);
    if (iteration % kBalancePeriod == 0) Balance();
  }
  const Lanes<double, kWidth> d;
  for (int i = 0; i < m_; ++i) {
    for (int lane = 0; lane < kWidth; lane += hn::MaxLanes(d)) {
      double* at = kernel_ + i * kWidth + lane;
      // u v first: the product with K then loses nothing that is above 1e-199.
      const auto scale = hn::Mul(hn::Set(d, rows_.scale[i]), hn::Load(d, columns_.scale + lane));
      hn::Store(hn::Min(hn::Mul(hn::Load(d, at), scale), hn::Set(d, 1.0)), d, at);
    }
  }
}

// Visits all entries, by bands of S. Few are ever put in order: at the cap mostly all fit, and
// before long most others lie in a full line.
template <int kWidth>
void Tsenor<kWidth>::FillByPlan(const float* scores, LineSet<kWidth>* kept) {
  std::fill_n(kept, m_, LineSet<kWidth>());
  std::fill_n(row_room_, m_, n_);
  std::fill_n(column_room_, m_, n_);
  // The least S of each band: the cap, then ever wider steps to the end of the range.
  constexpr double kBands[] = {1, 0x1p-1, 0x1p-4, 0x1p-16, 0x1p-64, 0x1p-256, 0};
  double above = 2;
  for (const double least : kBands) {
    if (FirstWithRoom(row_room_) == m_) return;
    VisitBand(least, above, scores, kept);
    above = least;
  }
}

// Visits the entries with least <= S < above. They are put in order unless all fit anyway.
template <int kWidth>
void Tsenor<kWidth>::VisitBand(double least, double above, const float* scores,
                               LineSet<kWidth>* kept) {
  const Lanes<double, kWidth> d;
  LineSet<kWidth> open;
  for (int j = 0; j < m_; ++j) {
    if (column_room_[j] > 0) open.insert(j);
  }
  Candidate* last = candidates_;
  for (int i = 0; i < m_; ++i) {
    if (row_room_[i] == 0) continue;
    LineSet<kWidth> columns;
    for (int lane = 0; lane < kWidth; lane += hn::MaxLanes(d)) {
      const auto plan = hn::Load(d, kernel_ + i * kWidth + lane);
      columns.InsertLanes(
          d, hn::And(hn::Ge(plan, hn::Set(d, least)), hn::Lt(plan, hn::Set(d, above))), lane);
    }
    columns = columns & open;
    for (int j; (j = columns.PopFirst()) >= 0;) {
      const int entry = i * kWidth + j;
      *last++ = {kernel_[entry], scores[entry], entry};
    }
  }
  if (!AllFit(candidates_, last)) std::sort(candidates_, last);
  for (const Candidate* next = candidates_; next != last; ++next) {
    const int row = next->entry / kWidth, column = next->entry % kWidth;
    if (row_room_[row] == 0 || column_room_[column] == 0) continue;
    --row_room_[row];
    --column_room_[column];
    kept[row].insert(column);
  }
}

template <int kWidth>
bool Tsenor<kWidth>::AllFit(const Candidate* first, const Candidate* last) const {
  int row_room[kWidth], column_room[kWidth];
  std::copy_n(row_room_, m_, row_room);
  std::copy_n(column_room_, m_, column_room);
  bool fit = true;
  for (; first != last; ++first) {
    fit &= --row_room[first->entry / kWidth] >= 0;
    fit &= --column_room[first->entry % kWidth] >= 0;
  }
  return fit;
}

// Serves the first row i and column j with room by the best swap: keeps (i, j') and (i', j), drops
// (i', j'). False if there is no such line, or no swap for it.
template <int kWidth>
bool Tsenor<kWidth>::Swap(const float* scores, LineSet<kWidth>* kept) {
  const int i = FirstWithRoom(row_room_), j = FirstWithRoom(column_room_);
  if (i == m_ || j == m_) return false;
  LineSet<kWidth> only_j;
  only_j.insert(j);
  double best_gain = -std::numeric_limits<double>::infinity();
  int best_row = -1, best_column = -1;
  for (int row = 0; row < m_; ++row) {
    if (!(kept[row] & only_j).empty()) continue;
    LineSet<kWidth> columns = kept[row] & ~kept[i];
    for (int column; (column = columns.PopFirst()) >= 0;) {
      const double gain = static_cast<double>(scores[i * kWidth + column]) +
                          scores[row * kWidth + j] - scores[row * kWidth + column];
      if (gain <= best_gain) continue;
      best_gain = gain;
      best_row = row;
      best_column = column;
    }
  }
  if (best_row < 0) return false;
  kept[best_row].erase(best_column);
  kept[best_row].insert(j);
  kept[i].insert(best_column);
  --row_room_[i];
  --column_room_[j];
  return true;
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_TSENOR_INL_H_
