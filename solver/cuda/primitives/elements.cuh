// From the caller's elements to scores, as they are loaded.
#pragma once

#include <cstdint>

namespace tsenor::cuda {

// One type for each DType: what an element is in memory, and its exact float32.
struct Float32Element {
  using Bits = float;
  static __device__ float ToFloat(float element) { return element; }
};

// A format narrower than float32, of one sign bit, some exponent bits and the rest fraction. A
// magnitude from kFirstSpecial on is infinity or NaN. As in solver/scores.cc: the fields move to
// where float32 has them, and a product with a power of two corrects the exponent's bias, exactly,
// for subnormals too.
template <typename BitsType, int kExponentBits, uint32_t kFirstSpecial>
struct NarrowElement {
  using Bits = BitsType;
  static __device__ float ToFloat(Bits bits) {
    constexpr int kToTheTop = 32 - 8 * sizeof(Bits);
    constexpr int kToExponent = 8 - kExponentBits;
    constexpr uint32_t kBias = (1u << (kExponentBits - 1)) - 1;
    const uint32_t top = static_cast<uint32_t>(bits) << kToTheTop;
    const uint32_t magnitude = (top & 0x7fffffff) >> kToExponent;
    const float correction = __uint_as_float((127 + 127 - kBias) << 23);
    const uint32_t finite = __float_as_uint(__uint_as_float(magnitude) * correction);
    const bool special = magnitude >= kFirstSpecial << kToTheTop >> kToExponent;
    return __uint_as_float((top & 0x80000000) | (special ? magnitude | 0x7f800000 : finite));
  }
};

using Float16Element = NarrowElement<uint16_t, 5, 0x7c00>;
using BFloat16Element = NarrowElement<uint16_t, 8, 0x7f80>;
using Float8E4M3Element = NarrowElement<uint8_t, 4, 0x7f>;
using Float8E5M2Element = NarrowElement<uint8_t, 5, 0x7c>;

}  // namespace tsenor::cuda
