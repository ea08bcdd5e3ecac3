// Half precision on a host, in the place of CUDA's header: every operation rounds once.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "tests/support/device_emulation/device_emulation.h"

struct __half_raw {
  uint16_t x;
};

struct __half {
  uint16_t x = 0;
  __half() = default;
  constexpr __half(__half_raw raw) : x(raw.x) {}
  operator __half_raw() const { return {x}; }
};

struct alignas(4) __half2 {
  __half x, y;
};

namespace tsenor::device_emulation {

inline float HalfToFloat(uint16_t bits) {
  // Exact, subnormals too: the product corrects the exponent's bias.
  const uint32_t magnitude = (bits & 0x7fffu) << 13;
  const bool finite = (bits & 0x7c00) != 0x7c00;
  float value;
  std::memcpy(&value, &magnitude, sizeof(value));
  value *= 0x1p112f;
  uint32_t result;
  std::memcpy(&result, &value, sizeof(result));
  if (!finite) result = magnitude | 0x7f800000u;
  result |= (bits & 0x8000u) << 16;
  std::memcpy(&value, &result, sizeof(value));
  return value;
}

// To the nearest, ties to even.
inline uint16_t ToHalf(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const auto sign = static_cast<uint16_t>(bits >> 48 & 0x8000);
  bits &= ~uint64_t{0} >> 1;
  double magnitude;
  std::memcpy(&magnitude, &bits, sizeof(magnitude));
  if (std::isnan(value)) return 0x7fff;
  constexpr double kOverflow = 65520, kLeastNormal = 0x1p-14;
  if (magnitude >= kOverflow) return sign | 0x7c00;
  if (magnitude < kLeastNormal) {
    constexpr double kWhole = 0x1p52;  // beyond it there are no fractions
    return sign | static_cast<uint16_t>(magnitude * 0x1p24 + kWhole - kWhole);
  }
  constexpr int kDropped = 42;  // bits of the fraction
  bits += (uint64_t{1} << (kDropped - 1)) - 1 + (bits >> kDropped & 1);
  return sign | static_cast<uint16_t>((bits >> kDropped) - ((1023 - 15) << 10));
}

inline double Value(__half half) { return HalfToFloat(half.x); }
inline __half Rounded(double value) { return __half_raw{ToHalf(value)}; }

template <typename Op>
__half2 Each(__half2 a, __half2 b, Op op) {
  return {op(Value(a.x), Value(b.x)), op(Value(a.y), Value(b.y))};
}
// Exact in float64: a product has 22 bits, and where the sum has more than 53 (c being 2^27 times
// the product, or the other way round), what is lost is no tie.
inline double Fma(__half a, __half b, __half c) { return Value(a) * Value(b) + Value(c); }
inline double Saturated(double x) { return x > 0 ? (x < 1 ? x : 1) : 0; }
inline double Least(double x, double y) { return std::fmin(x, y); }
inline double Greatest(double x, double y) { return std::fmax(x, y); }

}  // namespace tsenor::device_emulation

inline __half __float2half(float x) { return tsenor::device_emulation::Rounded(x); }
inline __half __float2half_rn(float x) { return __float2half(x); }
inline float __half2float(__half x) { return tsenor::device_emulation::HalfToFloat(x.x); }
inline __half __ushort_as_half(unsigned short bits) { return __half_raw{bits}; }
inline unsigned short __half_as_ushort(__half x) { return x.x; }
inline __half2 __float2half2_rn(float x) { return {__float2half(x), __float2half(x)}; }
inline __half2 __floats2half2_rn(float x, float y) { return {__float2half(x), __float2half(y)}; }
inline __half2 __half2half2(__half x) { return {x, x}; }
inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline __half2 __low2half2(__half2 x) { return {x.x, x.x}; }
inline __half2 __high2half2(__half2 x) { return {x.y, x.y}; }
inline __half2 __lowhigh2highlow(__half2 x) { return {x.y, x.x}; }
inline __half __low2half(__half2 x) { return x.x; }
inline __half __high2half(__half2 x) { return x.y; }
inline float __low2float(__half2 x) { return __half2float(x.x); }
inline float __high2float(__half2 x) { return __half2float(x.y); }
inline float2 __half22float2(__half2 x) { return {__low2float(x), __high2float(x)}; }

#define TSENOR_HALF2_OPERATION(name, expression)                               \
  inline __half2 name(__half2 a, __half2 b) {                                  \
    using namespace tsenor::device_emulation;                                  \
    return Each(a, b, [](double x, double y) { return Rounded(expression); }); \
  }
TSENOR_HALF2_OPERATION(__hadd2, x + y)
TSENOR_HALF2_OPERATION(__hsub2, x - y)
TSENOR_HALF2_OPERATION(__hmul2, x* y)
TSENOR_HALF2_OPERATION(__hadd2_sat, Saturated(x + y))
TSENOR_HALF2_OPERATION(__hsub2_sat, Saturated(x - y))
TSENOR_HALF2_OPERATION(__hmul2_sat, Saturated(x* y))
TSENOR_HALF2_OPERATION(__hmin2, Least(x, y))
TSENOR_HALF2_OPERATION(__hmax2, Greatest(x, y))
TSENOR_HALF2_OPERATION(__hle2, double(x <= y))
TSENOR_HALF2_OPERATION(__hlt2, double(x < y))
TSENOR_HALF2_OPERATION(__hge2, double(x >= y))
TSENOR_HALF2_OPERATION(__hgt2, double(x > y))
TSENOR_HALF2_OPERATION(__heq2, double(x == y))
#undef TSENOR_HALF2_OPERATION

inline __half2 __hneg2(__half2 a) {
  return {__half_raw{static_cast<uint16_t>(a.x.x ^ 0x8000)},
          __half_raw{static_cast<uint16_t>(a.y.x ^ 0x8000)}};
}
inline __half2 __habs2(__half2 a) {
  return {__half_raw{static_cast<uint16_t>(a.x.x & 0x7fff)},
          __half_raw{static_cast<uint16_t>(a.y.x & 0x7fff)}};
}
inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) {
  using namespace tsenor::device_emulation;
  return {Rounded(Fma(a.x, b.x, c.x)), Rounded(Fma(a.y, b.y, c.y))};
}
inline __half2 __hfma2_sat(__half2 a, __half2 b, __half2 c) {
  using namespace tsenor::device_emulation;
  return {Rounded(Saturated(Fma(a.x, b.x, c.x))), Rounded(Saturated(Fma(a.y, b.y, c.y)))};
}
inline bool __hble2(__half2 a, __half2 b) {
  return __low2float(a) <= __low2float(b) && __high2float(a) <= __high2float(b);
}
inline bool __hbgt2(__half2 a, __half2 b) {
  return __low2float(a) > __low2float(b) && __high2float(a) > __high2float(b);
}
