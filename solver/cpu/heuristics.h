// The methods without sweeps: greedy, random and one-sided masks (solver/README.md, "Methods").
#pragma once

#include <hwy/contrib/sort/vqsort.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "solver/options.h"
#include "solver/problem.h"
#include "solver/random_masks.h"

namespace tsenor::cpu {

// Masks blocks by Method::kTwoApprox, kBiNm, kMaxRandom, kRowNm or kColumnNm; with another method
// it may be made, but not called. Entry (i, j) of a block lies at i * kWidth + j.
//
// Its memory is kept between blocks, so that none allocates. Integers and comparisons of floats
// only: the same bits everywhere.
//
// Not thread-safe: one per thread.
template <int kWidth>
class Heuristics {
 public:
  // REQUIRES: ValidateProblem() accepts the problem, pattern.m <= kWidth.
  explicit Heuristics(const Problem& problem);

  // Sets kept[] to 1 or 0. False if some line that the method constrains keeps fewer than n
  // entries; none keeps more. kRowNm and kColumnNm also set the m potentials of either side, in
  // units of the scores; the other methods leave them alone.
  //
  // REQUIRES: scores finite, >= +0, normalised as in Block (cpu/block.h). 0 < n < m, but for
  // kRowNm and kColumnNm.
  bool Solve(const float* scores, uint8_t* kept, double* row_potential, double* column_potential);

 private:
  void KeepGreedily(const float* scores, uint8_t* kept);
  void KeepBestRandomMask(const float* scores, uint8_t* kept);
  void AddRowSums(const float* scores, int row);
  float KeepGreatest(const float* scores, int stride, uint8_t* kept) const;
  bool IsFull(const uint8_t* kept) const;

  const Method method_;
  const int n_;
  const int m_;
  std::vector<uint64_t> keys_;                       // kTwoApprox: entries to be sorted
  const hwy::Sorter sorter_;                         // kTwoApprox: holds the sort's buffers
  std::shared_ptr<const RandomMasks> random_masks_;  // kMaxRandom
  std::vector<int64_t> sums_;  // kMaxRandom: what each mask keeps, in quanta (solver/quantise.h)
};

}  // namespace tsenor::cpu
