// From the caller's elements to scores, as they are loaded.
#pragma once

#include <cstdint>

#include "solver/cuda/primitives/instructions.cuh"

namespace tsenor::cuda {

// One type for each DType: what an element is in memory, its exact float32, and how many binary
// places that has after its first one.
struct Float32Element {
  using Bits = float;
  static constexpr int kFractionBits = 23;
  static __device__ float ToFloat(float element) { return element; }
};

struct Float16Element {
  using Bits = uint16_t;
  static constexpr int kFractionBits = 10;
  static __device__ float ToFloat(uint16_t bits) { return HalfBitsToFloat(bits); }
};

struct BFloat16Element {
  using Bits = uint16_t;
  static constexpr int kFractionBits = 7;
  static __device__ float ToFloat(uint16_t bits) { return __uint_as_float(uint32_t{bits} << 16); }
};

struct Float8E5M2Element {
  using Bits = uint8_t;
  static constexpr int kFractionBits = 2;
  static __device__ float ToFloat(uint8_t bits) {
    return Float16Element::ToFloat(static_cast<uint16_t>(bits << 8));
  }
};

// As in solver/scores.cc: the fields move to where float32 has them, and a product with a power of
// two corrects the exponent's bias, exactly, for subnormals too. There is no infinity.
struct Float8E4M3Element {
  using Bits = uint8_t;
  static constexpr int kFractionBits = 3;
  static __device__ float ToFloat(uint8_t bits) {
    constexpr uint32_t kNan = 0x7f;
    const uint32_t top = uint32_t{bits} << 24;
    const uint32_t magnitude = (top & 0x7fffffff) >> 4;
    const uint32_t finite = __float_as_uint(__uint_as_float(magnitude) * 0x1p120f);
    const bool special = (bits & kNan) == kNan;
    return __uint_as_float((top & 0x80000000) | (special ? 0x7fffffff : finite));
  }
};

}  // namespace tsenor::cuda
