// From entropic transport plans to masks, as published (TSENOR, arXiv 2505.23949): greedy, then
// swaps.
//
// Compiled once for every instruction set (cpu/solve_rows.cc), hence the guard that can be flipped.
#if defined(SOLVER_CPU_ROUNDING_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SOLVER_CPU_ROUNDING_INL_H_
#undef SOLVER_CPU_ROUNDING_INL_H_
#else
#define SOLVER_CPU_ROUNDING_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <compare>
#include <cstdint>
#include <limits>

#include "solver/cpu/block.h"
#include "solver/cpu/entropic_plans-inl.h"
#include "solver/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

// Rounds plans, block by block; its memory is kept between blocks, so that none allocates.
//
// Not thread-safe: one per thread.
template <int kWidth>
class Rounding {
 public:
  // REQUIRES: 0 < n < m <= kWidth, swaps >= 0.
  Rounding(int n, int m, int swaps) : n_(n), m_(m), swaps_(swaps) {}

  // Rounds a plan S, as EntropicPlans::PlanOf() gives it, to a mask: kept[i] holds the columns that
  // row i keeps. Whether every line keeps exactly n entries: rounding and swaps may end short of
  // that, never beyond.
  //
  // Entries are visited by descending S; ties (entries at the cap, above all) by descending score,
  // then row by row. A swap serves the first row and the first column that have room; of equal
  // gains the first entry dropped, row by row, wins.
  bool Round(const int32_t* plan, const Block<kWidth>& block, LineSet<kWidth>* kept);

 private:
  // An entry of the block that the rounding may keep, in the order of the visits.
  struct Candidate {
    // From the top: -S, then the complement of the score's bits (scores are ordered like them).
    uint64_t key;
    int entry;  // i * kWidth + j

    auto operator<=>(const Candidate&) const = default;
  };

  void VisitBand(int32_t least, int32_t above, const int32_t* plan, const float* scores,
                 LineSet<kWidth>* kept);
  bool FindBand(int32_t least, int32_t above, const int32_t* plan, LineSet<kWidth>* band);
  bool Swap(const float* scores, LineSet<kWidth>* kept);

  int FirstWithRoom(const int32_t* room) const {
    return static_cast<int>(std::find_if(room, room + m_, [](int32_t r) { return r > 0; }) - room);
  }

  const int n_, m_, swaps_;
  Candidate candidates_[kWidth * kWidth];
  // Entries that a line may still keep, and those that it has in the current band; 0 beyond m.
  int32_t row_room_[kWidth], row_count_[kWidth];
  alignas(64) int32_t column_room_[kWidth] = {};
  alignas(64) int32_t column_count_[kWidth];
};

// Visits all entries, by bands of S. Few are ever put in order: at the cap mostly all fit, and
// before long most others lie in a full line.
template <int kWidth>
bool Rounding<kWidth>::Round(const int32_t* plan, const Block<kWidth>& block,
                             LineSet<kWidth>* kept) {
  std::fill_n(kept, m_, LineSet<kWidth>());
  std::fill_n(row_room_, m_, n_);
  std::fill_n(column_room_, m_, n_);
  // The least exponent of each band: the cap, then ever wider steps to the end of the range.
  constexpr int kBands[] = {0, -1, -4, -16, -64, -256, -kPlanRange};
  int32_t above = 1;
  for (const int exponent : kBands) {
    if (FirstWithRoom(row_room_) == m_) break;
    const int32_t least = exponent * (1 << kPlanFractionBits);
    VisitBand(least, above, plan, block.scores, kept);
    above = least;
  }
  for (int swap = 0; swap < swaps_ && Swap(block.scores, kept); ++swap) {
  }
  return FirstWithRoom(row_room_) == m_;
}

// Visits the entries with least <= S < above. They are put in order unless all fit anyway.
template <int kWidth>
void Rounding<kWidth>::VisitBand(int32_t least, int32_t above, const int32_t* plan,
                                 const float* scores, LineSet<kWidth>* kept) {
  LineSet<kWidth> band[kWidth];
  if (FindBand(least, above, plan, band)) {
    for (int i = 0; i < m_; ++i) {
      kept[i] |= band[i];
      row_room_[i] -= row_count_[i];
      column_room_[i] -= column_count_[i];
    }
    return;
  }
  Candidate* last = candidates_;
  for (int i = 0; i < m_; ++i) {
    for (int j; (j = band[i].PopFirst()) >= 0;) {
      const int entry = i * kWidth + j;
      const uint64_t share = -plan[entry];
      *last++ = {share << 32 | ~std::bit_cast<uint32_t>(scores[entry]), entry};
    }
  }
  std::sort(candidates_, last);
  for (const Candidate* next = candidates_; next != last; ++next) {
    const int row = next->entry / kWidth, column = next->entry % kWidth;
    if (row_room_[row] == 0 || column_room_[column] == 0) continue;
    --row_room_[row];
    --column_room_[column];
    kept[row].insert(column);
  }
}

// band[i]: the columns j with least <= S_ij < above, if row and column have room. Counts them by
// row and by column. True if there is room for all.
template <int kWidth>
bool Rounding<kWidth>::FindBand(int32_t least, int32_t above, const int32_t* plan,
                                LineSet<kWidth>* band) {
  const Lanes<int32_t, kWidth> d;
  const auto low = hn::Set(d, least), high = hn::Set(d, above);
  bool fit = true;
  for (int lane = 0; lane < kWidth; lane += hn::MaxLanes(d)) {
    const auto room = hn::Load(d, column_room_ + lane);
    const auto open = hn::Gt(room, hn::Zero(d));
    auto count = hn::Zero(d);
    for (int i = 0; i < m_; ++i) {
      if (row_room_[i] == 0) continue;
      const auto share = hn::Load(d, plan + i * kWidth + lane);
      // No integer Ge on AVX-512 (Highway 1.0.3).
      const auto found = hn::AndNot(hn::Lt(share, low), hn::And(open, hn::Lt(share, high)));
      band[i].InsertLanes(d, found, lane);
      count = hn::Sub(count, hn::VecFromMask(d, found));  // true is -1
    }
    hn::Store(count, d, column_count_ + lane);
    fit &= hn::AllFalse(d, hn::Gt(count, room));
  }
  for (int i = 0; i < m_; ++i) {
    row_count_[i] = band[i].count();
    fit &= row_count_[i] <= row_room_[i];
  }
  return fit;
}

// Serves the first row i and column j with room by the best swap: keeps (i, j') and (i', j), drops
// (i', j'). False if there is no such line, or no swap for it.
template <int kWidth>
bool Rounding<kWidth>::Swap(const float* scores, LineSet<kWidth>* kept) {
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

#endif  // SOLVER_CPU_ROUNDING_INL_H_
