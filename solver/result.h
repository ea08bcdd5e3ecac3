// What was found, with its proof.
#pragma once

#include <cstdint>
#include <vector>

namespace tsenor {

// Result of one block, or the sum over the blocks of a block row, a matrix, a server's life.
// Sums are taken in the order of the blocks, so that they do not depend on threads or tiles.
struct SolveStats {
  double value = 0;  // sum of the scores kept, float64
  // Proven upper bound, in float64, on the value of any transposable mask; with Method::kRowNm and
  // kColumnNm on that of any mask of their own kind (solver/certificate.h). A mask that keeps fewer
  // than n entries in some lines is none of these, and may be worth more.
  double bound = 0;
  double score_sum = 0;  // sum of all scores, float64
  int64_t kept = 0;      // elements kept
  int64_t blocks = 0;
  int64_t blocks_proven = 0;  // exact line sums and relative gap <= kProvenGap
  // Some line of the (extended) block that the method constrains keeps fewer than n entries.
  int64_t blocks_short = 0;
  int64_t sweeps = 0;         // projections of all rows and all columns
  int64_t augmentations = 0;  // paths by which the exact finish changed the thresholded mask

  SolveStats& operator+=(const SolveStats& other) {
    value += other.value;
    bound += other.bound;
    score_sum += other.score_sum;
    kept += other.kept;
    blocks += other.blocks;
    blocks_proven += other.blocks_proven;
    blocks_short += other.blocks_short;
    sweeps += other.sweeps;
    augmentations += other.augmentations;
    return *this;
  }

  // (bound - value) / bound; 0 if the bound is 0. Never negative: rounding of the float64 sums may
  // leave the value of an optimal mask above its bound by some 1e-16, and a mask with blocks_short
  // may exceed it; both count as no gap.
  double relative_gap() const { return bound > value ? (bound - value) / bound : 0.0; }
};

// The answer for one whole matrix (SolveMatrix(), solver/solver.h).
struct MaskResult {
  std::vector<uint8_t> mask;  // rows * MaskRowBytes(columns); encoding as in Tile::mask
  SolveStats stats;
};

}  // namespace tsenor
