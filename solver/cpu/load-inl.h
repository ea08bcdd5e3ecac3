// From the caller's elements to scores, in vectors.
//
// Compiled once for every instruction set (cpu/solve_rows.cc), hence the guard that can be flipped.
#if defined(SOLVER_CPU_LOAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SOLVER_CPU_LOAD_INL_H_
#undef SOLVER_CPU_LOAD_INL_H_
#else
#define SOLVER_CPU_LOAD_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "solver/problem.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// binary16 to float32: every value is exact, subnormals included.
template <class D>
HWY_INLINE hn::Vec<D> WidenBinary16(D d, hn::Vec<hn::Rebind<uint16_t, D>> bits) {
  const auto value = hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, D>(), bits));
  if constexpr (HWY_TARGET < HWY_SSE4) return value;  // an instruction of the machine
  // Highway's own code takes infinity and NaN for numbers from 2^16 on: gives them their exponent.
  const auto special = hn::Ge(hn::Abs(value), hn::Set(d, 65536.0f));
  const auto infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  return hn::Or(value, hn::IfThenElseZero(special, infinity));
}

// One type for each DType: what an element is in memory, and the conversion of a vector of them to
// float32. `elements` need no alignment.
struct Float32Elements {
  using Element = float;
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const float* elements) {
    return hn::LoadU(d, elements);
  }
};

struct Float16Elements {
  using Element = uint16_t;
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const uint16_t* elements) {
    return WidenBinary16(d, hn::LoadU(hn::Rebind<uint16_t, D>(), elements));
  }
};

struct BFloat16Elements {
  using Element = uint16_t;
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const uint16_t* elements) {
    const hn::RebindToUnsigned<D> du;
    const auto bits = hn::PromoteTo(du, hn::LoadU(hn::Rebind<uint16_t, D>(), elements));
    return hn::BitCast(d, hn::ShiftLeft<16>(bits));
  }
};

struct Float8E4M3Elements {
  using Element = int8_t;
  // Exponent and fraction, moved to where binary16 has them, are 2^-8 times the value: its bias is
  // 15 and not 7. Subnormals included.
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const int8_t* elements) {
    const hn::Rebind<int16_t, D> di16;
    const hn::Rebind<uint16_t, D> du16;
    // Bits 15 and 14 of the shifted, sign-extended byte are its sign; bit 14 must be 0.
    const auto wide = hn::PromoteTo(di16, hn::LoadU(hn::Rebind<int8_t, D>(), elements));
    const auto half = hn::AndNot(hn::Set(di16, 0x4000), hn::ShiftLeft<7>(wide));
    const auto value = hn::Mul(WidenBinary16(d, hn::BitCast(du16, half)), hn::Set(d, 256.0f));
    // S.1111.111 would be 480.
    const auto nan = hn::Eq(hn::Abs(value), hn::Set(d, 480.0f));
    return hn::IfThenElse(nan, hn::NaN(d), value);
  }
};

struct Float8E5M2Elements {
  using Element = uint8_t;
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const uint8_t* elements) {
    const hn::Rebind<uint16_t, D> du16;
    const auto bits = hn::PromoteTo(du16, hn::LoadU(hn::Rebind<uint8_t, D>(), elements));
    return WidenBinary16(d, hn::ShiftLeft<8>(bits));
  }
};

// How an element becomes a score: the bits of its float32 that stay, and its factor.
struct ScoreRule {
  uint32_t kept_bits = 0;
  const float* norms = nullptr;  // of the first element and those after it; null: no factor
};

// Writes the scores of `count` elements. What is left over by whole vectors goes in vectors of half
// the size, so that nothing beyond the elements is touched.
template <class Elements, class D>
HWY_INLINE void LoadRun(D d, const typename Elements::Element* elements, ScoreRule rule,
                        int64_t count, float* HWY_RESTRICT out) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto kept_bits = hn::BitCast(d, hn::Set(hn::RebindToUnsigned<D>(), rule.kept_bits));
  int64_t k = 0;
  for (; k + lanes <= count; k += lanes) {
    auto score = hn::And(Elements::Load(d, elements + k), kept_bits);
    if (rule.norms) score = hn::Mul(score, hn::LoadU(d, rule.norms + k));
    hn::StoreU(score, d, out + k);
  }
  if constexpr (D::kPrivateN > 1) {
    if (k == count) return;
    if (rule.norms) rule.norms += k;
    LoadRun<Elements>(hn::Half<D>(), elements + k, rule, count - k, out + k);
  }
}

// The scores of the entries (row + i, column + j), i < rows, j < columns, of `tile` into
// out[i * out_stride + j]: those of LoadScores() (solver/scores.h) for each row, to the bit (NaNs
// apart). `out` needs no alignment; nothing else is written, and only the tile is read.
HWY_NOINLINE inline void LoadRows(const Problem& problem, const Tile& tile, int64_t row,
                                  int64_t column, int64_t rows, int64_t columns,
                                  float* HWY_RESTRICT out, int64_t out_stride) {
  const int64_t existing_rows = std::clamp(tile.rows - row, int64_t{0}, rows);
  const int64_t existing = std::clamp(tile.columns - column, int64_t{0}, columns);
  if (existing_rows < rows || existing < columns) {
    for (int64_t i = 0; i < rows; ++i) std::fill_n(out + i * out_stride, columns, 0.0f);
    if (existing_rows == 0 || existing == 0) return;
  }
  ScoreRule rule{.kept_bits = problem.score_kind == ScoreKind::kGiven ? ~0u : 0x7fffffffu};
  if (problem.score_kind == ScoreKind::kMagnitudeTimesColumnNorm) {
    rule.norms = tile.column_norms + column;
  }
  const auto load = [&](auto elements) {
    using Elements = decltype(elements);
    const auto* first = static_cast<const typename Elements::Element*>(tile.weights) +
                        row * tile.row_stride + column;
    for (int64_t i = 0; i < existing_rows; ++i) {
      LoadRun<Elements>(hn::CappedTag<float, 16>(), first + i * tile.row_stride, rule, existing,
                        out + i * out_stride);
    }
  };
  switch (problem.dtype) {
    case DType::kFloat32:
      return load(Float32Elements());
    case DType::kFloat16:
      return load(Float16Elements());
    case DType::kBFloat16:
      return load(BFloat16Elements());
    case DType::kFloat8E4M3:
      return load(Float8E4M3Elements());
    case DType::kFloat8E5M2:
      return load(Float8E5M2Elements());
  }
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_LOAD_INL_H_
