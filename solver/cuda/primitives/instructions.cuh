// Instructions that CUDA C++ has no name for: all of the device code's assembly. The rest runs on a
// host, too (tests/support/device_emulation, which has a version of its own of this header).
#pragma once

#include <cstdint>

namespace tsenor::cuda {

// A value that the compiler cannot look into: it would recompute constant operands of the tensor
// cores for each use (57 more instructions a sweep).
inline __device__ uint32_t Opaque(uint32_t value) {
  asm volatile("" : "+r"(value));
  return value;
}

// No read of memory moves across it in the compiler's hands, for want of registers to hold what is
// read. No instruction.
inline __device__ void KeepReadsInOrder() { asm volatile("" ::: "memory"); }

// A fragment of 16 x 16 half-precision entries: of a warp's thread 4 g + t, the pairs of columns 2
// t and 2 t + 1 of row g, of row g + 8, and of columns 2 t + 8 and 2 t + 9 of both rows.
struct Fragment16 {
  uint32_t pair[4];
};

// Adds a * b, 16 x 16 by 16 x 8, to the 16 x 8 sums: rows g and g + 8, columns 2 t and 2 t + 1. b:
// rows 2 t and 2 t + 1, and rows 2 t + 8 and 2 t + 9, of column g.
inline __device__ void MultiplyAdd(const Fragment16& a, uint32_t b, uint32_t b_below,
                                   uint32_t& sums, uint32_t& sums_below) {
  asm("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1},{%2,%3,%4,%5},{%6,%7},{%0,%1};"
      : "+r"(sums), "+r"(sums_below)
      : "r"(a.pair[0]), "r"(a.pair[1]), "r"(a.pair[2]), "r"(a.pair[3]), "r"(b), "r"(b_below));
}

// Rows g of start + a * b, 16 x 8 by 8 x 8: those of the upper half.
inline __device__ uint32_t MultiplyAddHalf(uint32_t a, uint32_t a_below, uint32_t b,
                                           uint32_t start) {
  uint32_t sums[2];  // the other: of the lower half
  asm("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%0,%1},{%2,%3},{%4},{%5,%5};"
      : "=r"(sums[0]), "=r"(sums[1])
      : "r"(a), "r"(a_below), "r"(b), "r"(start));
  return sums[0];
}

// Transposes 8 x 8 entries of 16 bits, of which a thread holds columns 2 t and 2 t + 1 of row g.
inline __device__ uint32_t Transpose8x8(uint32_t pair) {
  uint32_t transposed;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0,%1;" : "=r"(transposed) : "r"(pair));
  return transposed;
}

// float16 to float32, exact.
inline __device__ float HalfBitsToFloat(uint16_t bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

// 1 / x to 1 ulp or so; 0 and infinity where x or the result is subnormal.
inline __device__ float QuickReciprocal(float x) {
  float reciprocal;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(x));
  return reciprocal;
}

}  // namespace tsenor::cuda
