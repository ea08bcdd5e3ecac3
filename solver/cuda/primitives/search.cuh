// The best transposable mask of one 4 x 4 block, by trying all: 90 for 2:4, 24 for 1:4 and 3:4.
//
// A mask is 16 bits, row i in bits 4 i to 4 i + 3. Loops are unrolled, so that everything lies in
// the registers of one thread. The mathematics is that of solver/cpu/exhaustive_solver-inl.h.
#pragma once

#include <cstdint>

namespace tsenor::cuda {

// A mask, or a part of one, and the sum that it was found by.
struct Candidate {
  double sum;
  uint32_t mask;
};

inline __device__ Candidate Better(const Candidate& x, const Candidate& y) {
  return y.sum > x.sum ? y : x;
}

inline __device__ Candidate Both(const Candidate& x, const Candidate& y) {
  return {x.sum + y.sum, x.mask | y.mask};
}

// The best split for rows a and b that are complements; `split` as in BestHalf().
inline __device__ Candidate BestComplement(const double (&split)[4][3], int a, int b) {
  // The ways to split the columns in two pairs: as the mask of the pair with column 0.
  constexpr uint32_t kSplits[3] = {0b0011, 0b0101, 0b1001};
  Candidate best = {-1, 0};
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    const double difference = split[a][k] - split[b][k];
    const uint32_t for_a = difference < 0 ? 15 - kSplits[k] : kSplits[k];
    best = Better(best, {fabs(difference), for_a << 4 * a | (15 - for_a) << 4 * b});
  }
  return best;
}

// 2:4. In every such mask two rows are complements of each other, and so are the other two: four
// rows of two entries fill every column twice, so if no two rows were complements, any two would
// share a column, and six shared columns do not fit into four columns filled twice. So the mask is
// one of three pairings of the rows and, for each pair, one of three splits of the columns and
// which row gets which half. The sum is that of the kept less that of the dropped.
inline __device__ Candidate BestHalf(const double (&row)[4][4]) {
  double split[4][3];  // of each row: what the half with column 0 has more than the other
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const double difference01 = row[i][0] - row[i][1], difference23 = row[i][2] - row[i][3];
    split[i][0] = (row[i][0] + row[i][1]) - (row[i][2] + row[i][3]);
    split[i][1] = difference01 + difference23;
    split[i][2] = difference01 - difference23;
  }
  const Candidate best01 = Both(BestComplement(split, 0, 1), BestComplement(split, 2, 3));
  const Candidate best02 = Both(BestComplement(split, 0, 2), BestComplement(split, 1, 3));
  const Candidate best03 = Both(BestComplement(split, 0, 3), BestComplement(split, 1, 2));
  return Better(Better(best01, best02), best03);
}

inline __device__ Candidate BestOnColumns(const double (&row)[4][4], int a, int b, int p, int q) {
  return Better({row[a][p] + row[b][q], 1u << (4 * a + p) | 1u << (4 * b + q)},
                {row[a][q] + row[b][p], 1u << (4 * a + q) | 1u << (4 * b + p)});
}

// 1:4: the columns of rows 0 and 1, in either order, and the others for rows 2 and 3.
inline __device__ Candidate BestPermutation(const double (&row)[4][4]) {
  constexpr int kColumns[6][4] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {0, 3, 1, 2},
                                  {1, 2, 0, 3}, {1, 3, 0, 2}, {2, 3, 0, 1}};
  Candidate best;
#pragma unroll
  for (int k = 0; k < 6; ++k) {
    const auto& [p, q, r, s] = kColumns[k];
    const Candidate both = Both(BestOnColumns(row, 0, 1, p, q), BestOnColumns(row, 2, 3, r, s));
    best = k == 0 ? both : Better(best, both);
  }
  return best;
}

// 3:4. What is dropped is a permutation: the one of the least sum. Leaves the scores negated.
inline __device__ Candidate BestOfThree(double (&row)[4][4], double total) {
#pragma unroll
  for (auto& scores : row) {
#pragma unroll
    for (double& score : scores) score = -score;
  }
  const Candidate dropped = BestPermutation(row);
  return {total + dropped.sum, dropped.mask ^ 0xffff};
}

// The best n:4 mask and its value; `total` is the sum of all scores, which may be changed.
template <int kN>
__device__ Candidate BestMask(double (&row)[4][4], double total) {
  if constexpr (kN == 1) {
    return BestPermutation(row);
  } else if constexpr (kN == 3) {
    return BestOfThree(row, total);
  } else {
    const Candidate best = BestHalf(row);
    return {0.5 * (total + best.sum), best.mask};
  }
}

}  // namespace tsenor::cuda
