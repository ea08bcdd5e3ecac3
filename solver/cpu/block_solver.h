// Solves blocks one after another in one thread's working memory.
#pragma once

#include <cstdint>
#include <memory>

#include "solver/cpu/block.h"
#include "solver/cpu/exact_finish.h"
#include "solver/problem.h"
#include "solver/result.h"

namespace tsenor::cpu {

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

}  // namespace tsenor::cpu
