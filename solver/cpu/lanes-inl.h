// Lines side by side in vector lanes: what the kernels of a block share.
//
// Compiled once for every instruction set (cpu/solve_rows.cc), hence the guard that can be flipped.
#if defined(SOLVER_CPU_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SOLVER_CPU_LANES_INL_H_
#undef SOLVER_CPU_LANES_INL_H_
#else
#define SOLVER_CPU_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Vectors of at most kWidth lanes, so that a line of a block is a whole number of them.
template <typename T, int kWidth>
using Lanes = hn::CappedTag<T, kWidth>;

// A set of the lines 0 .. kWidth - 1 of a block, one bit each.
template <int kWidth>
class LineSet {
 public:
  // The lines 0 .. count - 1.
  static LineSet First(int count) {
    LineSet lines;
    for (int w = 0; w < kWords; ++w) {
      const int bits = std::clamp(count - w * 64, 0, 64);
      lines.words_[w] = bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
    }
    return lines;
  }

  bool empty() const {
    uint64_t any = 0;
    for (const uint64_t word : words_) any |= word;
    return any == 0;
  }
  void insert(int line) { words_[line / 64] |= uint64_t{1} << (line % 64); }
  void flip(int line) { words_[line / 64] ^= uint64_t{1} << (line % 64); }
  void erase(int line) { words_[line / 64] &= ~(uint64_t{1} << (line % 64)); }

  // Removes and returns the least line, or -1 if there is none.
  int PopFirst() {
    for (int w = 0; w < kWords; ++w) {
      if (words_[w] == 0) continue;
      const int line = w * 64 + std::countr_zero(words_[w]);
      words_[w] &= words_[w] - 1;
      return line;
    }
    return -1;
  }

  // The least `count` lines. REQUIRES: there are as many.
  LineSet FirstOf(int count) const {
    LineSet rest = *this, lines;
    for (; count > 0; --count) lines.insert(rest.PopFirst());
    return lines;
  }

  // Adds the lines `first` .. whose lanes are set. `first` is a multiple of the number of lanes.
  template <class D>
  HWY_INLINE void InsertLanes(D d, hn::Mask<D> mask, int first) {
    uint8_t bytes[8] = {};
    hn::StoreMaskBits(d, mask, bytes);
    uint64_t bits;
    std::memcpy(&bits, bytes, sizeof(bits));
    words_[first / 64] |= bits << (first % 64);
  }

  // The lines from `first` on as a mask of lanes. `first` is a multiple of the number of lanes.
  template <class D>
  HWY_INLINE hn::Mask<D> LanesFrom(D d, int first) const {
    const uint64_t bits = words_[first / 64] >> (first % 64);
    uint8_t bytes[8];
    std::memcpy(bytes, &bits, sizeof(bits));
    return hn::LoadMaskBits(d, bytes);
  }

  // Line k is bit k % 64 of word k / 64.
  const uint64_t* words() const { return words_; }

  int count() const {
    int count = 0;
    for (const uint64_t word : words_) count += std::popcount(word);
    return count;
  }

  friend LineSet operator&(LineSet x, const LineSet& y) {
    for (int w = 0; w < kWords; ++w) x.words_[w] &= y.words_[w];
    return x;
  }
  LineSet operator~() const {
    LineSet result;
    for (int w = 0; w < kWords; ++w) result.words_[w] = ~words_[w];
    return result;
  }
  LineSet& operator|=(const LineSet& other) {
    for (int w = 0; w < kWords; ++w) words_[w] |= other.words_[w];
    return *this;
  }

 private:
  static constexpr int kWords = (kWidth + 63) / 64;
  uint64_t words_[kWords] = {};
};

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_LANES_INL_H_
