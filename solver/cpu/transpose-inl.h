// From rows to columns and back.
//
// Compiled once for every instruction set (cpu/solve_rows.cc), hence the guard that can be flipped.
#if defined(SOLVER_CPU_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SOLVER_CPU_TRANSPOSE_INL_H_
#undef SOLVER_CPU_TRANSPOSE_INL_H_
#else
#define SOLVER_CPU_TRANSPOSE_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// to[c * to_stride + r] = from[r * from_stride + c] for r < rows, c < columns. Both counts are
// rounded up to whole tiles of 4 x 4 (not in scalar code): there is memory for these, too. Nothing
// need be aligned.
template <typename T>
void TransposeTiles(const T* HWY_RESTRICT from, int from_stride, int rows, int columns,
                    T* HWY_RESTRICT to, int to_stride) {
  static_assert(sizeof(T) == 4);
#if HWY_TARGET == HWY_SCALAR
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns; ++c) to[c * to_stride + r] = from[r * from_stride + c];
  }
#else
  const hn::FixedTag<T, 4> d;
  for (int r = 0; r < rows; r += 4) {
    for (int c = 0; c < columns; c += 4) {
      const T* at = from + r * from_stride + c;
      const auto row0 = hn::LoadU(d, at), row1 = hn::LoadU(d, at + from_stride);
      const auto row2 = hn::LoadU(d, at + 2 * from_stride);
      const auto row3 = hn::LoadU(d, at + 3 * from_stride);
      const auto even_low = hn::InterleaveLower(d, row0, row2);
      const auto even_high = hn::InterleaveUpper(d, row0, row2);
      const auto odd_low = hn::InterleaveLower(d, row1, row3);
      const auto odd_high = hn::InterleaveUpper(d, row1, row3);
      T* target = to + c * to_stride + r;
      hn::StoreU(hn::InterleaveLower(d, even_low, odd_low), d, target);
      hn::StoreU(hn::InterleaveUpper(d, even_low, odd_low), d, target + to_stride);
      hn::StoreU(hn::InterleaveLower(d, even_high, odd_high), d, target + 2 * to_stride);
      hn::StoreU(hn::InterleaveUpper(d, even_high, odd_high), d, target + 3 * to_stride);
    }
  }
#endif
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_TRANSPOSE_INL_H_
