#include "solver/scores.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace tsenor {
namespace {

// Shifts the 5 exponent and 10 fraction bits into place; the product with 2^112 corrects the
// exponent's bias and is exact, for subnormals too. Infinity and NaN get the float32 exponent by
// hand.
float Float16ToFloat(uint16_t half) {
  const uint32_t magnitude = static_cast<uint32_t>(half & 0x7fff) << 13;
  const uint32_t finite = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
  const bool special = (half & 0x7c00) == 0x7c00;
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  return std::bit_cast<float>(sign | (special ? magnitude | 0x7f800000 : finite));
}

float BFloat16ToFloat(uint16_t upper) {
  return std::bit_cast<float>(static_cast<uint32_t>(upper) << 16);
}

}  // namespace

void LoadElements(DType dtype, const void* elements, int64_t first, int64_t count, float* out) {
  switch (dtype) {
    case DType::kFloat32: {
      std::memcpy(out, static_cast<const float*>(elements) + first, count * sizeof(float));
      return;
    }
    case DType::kFloat16: {
      const auto* source = static_cast<const uint16_t*>(elements) + first;
      for (int64_t k = 0; k < count; ++k) out[k] = Float16ToFloat(source[k]);
      return;
    }
    case DType::kBFloat16: {
      const auto* source = static_cast<const uint16_t*>(elements) + first;
      for (int64_t k = 0; k < count; ++k) out[k] = BFloat16ToFloat(source[k]);
      return;
    }
  }
}

void LoadScores(const Problem& problem, const Tile& tile, int64_t row, int64_t column,
                int64_t count, float* scores) {
  const int64_t existing =
      row < tile.rows ? std::clamp(tile.columns - column, int64_t{0}, count) : 0;
  if (existing > 0) {
    LoadElements(problem.dtype, tile.weights, row * tile.row_stride + column, existing, scores);
  }
  switch (problem.score_kind) {
    case ScoreKind::kMagnitude:
      for (int64_t k = 0; k < existing; ++k) scores[k] = std::fabs(scores[k]);
      break;
    case ScoreKind::kMagnitudeTimesColumnNorm: {
      const float* norms = tile.column_norms + column;
      for (int64_t k = 0; k < existing; ++k) scores[k] = std::fabs(scores[k]) * norms[k];
      break;
    }
    case ScoreKind::kGiven:
      break;
  }
  std::fill(scores + existing, scores + count, 0.0f);
}

}  // namespace tsenor
