#include "solver/scores.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace tsenor {
namespace {

// A format narrower than float32, of one sign bit, some exponent bits and the rest fraction. A
// magnitude from kFirstSpecial on is infinity (fraction 0) or NaN.
template <typename Bits, int kExponentBits, uint32_t kFirstSpecial>
struct Format {
  // Moves exponent and fraction to where float32 has them; the product with a power of two corrects
  // the exponent's bias and is exact, for subnormals too. Infinity and NaN get the float32 exponent
  // by hand. No branches, so that loops over it vectorise.
  static float ToFloat(Bits bits) {
    constexpr int kToTheTop = 32 - 8 * sizeof(Bits);
    constexpr int kToExponent = 8 - kExponentBits;
    constexpr uint32_t kBias = (1u << (kExponentBits - 1)) - 1;
    constexpr float kCorrection = std::bit_cast<float>((127 + 127 - kBias) << 23);
    const uint32_t top = static_cast<uint32_t>(bits) << kToTheTop;
    const uint32_t magnitude = (top & 0x7fffffff) >> kToExponent;
    const uint32_t finite = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * kCorrection);
    const bool special = magnitude >= kFirstSpecial << kToTheTop >> kToExponent;
    return std::bit_cast<float>((top & 0x80000000) | (special ? magnitude | 0x7f800000 : finite));
  }
};

using Float16 = Format<uint16_t, 5, 0x7c00>;
using BFloat16 = Format<uint16_t, 8, 0x7f80>;
using Float8E4M3 = Format<uint8_t, 4, 0x7f>;
using Float8E5M2 = Format<uint8_t, 5, 0x7c>;

template <typename Bits, int kExponentBits, uint32_t kFirstSpecial>
void Widen(Format<Bits, kExponentBits, kFirstSpecial> format, const void* elements, int64_t first,
           int64_t count, float* out) {
  const Bits* source = static_cast<const Bits*>(elements) + first;
  for (int64_t k = 0; k < count; ++k) out[k] = format.ToFloat(source[k]);
}

}  // namespace

void LoadElements(DType dtype, const void* elements, int64_t first, int64_t count, float* out) {
  switch (dtype) {
    case DType::kFloat32:
      std::memcpy(out, static_cast<const float*>(elements) + first, count * sizeof(float));
      return;
    case DType::kFloat16:
      return Widen(Float16(), elements, first, count, out);
    case DType::kBFloat16:
      return Widen(BFloat16(), elements, first, count, out);
    case DType::kFloat8E4M3:
      return Widen(Float8E4M3(), elements, first, count, out);
    case DType::kFloat8E5M2:
      return Widen(Float8E5M2(), elements, first, count, out);
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
