// Blocks of 4 x 4: every mask is tried, one block in each vector lane.
//
// Compiled once for every instruction set (cpu/solve_rows.cc), hence the guard that can be flipped.
#if defined(SOLVER_CPU_EXHAUSTIVE_SOLVER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SOLVER_CPU_EXHAUSTIVE_SOLVER_INL_H_
#undef SOLVER_CPU_EXHAUSTIVE_SOLVER_INL_H_
#else
#define SOLVER_CPU_EXHAUSTIVE_SOLVER_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "solver/cpu/lanes-inl.h"
#include "solver/cpu/load-inl.h"
#include "solver/mask_bits.h"
#include "solver/problem.h"
#include "solver/result.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

// Finds the best of all transposable masks of neighbouring 4 x 4 blocks: 90 for 2:4, 24 for 1:4 and
// 3:4. Scores are summed and compared in float64, so the search is the proof: the bound is the
// value. A mask is 16 bits, row i in bits 4 i to 4 i + 3.
//
// Not thread-safe: one per thread.
class ExhaustiveSolver {
 public:
  static constexpr int kM = 4;
  static constexpr int kLanes = hn::MaxLanes(hn::CappedTag<float, 16>());

  // `problem` must outlive the solver. REQUIRES: ValidateProblem() accepts it; Method::kOptimal,
  // pattern.m = 4, 0 < pattern.n < 4.
  explicit ExhaustiveSolver(const Problem& problem) : problem_(problem) {}

  // Solves `count` <= kLanes blocks whose first entries are (row, column + 4 k), and sets the bits
  // of their kept entries in the tile's mask, whose rows the caller has cleared. Adds their stats
  // to `total`.
  void Solve(const Tile& tile, int64_t row, int64_t column, int count, SolveStats& total) {
    LoadRows(problem_, tile, row, column, kM, count * kM, scores_, kLanes * kM);
    if (problem_.pattern.n == 1) SearchAll<1>();
    if (problem_.pattern.n == 2) SearchAll<2>();
    if (problem_.pattern.n == 3) SearchAll<3>();
    Store(tile, row, column, count, total);
  }

 private:
  using D = hn::CappedTag<double, kLanes>;
  using V = hn::Vec<D>;
  using DI = hn::RebindToSigned<D>;
  using Masks = hn::Vec<DI>;

  // Of each lane the mask so far, and the sum that it was found by.
  struct Candidate {
    V sum;
    Masks mask;
  };

  static HWY_INLINE Candidate Better(const Candidate& x, const Candidate& y) {
    const auto y_is_better = hn::Gt(y.sum, x.sum);
    return {hn::Max(x.sum, y.sum),
            hn::IfThenElse(hn::RebindMask(DI(), y_is_better), y.mask, x.mask)};
  }

  static HWY_INLINE Candidate Both(const Candidate& x, const Candidate& y) {
    return {hn::Add(x.sum, y.sum), hn::Or(x.mask, y.mask)};
  }

  // The ways to split the columns of a row in two pairs: as the mask of the pair with column 0.
  static constexpr int kSplits[3] = {0b0011, 0b0101, 0b1001};

  template <int kN>
  void SearchAll();
  template <int kN>
  void Search(int lane);
  static Candidate BestHalf(const V (&row)[kM][kM]);
  static Candidate BestComplement(const V (&split)[kM][3], int a, int b);
  static Candidate BestPermutation(const V (&row)[kM][kM]);
  static Candidate BestOnColumns(const V (&row)[kM][kM], int a, int b, int p, int q);
  void Store(const Tile& tile, int64_t row, int64_t column, int count, SolveStats& total) const;

  const Problem& problem_;
  alignas(64) float scores_[kM * kM * kLanes] = {};  // as they lie in the tile
  alignas(64) double value_[kLanes], score_sum_[kLanes];
  alignas(64) uint16_t mask_[kLanes];
};

template <int kN>
void ExhaustiveSolver::SearchAll() {
  for (int lane = 0; lane < kLanes; lane += hn::MaxLanes(D())) Search<kN>(lane);
}

// The blocks from number `lane` on, as many as float64 has lanes.
template <int kN>
void ExhaustiveSolver::Search(int lane) {
  const D d;
  const DI di;
  const hn::Rebind<float, D> df;
  V row[kM][kM];
  V sum = hn::Zero(d);
  for (int i = 0; i < kM; ++i) {
    hn::Vec<decltype(df)> score[kM];
    hn::LoadInterleaved4(df, scores_ + (i * kLanes + lane) * kM, score[0], score[1], score[2],
                         score[3]);
    for (int j = 0; j < kM; ++j) {
      row[i][j] = hn::PromoteTo(d, score[j]);
      sum = hn::Add(sum, row[i][j]);
    }
  }
  V value;
  Masks mask;
  if constexpr (kN == 2) {
    const Candidate best = BestHalf(row);
    value = hn::Mul(hn::Add(sum, best.sum), hn::Set(d, 0.5));
    mask = best.mask;
  } else if constexpr (kN == 1) {
    const Candidate best = BestPermutation(row);
    value = best.sum;
    mask = best.mask;
  } else {
    // What is dropped is a permutation: the one of the least sum.
    for (auto& scores : row) {
      for (V& score : scores) score = hn::Neg(score);
    }
    const Candidate dropped = BestPermutation(row);
    value = hn::Add(sum, dropped.sum);
    mask = hn::Xor(dropped.mask, hn::Set(di, 0xffff));
  }
  hn::Store(value, d, value_ + lane);
  hn::Store(sum, d, score_sum_ + lane);
  const hn::Rebind<uint16_t, D> d16;
  hn::Store(hn::TruncateTo(d16, hn::BitCast(hn::RebindToUnsigned<D>(), mask)), d16, mask_ + lane);
}

