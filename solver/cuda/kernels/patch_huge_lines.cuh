// Huge lines of a patch: those of which more than n entries are outliers, as of a column a thousand
// times the others. Cut off, they would all be alike. What such a line keeps are its own n greatest
// entries, whatever the other lines do; so its potential lies half-way between the n-th and the
// next one, and sweeps see its entries less that.
#pragma once

#include <cstdint>

#include "solver/cuda/primitives/patch.cuh"

namespace tsenor::cuda {

// All ones where `truth`, two comparisons' results, is 1.
inline __device__ uint32_t MaskOf(__half2 truth) {
  return (Bits(truth) >> 13 & 0x00010001) * 0xffff;
}

// Of each of kPairs pairs of lines, the n-th greatest of the entries that are not negative: bit by
// bit, since half-precision numbers are in the order of their bits. count(least, counts) counts the
// entries of each line that are no less.
template <int kPairs, typename Count>
__device__ void FindNthGreatest(int n, Count count, __half2 (&nth)[kPairs]) {
  const __half2 wanted = __float2half2_rn(static_cast<float>(n));
#pragma unroll
  for (__half2& pair : nth) pair = Pair(0);
#pragma unroll 1
  for (uint32_t bit = 0x40004000; bit != 0; bit = bit >> 1 & 0x7fff7fff) {
    __half2 least[kPairs], counts[kPairs];
#pragma unroll
    for (int p = 0; p < kPairs; ++p) least[p] = Pair(Bits(nth[p]) | bit);
    count(least, counts);
#pragma unroll
    for (int p = 0; p < kPairs; ++p) {
      nth[p] = Pair(Bits(nth[p]) | (MaskOf(__hge2(counts[p], wanted)) & bit));
    }
  }
}

// Of kPairs pairs of lines, where the huge ones among those that are `wanted` begin: half-way
// between what they keep and what they drop; 0 for others. Huge: more than n entries are `outlier`
// or greater. Called by all lanes, and all are told whether there is any.
template <int kPairs, typename Count>
__device__ bool FindHugeLines(bool wanted, int n, float outlier, Count count,
                              __half2 (&offset)[kPairs]) {
  __half2 counts[kPairs];
#pragma unroll
  for (__half2& pair : offset) pair = __float2half2_rn(outlier);
  count(offset, counts);
  uint32_t huge[kPairs], any = 0;
#pragma unroll
  for (int p = 0; p < kPairs; ++p) {
    const __half2 most = __float2half2_rn(static_cast<float>(n));
    huge[p] = wanted ? MaskOf(__hgt2(counts[p], most)) : 0;
    any |= huge[p];
    offset[p] = Pair(0);
  }
  if (!__any_sync(~0u, any != 0)) return false;
  __half2 kept[kPairs], dropped[kPairs];  // the least kept, the greatest dropped
  FindNthGreatest(n, count, kept);
  FindNthGreatest(n + 1, count, dropped);
  const __half2 half = __float2half2_rn(0.5f);
#pragma unroll
  for (int p = 0; p < kPairs; ++p) {
    offset[p] = Pair(Bits(__hfma2(dropped[p], half, __hmul2(kept[p], half))) & huge[p]);
  }
  return true;
}

}  // namespace tsenor::cuda
