// Instructions that CUDA C++ has no name for: all of the device code's assembly. The rest runs on a
// host, too (tests/support/device_emulation, which has a version of its own of this header).
#pragma once

#include <vector_types.h>

#include <cstdint>

namespace tsenor::cuda {

// A value that the compiler cannot look into, computed here by all threads.
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

// start + a * b, 16 x 16 by 16 x 8: rows g and g + 8, columns 2 t and 2 t + 1. b: rows 2 t and 2 t
// + 1, and rows 2 t + 8 and 2 t + 9, of column g.
inline __device__ uint2 MultiplyAdd(const Fragment16& a, const uint2& b, const uint2& start) {
  uint2 sums;
  asm("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1},{%2,%3,%4,%5},{%6,%7},{%8,%9};"
      : "=r"(sums.x), "=r"(sums.y)
      : "r"(a.pair[0]), "r"(a.pair[1]), "r"(a.pair[2]), "r"(a.pair[3]), "r"(b.x), "r"(b.y),
        "r"(start.x), "r"(start.y));
  return sums;
}

// Rows g of start + a * b, 16 x 8 by 8 x 8: those of the upper half.
inline __device__ uint32_t MultiplyAddHalf(const uint2& a, uint32_t b, const uint2& start) {
  uint32_t sums[2];  // the other: of the lower half
  asm("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%0,%1},{%2,%3},{%4},{%5,%6};"
      : "=r"(sums[0]), "=r"(sums[1])
      : "r"(a.x), "r"(a.y), "r"(b), "r"(start.x), "r"(start.y));
  return sums[0];
}

// Transposes 8 x 8 entries of 16 bits, of which a thread holds columns 2 t and 2 t + 1 of row g.
inline __device__ uint32_t Transpose8x8(uint32_t pair) {
  uint32_t transposed;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0,%1;" : "=r"(transposed) : "r"(pair));
  return transposed;
}

// Waits until the kernel before this one in the stream has ended, and what it wrote can be seen, if
// this one was launched to start before that; so every thread of it does before it looks at memory.
// Thus the same holds for all kernels before.
inline __device__ void WaitForKernelBefore() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the next kernel, if it is launched so, take places that this one leaves free, once all CTAs
// of this one have said so. Best said first: the next one waits by itself.
inline __device__ void AllowNextKernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
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
