// Seeded weights of every kind that has ever troubled a solver.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tsenor {

enum class WeightKind {
  kGaussian,
  kStudentT,         // 3 degrees of freedom
  kColumnScaled,     // Gaussian, each column times a log-normal factor
  kRowScaled,        // Gaussian, each row times one
  kRowColumnScaled,  // Gaussian, each row and each column times one
  kInt8,             // rounded to -127 .. 127
  kInt2,             // 0 .. 3
  kSparse,           // Gaussian, 70 % zeros
  kConstant,         // all 1
  kOutlier,          // Gaussian, one entry 1e6
  kSubnormal,        // Gaussian times 1e-41
  kZero,
  kGeometric,    // 2^-(i + j)
  kPareto,       // exponent 1/2: not even the mean is finite
  kBFloat16,     // Gaussian rounded to 8 significant bits
  kHugeEntries,  // Gaussian, 0.2 % of the entries times 1000
  kHugeColumns,  // Gaussian, 1 % of the columns times 1000
  kHugeRow,      // Gaussian, one row times 1000
};

inline constexpr WeightKind kAllWeightKinds[] = {
    WeightKind::kGaussian,        WeightKind::kStudentT, WeightKind::kColumnScaled,
    WeightKind::kRowScaled,       WeightKind::kRowColumnScaled, WeightKind::kInt8,     WeightKind::kInt2,
    WeightKind::kSparse,          WeightKind::kConstant, WeightKind::kOutlier,
    WeightKind::kSubnormal,       WeightKind::kZero,     WeightKind::kGeometric,
    WeightKind::kPareto,          WeightKind::kBFloat16, WeightKind::kHugeEntries,
    WeightKind::kHugeColumns,     WeightKind::kHugeRow,
};

std::string Name(WeightKind kind);

// A row-major matrix; the same for the same arguments. Signs are random where the kind has any.
std::vector<float> GenerateWeights(WeightKind kind, int64_t rows, int64_t columns, uint64_t seed);

// `count` blocks of m x m side by side, m rows, each generated on its own.
std::vector<float> GenerateBlocks(WeightKind kind, int m, int64_t count, uint64_t seed);

// The same with each block's magnitudes rounded to whole quanta of it (solver/quantise.h): every
// backend finds the integer optimum of such scores.
std::vector<float> GenerateQuantisedBlocks(WeightKind kind, int m, int64_t count, uint64_t seed);

}  // namespace tsenor