// 2:4. In every such mask two rows are complements of each other, and so are the other two: four
// rows of two entries fill every column twice, so if no two rows were complements, any two would
// share a column, and six shared columns do not fit into four columns filled twice. So the mask is
// one of three pairings of the rows and, for each pair, one of three splits of the columns and
// which row gets which half. The sum is that of the kept less that of the dropped.
inline ExhaustiveSolver::Candidate ExhaustiveSolver::BestHalf(const V (&row)[kM][kM]) {
  V split[kM][3];  // of each row: what the half with column 0 has more than the other
  for (int i = 0; i < kM; ++i) {
    const V sum01 = hn::Add(row[i][0], row[i][1]), sum23 = hn::Add(row[i][2], row[i][3]);
    const V difference01 = hn::Sub(row[i][0], row[i][1]);
    const V difference23 = hn::Sub(row[i][2], row[i][3]);
    split[i][0] = hn::Sub(sum01, sum23);
    split[i][1] = hn::Add(difference01, difference23);
    split[i][2] = hn::Sub(difference01, difference23);
  }
  const Candidate best01 = Both(BestComplement(split, 0, 1), BestComplement(split, 2, 3));
  const Candidate best02 = Both(BestComplement(split, 0, 2), BestComplement(split, 1, 3));
  const Candidate best03 = Both(BestComplement(split, 0, 3), BestComplement(split, 1, 2));
  return Better(Better(best01, best02), best03);
}

// The best split for rows a and b that are complements.
inline ExhaustiveSolver::Candidate ExhaustiveSolver::BestComplement(const V (&split)[kM][3], int a,
                                                                    int b) {
  const D d;
  const DI di;
  V most = hn::Zero(d), signed_most = hn::Zero(d);
  Masks mask = hn::Zero(di);
  for (int k = 0; k < 3; ++k) {
    const V difference = hn::Sub(split[a][k], split[b][k]), size = hn::Abs(difference);
    const Masks split_mask = hn::Set(di, kSplits[k] << 4 * a | (15 - kSplits[k]) << 4 * b);
    if (k == 0) {
      most = size, signed_most = difference, mask = split_mask;
      continue;
    }
    const auto better = hn::Gt(size, most);
    most = hn::Max(size, most);
    signed_most = hn::IfThenElse(better, difference, signed_most);
    mask = hn::IfThenElse(hn::RebindMask(di, better), split_mask, mask);
  }
  const auto swapped = hn::RebindMask(di, hn::Lt(signed_most, hn::Zero(d)));
  const Masks both_rows = hn::Set(di, 15 << 4 * a | 15 << 4 * b);
  return {most, hn::Xor(mask, hn::IfThenElseZero(swapped, both_rows))};
}

// 1:4: the columns of rows 0 and 1, in either order, and the others for rows 2 and 3.
inline ExhaustiveSolver::Candidate ExhaustiveSolver::BestPermutation(const V (&row)[kM][kM]) {
  constexpr int kColumns[6][kM] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {0, 3, 1, 2},
                                   {1, 2, 0, 3}, {1, 3, 0, 2}, {2, 3, 0, 1}};
  Candidate best = {hn::Zero(D()), hn::Zero(DI())};
  for (int k = 0; k < 6; ++k) {
    const auto& [p, q, r, s] = kColumns[k];
    const Candidate candidate =
        Both(BestOnColumns(row, 0, 1, p, q), BestOnColumns(row, 2, 3, r, s));
    best = k == 0 ? candidate : Better(best, candidate);
  }
  return best;
}

inline ExhaustiveSolver::Candidate ExhaustiveSolver::BestOnColumns(const V (&row)[kM][kM], int a,
                                                                   int b, int p, int q) {
  const DI di;
  return Better({hn::Add(row[a][p], row[b][q]), hn::Set(di, 1 << (4 * a + p) | 1 << (4 * b + q))},
                {hn::Add(row[a][q], row[b][p]), hn::Set(di, 1 << (4 * a + q) | 1 << (4 * b + p))});
}

// Row i of four neighbouring masks, side by side: 16 bits.
inline uint64_t RowOfFour(uint64_t masks, int i) {
  masks = masks >> 4 * i & 0x000f000f000f000f;
  masks = (masks | masks >> 12) & 0x000000ff000000ff;
  return (masks | masks >> 24) & 0xffff;
}

// Mask bits and stats, in the order of the blocks.
inline void ExhaustiveSolver::Store(const Tile& tile, int64_t row, int64_t column, int count,
                                    SolveStats& total) const {
  const int rows = static_cast<int>(std::min<int64_t>(kM, tile.rows - row));
  const int columns = static_cast<int>(std::min<int64_t>(count * kM, tile.columns - column));
  uint64_t masks[16 / 4] = {};
  std::memcpy(masks, mask_, sizeof(mask_));
  const uint64_t existing = columns == 64 ? ~uint64_t{0} : (uint64_t{1} << columns) - 1;
  for (int i = 0; i < rows; ++i) {
    uint64_t kept = 0;
    for (int k = 0; k < 4; ++k) kept |= RowOfFour(masks[k], i) << 16 * k;
    kept &= existing;
    SetMaskBits(tile.mask + (row + i) * tile.mask_row_stride, column, &kept, columns);
    total.kept += std::popcount(kept);
  }
  for (int k = 0; k < count; ++k) {
    total.value += value_[k];
    total.bound += value_[k];
    total.score_sum += score_sum_[k];
  }
  total.blocks += count;
  total.blocks_proven += count;
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_EXHAUSTIVE_SOLVER_INL_H_
