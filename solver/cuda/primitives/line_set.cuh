// A set of the lines 0 .. 32 kWords - 1 of a block, one bit each, in registers.
#pragma once

#include <cstdint>

namespace tsenor::cuda {

// Words are only ever indexed by constants (unrolled loops), so that they stay in registers.
template <int kWords>
struct LineSet {
  uint32_t word[kWords];

  static __device__ LineSet Empty() { return First(0); }

  // The lines 0 .. count - 1.
  static __device__ LineSet First(int count) {
    LineSet set;
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      const int bits = min(max(count - 32 * w, 0), 32);
      set.word[w] = bits == 32 ? ~0u : (1u << bits) - 1;
    }
    return set;
  }

  __device__ bool empty() const {
    uint32_t any = 0;
#pragma unroll
    for (int w = 0; w < kWords; ++w) any |= word[w];
    return any == 0;
  }

  __device__ int count() const {
    int count = 0;
#pragma unroll
    for (int w = 0; w < kWords; ++w) count += __popc(word[w]);
    return count;
  }

  __device__ bool contains(int line) const {
    bool found = false;
#pragma unroll
    for (int w = 0; w < kWords; ++w) found |= w == line / 32 && (word[w] >> (line % 32) & 1);
    return found;
  }

  __device__ void insert(int line) {
#pragma unroll
    for (int w = 0; w < kWords; ++w) word[w] |= w == line / 32 ? 1u << (line % 32) : 0;
  }

  __device__ void erase(int line) {
#pragma unroll
    for (int w = 0; w < kWords; ++w) word[w] &= w == line / 32 ? ~(1u << (line % 32)) : ~0u;
  }

  // Removes and returns the least line, or -1 if there is none.
  __device__ int PopFirst() {
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      if (word[w] == 0) continue;
      const int line = 32 * w + __ffs(word[w]) - 1;
      word[w] &= word[w] - 1;
      return line;
    }
    return -1;
  }

  friend __device__ LineSet operator&(LineSet x, const LineSet& y) {
#pragma unroll
    for (int w = 0; w < kWords; ++w) x.word[w] &= y.word[w];
    return x;
  }
  friend __device__ LineSet operator|(LineSet x, const LineSet& y) {
#pragma unroll
    for (int w = 0; w < kWords; ++w) x.word[w] |= y.word[w];
    return x;
  }
  __device__ LineSet operator~() const {
    LineSet result;
#pragma unroll
    for (int w = 0; w < kWords; ++w) result.word[w] = ~word[w];
    return result;
  }
};

// Words of a set in memory, `step` apart.
template <int kWords>
__device__ LineSet<kWords> LoadSet(const uint32_t* words, int step = 1) {
  LineSet<kWords> set;
#pragma unroll
  for (int w = 0; w < kWords; ++w) set.word[w] = words[w * step];
  return set;
}

template <int kWords>
__device__ void StoreSet(const LineSet<kWords>& set, uint32_t* words) {
#pragma unroll
  for (int w = 0; w < kWords; ++w) words[w] = set.word[w];
}

}  // namespace tsenor::cuda
