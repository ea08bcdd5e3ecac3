// One matrix and everything that a solver answers for it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "solver/certificate.h"
#include "solver/problem.h"
#include "solver/result.h"
#include "solver/solver.h"

namespace tsenor {

// Owns the outputs of one matrix. Thread-compatible.
struct SolvedMatrix {
  Pattern pattern;
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<uint8_t> mask;           // as in Tile::mask, without gaps between the rows
  std::vector<SolveStats> block_rows;  // as in Tile::stats
  std::vector<double> potentials;      // as in Tile::potentials

  bool Keeps(int64_t row, int64_t column) const;
  // The block in row `block_row` and column `block_column` of blocks: m x m, 0 or 1, entries beyond
  // the matrix 0.
  std::vector<uint8_t> KeptOfBlock(int64_t block_row, int64_t block_column) const;
  // Its 2m potentials.
  std::span<const double> PotentialsOfBlock(int64_t block_row, int64_t block_column) const;
  SolveStats Total() const;
};

// Solves `weights` (of problem.dtype, row-major, no gaps) in one tile. Aborts on an error, with its
// message.
SolvedMatrix SolveWholeMatrix(Solver& solver, const Problem& problem, const void* weights,
                              int64_t rows, int64_t columns, const float* column_norms = nullptr);

// What the mask and the potentials are worth (solver/certificate.h), whatever the solver says.
MaskCertificate CertifyWholeMatrix(const Problem& problem, const void* weights,
                                   SolvedMatrix solved);

// The block of a float32 matrix, extended by zeros, as magnitudes.
std::vector<float> MagnitudesOfBlock(std::span<const float> weights, int64_t rows, int64_t columns,
                                     int m, int64_t block_row, int64_t block_column);

}  // namespace tsenor
