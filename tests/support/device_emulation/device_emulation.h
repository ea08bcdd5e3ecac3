// Included before any line of device code that a host compiles: CUDA C++'s words and intrinsics.
// What rounds does so as a GPU does (-fmad=false), but for quotients and reciprocals that it
// approximates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tests/support/device_emulation/lockstep.h"

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static  // one CTA runs at a time
#define __builtin_assume(condition) static_cast<void>(0)

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

template <typename X, typename Y>
constexpr std::common_type_t<X, Y> min(X x, Y y) {
  const std::common_type_t<X, Y> first = x, second = y;
  return second < first ? second : first;
}
template <typename X, typename Y>
constexpr std::common_type_t<X, Y> max(X x, Y y) {
  const std::common_type_t<X, Y> first = x, second = y;
  return first < second ? second : first;
}

// Bits and conversions.
template <typename To, typename From>
To EmulatedBits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}
inline unsigned __float_as_uint(float x) { return EmulatedBits<unsigned>(x); }
inline int __float_as_int(float x) { return EmulatedBits<int>(x); }
inline float __uint_as_float(unsigned x) { return EmulatedBits<float>(x); }
inline float __int_as_float(int x) { return EmulatedBits<float>(x); }
inline int __double2hiint(double x) { return static_cast<int>(EmulatedBits<uint64_t>(x) >> 32); }
inline int __double2loint(double x) { return static_cast<int>(EmulatedBits<uint64_t>(x)); }
inline double __hiloint2double(int high, int low) {
  return EmulatedBits<double>(static_cast<uint64_t>(static_cast<uint32_t>(high)) << 32 |
                              static_cast<uint32_t>(low));
}
// To the nearest, ties to even; saturates, NaN is 0.
template <typename Int>
Int EmulatedRound(double x) {
  if (std::isnan(x)) return 0;
  constexpr auto kLeast = static_cast<double>(std::numeric_limits<Int>::min());
  constexpr auto kGreatest = static_cast<double>(std::numeric_limits<Int>::max());
  return static_cast<Int>(std::clamp(std::nearbyint(x), kLeast, kGreatest));
}
inline int __float2int_rn(float x) { return EmulatedRound<int>(x); }
inline unsigned __float2uint_rn(float x) { return EmulatedRound<unsigned>(x); }
inline int __double2int_rn(double x) { return EmulatedRound<int>(x); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int k = 0; k < 32; ++k) reversed |= (x >> k & 1) << (31 - k);
  return reversed;
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const uint64_t bytes = static_cast<uint64_t>(y) << 32 | x;
  unsigned result = 0;
  for (int k = 0; k < 4; ++k) {
    const unsigned nibble = selector >> 4 * k & 15;
    unsigned byte = bytes >> 8 * (nibble & 7) & 0xff;
    if (nibble & 8) byte = byte & 0x80 ? 0xff : 0;
    result |= byte << 8 * k;
  }
  return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31));
}

// Arithmetic.
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline double __fma_rn(double x, double y, double z) { return std::fma(x, y, z); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return x > 0 ? std::min(x, 1.0f) : 0.0f; }

