#include "tests/support/generators.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <span>

#include "tests/support/block_arithmetic.h"

namespace tsenor {
namespace {

// Draws single entries. Not thread-safe: belongs to one call.
class EntrySource {
 public:
  EntrySource(WeightKind kind, int64_t rows, int64_t columns, uint64_t seed)
      : kind_(kind), random_(seed * 1000003 + static_cast<uint64_t>(kind)) {
    for (int64_t i = 0; i < rows; ++i) row_factors_.push_back(std::exp(gaussian_(random_)));
    for (int64_t j = 0; j < columns; ++j) column_factors_.push_back(std::exp(gaussian_(random_)));
    if (kind == WeightKind::kHugeColumns) {
      for (int64_t j = 0; j < columns; ++j) huge_columns_.push_back(uniform_(random_) < 0.01);
    }
    if (kind == WeightKind::kHugeRow) huge_row_ = Index(rows);
  }

  double Draw(int64_t row, int64_t column) {
    const double g = gaussian_(random_);
    switch (kind_) {
      case WeightKind::kGaussian:
      case WeightKind::kOutlier:
        return g;
      case WeightKind::kStudentT:
        return std::student_t_distribution<double>(3)(random_);
      case WeightKind::kColumnScaled:
        return g * column_factors_[column];
      case WeightKind::kRowScaled:
        return g * row_factors_[row];
      case WeightKind::kRowColumnScaled:
        return g * row_factors_[row] * column_factors_[column];
      case WeightKind::kInt8:
        return std::clamp(std::round(g * 40), -127.0, 127.0);
      case WeightKind::kInt2:
        return std::min(3.0, std::round(std::fabs(g) * 2));
      case WeightKind::kSparse:
        return uniform_(random_) < 0.7 ? 0.0 : g;
      case WeightKind::kConstant:
        return 1;
      case WeightKind::kSubnormal:
        return g * 1e-41;
      case WeightKind::kZero:
        return 0;
      case WeightKind::kGeometric:
        return std::ldexp(1.0, static_cast<int>(-(row + column)));
      case WeightKind::kPareto:
        return std::pow(1 - uniform_(random_), -2.0);
      case WeightKind::kBFloat16: {
        int exponent = 0;
        const double fraction = std::frexp(g, &exponent);
        return std::ldexp(std::nearbyint(std::ldexp(fraction, 8)), exponent - 8);
      }
      case WeightKind::kHugeEntries:
        return uniform_(random_) < 0.002 ? g * kHuge : g;
      case WeightKind::kHugeColumns:
        return huge_columns_[column] ? g * kHuge : g;
      case WeightKind::kHugeRow:
        return row == huge_row_ ? g * kHuge : g;
    }
    return 0;
  }

  int64_t Index(int64_t count) {
    return std::uniform_int_distribution<int64_t>(0, count - 1)(random_);
  }

 private:
  static constexpr double kHuge = 1000;

  const WeightKind kind_;
  std::mt19937_64 random_;
  std::normal_distribution<double> gaussian_;
  std::uniform_real_distribution<double> uniform_;
  std::vector<double> row_factors_;
  std::vector<double> column_factors_;
  std::vector<bool> huge_columns_;
  int64_t huge_row_ = 0;
};

// Block number `block` of GenerateBlocks(): row-major, m x m.
std::vector<float> GenerateBlock(WeightKind kind, int m, int64_t block, uint64_t seed) {
  return GenerateWeights(kind, m, m, seed * 7919 + block);
}

// Writes a row-major block as number `block` of the blocks side by side in `weights`.
void Place(std::span<const float> entries, int m, int64_t block, std::vector<float>& weights) {
  const int64_t columns = static_cast<int64_t>(weights.size()) / m;
  for (int i = 0; i < m; ++i) {
    std::copy_n(entries.begin() + i * m, m, weights.begin() + i * columns + block * m);
  }
}

}  // namespace

std::string Name(WeightKind kind) {
  switch (kind) {
    case WeightKind::kGaussian:
      return "Gaussian";
    case WeightKind::kStudentT:
      return "StudentT";
    case WeightKind::kColumnScaled:
      return "ColumnScaled";
    case WeightKind::kRowScaled:
      return "RowScaled";
    case WeightKind::kRowColumnScaled:
      return "RowColumnScaled";
    case WeightKind::kInt8:
      return "Int8";
    case WeightKind::kInt2:
      return "Int2";
    case WeightKind::kSparse:
      return "Sparse";
    case WeightKind::kConstant:
      return "Constant";
    case WeightKind::kOutlier:
      return "Outlier";
    case WeightKind::kSubnormal:
      return "Subnormal";
    case WeightKind::kZero:
      return "Zero";
    case WeightKind::kGeometric:
      return "Geometric";
    case WeightKind::kPareto:
      return "Pareto";
    case WeightKind::kBFloat16:
      return "BFloat16";
    case WeightKind::kHugeEntries:
      return "HugeEntries";
    case WeightKind::kHugeColumns:
      return "HugeColumns";
    case WeightKind::kHugeRow:
      return "HugeRow";
  }
  return "unknown";
}

std::vector<float> GenerateWeights(WeightKind kind, int64_t rows, int64_t columns, uint64_t seed) {
  EntrySource source(kind, rows, columns, seed);
  std::vector<float> weights;
  weights.reserve(rows * columns);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      weights.push_back(static_cast<float>(source.Draw(i, j)));
    }
  }
  if (kind == WeightKind::kOutlier) weights[source.Index(rows * columns)] = 1e6f;
  return weights;
}

std::vector<float> GenerateBlocks(WeightKind kind, int m, int64_t count, uint64_t seed) {
  std::vector<float> weights(m * m * count);
  for (int64_t block = 0; block < count; ++block) {
    Place(GenerateBlock(kind, m, block, seed), m, block, weights);
  }
  return weights;
}

std::vector<float> GenerateQuantisedBlocks(WeightKind kind, int m, int64_t count, uint64_t seed) {
  std::vector<float> weights(m * m * count);
  for (int64_t block = 0; block < count; ++block) {
    Place(RoundToQuanta(GenerateBlock(kind, m, block, seed)), m, block, weights);
  }
  return weights;
}

}  // namespace tsenor
