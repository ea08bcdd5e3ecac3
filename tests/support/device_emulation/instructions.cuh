// solver/cuda/primitives/instructions.cuh on a host. Products of tensor cores are summed exactly
// and rounded once; a GPU may round sums on the way.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

namespace tsenor::cuda {

inline uint32_t Opaque(uint32_t value) { return value; }

inline void KeepReadsInOrder() {}

struct Fragment16 {
  uint32_t pair[4];
};

namespace emulated {

// Half `h` of a pair.
inline double Entry(uint32_t pair, int h) {
  return device_emulation::HalfToFloat(static_cast<uint16_t>(pair >> 16 * h));
}

struct Product {
  Fragment16 a;
  uint32_t b[2];
  uint32_t sums[2];
};

}  // namespace emulated

inline uint2 MultiplyAdd(const Fragment16& a, const uint2& b, const uint2& start) {
  using emulated::Product;
  struct Sums {
    uint32_t row[2];
  };
  const Product in = {a, {b.x, b.y}, {start.x, start.y}};
  const Sums found = EmulatedMeet<Sums>("mma.m16n8k16", ~0u, in, [](int lane, auto value) {
    const int g = lane / 4, t = lane % 4;
    Sums out;
    for (int row = 0; row < 2; ++row) {
      uint16_t bits[2];
      for (int h = 0; h < 2; ++h) {
        double sum = emulated::Entry(value(lane).sums[row], h);
        for (int k = 0; k < 16; ++k) {  // columns of a, rows of b
          const Product& left = value(4 * g + k % 8 / 2);
          const Product& right = value(4 * (2 * t + h) + k % 8 / 2);
          const double factor = emulated::Entry(right.b[k / 8], k % 2);
          if (factor != 0) sum += emulated::Entry(left.a.pair[k / 8 * 2 + row], k % 2) * factor;
        }
        bits[h] = device_emulation::ToHalf(sum);
      }
      out.row[row] = static_cast<uint32_t>(bits[1]) << 16 | bits[0];
    }
    return out;
  });
  return {found.row[0], found.row[1]};
}

inline uint32_t MultiplyAddHalf(const uint2& a, uint32_t b, const uint2& start) {
  using emulated::Product;
  const Product in = {{{a.x, a.y}}, {b}, {start.x, start.y}};
  return EmulatedMeet<uint32_t>("mma.m16n8k8", ~0u, in, [](int lane, auto value) {
    const int g = lane / 4, t = lane % 4;
    uint16_t bits[2];
    for (int h = 0; h < 2; ++h) {
      double sum = emulated::Entry(value(lane).sums[0], h);
      for (int k = 0; k < 8; ++k) {
        const double factor = emulated::Entry(value(4 * g + k / 2).a.pair[0], k % 2);
        if (factor != 0)
          sum += emulated::Entry(value(4 * (2 * t + h) + k / 2).b[0], k % 2) * factor;
      }
      bits[h] = device_emulation::ToHalf(sum);
    }
    return static_cast<uint32_t>(bits[1]) << 16 | bits[0];
  });
}

inline uint32_t Transpose8x8(uint32_t pair) {
  return EmulatedMeet<uint32_t>("movmatrix", ~0u, pair, [](int lane, auto value) {
    const int row = lane / 4, column = lane % 4 * 2;  // of the transpose
    const auto entry = [&](int i, int j) { return value(4 * i + j / 2) >> 16 * (j % 2) & 0xffff; };
    return entry(column, row) | entry(column + 1, row) << 16;
  });
}

inline void WaitForKernelBefore() {}
inline void AllowNextKernel() {}

inline float HalfBitsToFloat(uint16_t bits) { return device_emulation::HalfToFloat(bits); }

inline float QuickReciprocal(float x) {
  constexpr float kLeastNormal = 0x1p-126f;
  const float reciprocal = 1 / (std::fabs(x) < kLeastNormal ? std::copysign(0.0f, x) : x);
  return std::fabs(reciprocal) < kLeastNormal ? std::copysign(0.0f, x) : reciprocal;
}

}  // namespace tsenor::cuda