// Memory.
template <typename T>
T __ldg(const T* at) {
  return *at;
}
template <typename T>
T __ldcs(const T* at) {
  return *at;
}
template <typename T>
void __stcs(T* at, T value) {
  *at = value;
}
template <typename T>
T atomicAdd(T* at, T value) {
  return std::exchange(*at, *at + value);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// The CTA meets.
inline void __syncthreads() { tsenor::device_emulation::MeetCta("__syncthreads", 0, 0, false); }
inline int __syncthreads_or(int value) {
  return tsenor::device_emulation::MeetCta("__syncthreads_or", 0, 0, value != 0).with_value > 0;
}
inline int __syncthreads_and(int value) {
  const auto found = tsenor::device_emulation::MeetCta("__syncthreads_and", 0, 0, value != 0);
  return found.with_value == found.threads;
}
inline int __syncthreads_count(int value) {
  return tsenor::device_emulation::MeetCta("__syncthreads_count", 0, 0, value != 0).with_value;
}

// A warp meets.
template <typename Out, typename In, typename Combine>
Out EmulatedMeet(const char* name, unsigned mask, const In& in, Combine combine) {
  return tsenor::device_emulation::Meet<Out>(name, mask, in, combine);
}
// The same for all lanes of the mask.
template <typename T, typename Op>
T EmulatedReduce(const char* name, unsigned mask, T value, Op) {
  static_assert(std::is_empty_v<Op>);
  T out;
  using tsenor::device_emulation::WarpMeeting;
  tsenor::device_emulation::MeetWarp(name, mask, &value, &out, [](const WarpMeeting& meeting) {
    const T* result = nullptr;
    T sum{};
    for (uint32_t left = meeting.mask; left != 0; left &= left - 1) {
      const T& other = *static_cast<const T*>(meeting.in[__builtin_ctz(left)]);
      sum = result == nullptr ? other : Op()(sum, other);
      result = &sum;
    }
    for (uint32_t left = meeting.mask; left != 0; left &= left - 1) {
      *static_cast<T*>(meeting.out[__builtin_ctz(left)]) = sum;
    }
  });
  return out;
}
inline void __syncwarp(unsigned mask = ~0u) {
  EmulatedReduce("__syncwarp", mask, 0, [](int, int) { return 0; });
}
inline unsigned __ballot_sync(unsigned mask, int mine) {
  const unsigned bit = mine != 0 ? 1u << (threadIdx.x % 32) : 0;
  return EmulatedReduce("__ballot_sync", mask, bit, [](unsigned x, unsigned y) { return x | y; });
}
inline int __any_sync(unsigned mask, int mine) {
  return EmulatedReduce("__any_sync", mask, int{mine != 0}, [](int x, int y) { return x | y; });
}
inline int __all_sync(unsigned mask, int mine) {
  return EmulatedReduce("__all_sync", mask, int{mine != 0}, [](int x, int y) { return x & y; });
}
template <typename T>
T __reduce_min_sync(unsigned mask, T value) {
  return EmulatedReduce("__reduce_min_sync", mask, value, [](T x, T y) { return std::min(x, y); });
}
template <typename T>
T __reduce_max_sync(unsigned mask, T value) {
  return EmulatedReduce("__reduce_max_sync", mask, value, [](T x, T y) { return std::max(x, y); });
}
template <typename T>
T __reduce_add_sync(unsigned mask, T value) {
  return EmulatedReduce("__reduce_add_sync", mask, value,
                        [](T x, T y) { return static_cast<T>(uint32_t(x) + uint32_t(y)); });
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value) {
  return EmulatedReduce("__reduce_or_sync", mask, value,
                        [](unsigned x, unsigned y) { return x | y; });
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value) {
  return EmulatedReduce("__reduce_and_sync", mask, value,
                        [](unsigned x, unsigned y) { return x & y; });
}
template <typename T>
struct EmulatedShuffle {
  T value;
  int from;
};
template <typename T>
T EmulatedShuffleFrom(const char* name, unsigned mask, T value, int from) {
  return EmulatedMeet<T>(name, mask, EmulatedShuffle<T>{value, from},
                         [](int own, auto in) { return in(in(own).from).value; });
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  const int own = threadIdx.x % 32;
  return EmulatedShuffleFrom("__shfl_sync", mask, value,
                             own / width * width + (lane & (width - 1)));
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
  const int own = threadIdx.x % 32;
  return EmulatedShuffleFrom("__shfl_xor_sync", mask, value, own ^ bits);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int lanes) {
  const int own = threadIdx.x % 32;
  return EmulatedShuffleFrom("__shfl_up_sync", mask, value, own >= lanes ? own - lanes : own);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, int lanes) {
  const int own = threadIdx.x % 32;
  return EmulatedShuffleFrom("__shfl_down_sync", mask, value, own + lanes < 32 ? own + lanes : own);
}

// kernel<<<...>>>(...), which launches.cmake writes as kernel | EmulatedGrid(...)(...).
template <typename... Arguments>
struct EmulatedLaunch {
  dim3 grid, block;
  size_t shared_bytes;
  std::tuple<Arguments...> arguments;
};
class EmulatedGrid {
 public:
  EmulatedGrid(dim3 grid, dim3 block, size_t shared_bytes = 0, const void* = nullptr)
      : grid_(grid), block_(block), shared_bytes_(shared_bytes) {}
  template <typename... Arguments>
  EmulatedLaunch<Arguments...> operator()(const Arguments&... arguments) const {
    return {grid_, block_, shared_bytes_, {arguments...}};
  }

 private:
  dim3 grid_, block_;
  size_t shared_bytes_;
};
template <typename... Parameters, typename... Arguments>
void operator|(void (*kernel)(Parameters...), const EmulatedLaunch<Arguments...>& launch) {
  tsenor::device_emulation::RunGrid(launch.grid, launch.block, launch.shared_bytes,
                                    [&] { std::apply(kernel, launch.arguments); });
}
