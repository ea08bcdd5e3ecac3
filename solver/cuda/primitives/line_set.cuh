// A set of the lines 0 .. 32 kWords - 1 of a block, one bit each, in registers.
#pragma once

#include <cstdint>

namespace tsenor::cuda {

// So many lines are visited at a time, in unrolled loops. Memory of lines is rounded up to it, so
// that what lies beyond the last line may be read, and is then ignored.
inline constexpr int kLinesAtATime = 8;

constexpr int RoundUpToLinesAtATime(int lines) {
  return (lines + kLinesAtATime - 1) / kLinesAtATime * kLinesAtATime;
}

// Words are only ever indexed by constants, from the start, so that they stay in registers.
template <int kWords>
struct LineSet {
  uint32_t word[kWords];

  // visit(w) for the number w of every word.
  template <typename Visit>
  static __device__ void EachWord(Visit visit) {
    static_assert(kWords <= 4);
    visit(0);
    if constexpr (kWords > 1) visit(1);
    if constexpr (kWords > 2) visit(2);
    if constexpr (kWords > 3) visit(3);
  }

  static __device__ LineSet Empty() { return First(0); }

  // The lines 0 .. count - 1.
  static __device__ LineSet First(int count) {
    LineSet set;
    EachWord([&](int w) {
      const int bits = min(max(count - 32 * w, 0), 32);
      set.word[w] = bits == 32 ? ~0u : (1u << bits) - 1;
    });
    return set;
  }

  __device__ bool empty() const {
    uint32_t any = 0;
    EachWord([&](int w) { any |= word[w]; });
    return any == 0;
  }

  __device__ int count() const {
    int count = 0;
    EachWord([&](int w) { count += __popc(word[w]); });
    return count;
  }

  __device__ bool contains(int line) const {
    uint32_t held = 0;
    EachWord([&](int w) { held |= word[w] & Bit(line, w); });
    return held != 0;
  }
  __device__ void insert(int line) {
    EachWord([&](int w) { word[w] |= Bit(line, w); });
  }
  __device__ void erase(int line) {
    EachWord([&](int w) { word[w] &= ~Bit(line, w); });
  }
  __device__ void flip(int line) {
    EachWord([&](int w) { word[w] ^= Bit(line, w); });
  }

  // Bit k: line `first` + k, for kLinesAtATime lines. REQUIRES: `first` is a multiple of that.
  __device__ uint32_t bits(int first) const {
    uint32_t bits = 0;
    EachWord([&](int w) { bits |= kWords == 1 || first / 32 == w ? word[w] : 0; });
    return bits >> (first % 32);
  }
  __device__ void InsertBits(int first, uint32_t bits) {
    EachWord([&](int w) { word[w] |= kWords == 1 || first / 32 == w ? bits << (first % 32) : 0; });
  }

  // Lines 0 .. 63.
  __device__ uint64_t First64() const {
    uint64_t lines = 0;
    EachWord([&](int w) { lines |= w < 2 ? uint64_t{word[w]} << 32 * (w % 2) : 0; });
    return lines;
  }

  // The least line, or -1 if there is none.
  __device__ int least() const {
    int line = -1;
    EachWord([&](int w) {
      if (line < 0 && word[w] != 0) line = 32 * w + __ffs(static_cast<int>(word[w])) - 1;
    });
    return line;
  }

  // Removes and returns it.
  __device__ int PopFirst() {
    const int line = least();
    if (line >= 0) erase(line);
    return line;
  }

  friend __device__ LineSet operator&(LineSet x, const LineSet& y) {
    EachWord([&](int w) { x.word[w] &= y.word[w]; });
    return x;
  }
  friend __device__ LineSet operator|(LineSet x, const LineSet& y) {
    EachWord([&](int w) { x.word[w] |= y.word[w]; });
    return x;
  }
  __device__ LineSet operator~() const {
    LineSet result;
    EachWord([&](int w) { result.word[w] = ~word[w]; });
    return result;
  }

 private:
  // The part of {line} in word w.
  static __device__ uint32_t Bit(int line, int w) {
    if constexpr (kWords == 1) return 1u << line;
    return line / 32 == w ? 1u << (line % 32) : 0;
  }
};

// The lines for which holds(line), of the first m. Asks for the next ones too, up to a multiple of
// kLinesAtATime.
template <int kWords, typename Predicate>
__device__ LineSet<kWords> LinesWhere(int m, Predicate holds) {
  auto lines = LineSet<kWords>::Empty();
  for (int first = 0; first < m; first += kLinesAtATime) {
    uint32_t bits = 0;
#pragma unroll
    for (int k = 0; k < kLinesAtATime; ++k) bits |= holds(first + k) ? 1u << k : 0;
    lines.InsertBits(first, bits);
  }
  return lines & LineSet<kWords>::First(m);
}

// The words of a set in memory.
template <int kWords>
__device__ LineSet<kWords> LoadSet(const uint32_t* words) {
  LineSet<kWords> set;
  set.EachWord([&](int w) { set.word[w] = words[w]; });
  return set;
}

template <int kWords>
__device__ void StoreSet(const LineSet<kWords>& set, uint32_t* words) {
  set.EachWord([&](int w) { words[w] = set.word[w]; });
}

}  // namespace tsenor::cuda
