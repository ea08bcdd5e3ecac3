// The best transposable mask of one 4 x 4 block in float32 arithmetic, and when that is certain to
// be the best one: search.cuh, which tries all masks in float64, is the truth and costs ten times
// as much.
//
// It is certain where the scores are whole multiples of a quantum that all sums are exact in, as
// nearly all blocks of narrow elements are, ties included; or where no other mask comes so close
// that rounding could have decided.
#pragma once

#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>

namespace tsenor::cuda {

// A sum of float32 scores, or a difference of such sums, comes out within 4 units of 2^-24 of the
// total: three levels of additions for a split's difference, one more for two pairs. Two sums and
// their difference are then within 9, and the total itself within 4: 16 are safe.
inline constexpr float kSafeMargin = 0x1p-20f;

inline __device__ float Median(float x, float y, float z) {
  return fmaxf(fminf(x, y), fminf(fmaxf(x, y), z));
}

inline __device__ float Total(const float (&row)[4][4]) {
  float of_row[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) of_row[i] = (row[i][0] + row[i][1]) + (row[i][2] + row[i][3]);
  return (of_row[0] + of_row[1]) + (of_row[2] + of_row[3]);
}

// Whether all scores are whole multiples of a quantum u with `total` < 2^24 u, and hence all sums
// exact: whether adding the greatest power of two up to the total, whose last place is u, loses
// nothing of any score. False if a sum could overflow, or is no number.
inline __device__ bool AreWhole(const float (&row)[4][4], float total) {
  constexpr uint32_t kExponent = 0x7f800000;
  const float power = std::bit_cast<float>(std::bit_cast<uint32_t>(total) & kExponent);
  bool whole = total < 0x1p126f;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) whole = whole && (row[i][j] + power) - power == row[i][j];
  }
  return whole;
}

// The same, faster for scores that have no more than kFractionBits binary places after their first
// one: they are multiples of the least one's last place, and that is mostly no less than 2^-23 of
// the total. The least is taken from sums and differences, which a search needs anyway: s - |d| is
// twice the lesser of two, but for an error of 2^-23 of the greater, which one bit of `kLeast`
// allows for.
template <int kFractionBits>
__device__ bool AreWhole(const float (&row)[4][4], float total) {
  constexpr float kLeast = 0x1p-22f * (1 << kFractionBits);
  float twice_least = 2 * total;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; j += 2) {
      const float sum = row[i][j] + row[i][j + 1], difference = row[i][j] - row[i][j + 1];
      twice_least = fminf(twice_least, sum - fabsf(difference));
    }
  }
  return (twice_least >= 2 * kLeast * total && total < 0x1p126f) || AreWhole(row, total);
}

// 2:4, as search.cuh explains: the best of three pairings of the rows, where each of the two pairs
// takes the split with the greatest difference.
class QuickHalf {
 public:
  explicit __device__ QuickHalf(const float (&row)[4][4]) {
    float split[4][3];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float sum01 = row[i][0] + row[i][1], sum23 = row[i][2] + row[i][3];
      const float difference01 = row[i][0] - row[i][1], difference23 = row[i][2] - row[i][3];
      split[i][0] = sum01 - sum23;
      split[i][1] = difference01 + difference23;
      split[i][2] = difference01 - difference23;
    }
#pragma unroll
    for (int p = 0; p < 3; ++p) {
      const int a = p == 0 ? 2 : 1, b = p == 2 ? 2 : 3;  // the rows beside 0 and p + 1
#pragma unroll
      for (int k = 0; k < 3; ++k) {
        first_[p][k] = split[0][k] - split[p + 1][k];
        second_[p][k] = split[a][k] - split[b][k];
      }
      gain_[p] = Greatest(first_[p]) + Greatest(second_[p]);
    }
    sum_ = fmaxf(fmaxf(gain_[0], gain_[1]), gain_[2]);
    const bool is0 = sum_ == gain_[0], is1 = sum_ == gain_[1];
    float first[3], second[3];
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      first[k] = is0 ? first_[0][k] : is1 ? first_[1][k] : first_[2][k];
      second[k] = is0 ? second_[0][k] : is1 ? second_[1][k] : second_[2][k];
    }
    const uint32_t half = BestHalf(first), other_half = BestHalf(second);
    one_split_ = half == other_half || half == 15 - other_half;
    // Row 0 takes `half`, row a `other_half`; p + 1 and b, whose bits are set in `complements`,
    // what these leave.
    const uint32_t complements = is0 ? 0xf0f0 : 0xff00;
    const uint32_t rows_of_half = is0 ? 0x0011 : is1 ? 0x0101 : 0x1001;
    const uint32_t rows_of_other = is0 ? 0x1100 : is1 ? 0x1010 : 0x0110;
    mask_ = (half * rows_of_half + other_half * rows_of_other) ^ complements;
  }

  // What the best mask keeps less what it drops.
  __device__ float sum() const { return sum_; }
  __device__ uint32_t mask() const { return mask_; }

  // How far the sum of every other mask is below sum().
  __device__ float Margin() const {
    float within[3];  // to the next mask of the same pairing
#pragma unroll
    for (int p = 0; p < 3; ++p) within[p] = fminf(Lead(first_[p]), Lead(second_[p]));
    const float third = fminf(fminf(gain_[0], gain_[1]), gain_[2]);
    const bool is0 = third == gain_[0], is1 = third == gain_[1];
    // If both pairs share a split, there are two rows of each half, and two pairings that find this
    // mask: the two best.
    const float within_two = fminf(is0 ? within[1] : within[0], is0 || is1 ? within[2] : within[1]);
    if (one_split_) return fminf(sum_ - third, within_two);
    const float of_best = sum_ == gain_[0] ? within[0] : sum_ == gain_[1] ? within[1] : within[2];
    return fminf(sum_ - Median(gain_[0], gain_[1], gain_[2]), of_best);
  }

 private:
  static __device__ float Greatest(const float (&x)[3]) {
    return fmaxf(fmaxf(fabsf(x[0]), fabsf(x[1])), fabsf(x[2]));
  }
  static __device__ float Lead(const float (&x)[3]) {
    return Greatest(x) - Median(fabsf(x[0]), fabsf(x[1]), fabsf(x[2]));
  }

  // The half of the columns that the first row of a pair takes; `difference` is the pair's.
  static __device__ uint32_t BestHalf(const float (&difference)[3]) {
    const float greatest = Greatest(difference);
    const bool is0 = fabsf(difference[0]) == greatest, is1 = fabsf(difference[1]) == greatest;
    const uint32_t half = is0 ? 0b0011 : is1 ? 0b0101 : 0b1001;
    const float best = is0 ? difference[0] : is1 ? difference[1] : difference[2];
    return best < 0 ? 15 - half : half;
  }

  // Of pairing p, which pairs row 0 with row p + 1: the differences of that pair's splits and of
  // the other pair's.
  float first_[3][3], second_[3][3];
  float gain_[3];
  float sum_;
  uint32_t mask_;
  bool one_split_;
};

// 1:4: the best permutation, of 24.
class QuickPermutation {
 public:
  explicit __device__ QuickPermutation(const float (&row)[4][4]) {
    constexpr int kColumns[6][4] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {0, 3, 1, 2},
                                    {1, 2, 0, 3}, {1, 3, 0, 2}, {2, 3, 0, 1}};
#pragma unroll
    for (int k = 0; k < 6; ++k) {
      const auto& [p, q, r, s] = kColumns[k];
      const Order top(row, 0, p, q), bottom(row, 2, r, s);
      const float sum = top.sum + bottom.sum;
      const bool better = k == 0 || sum > sum_;
      runner_up_ = k == 0 ? -FLT_MAX : fmaxf(runner_up_, fminf(sum, sum_));
      sum_ = better ? sum : sum_;
      lead_ = better ? fminf(top.lead, bottom.lead) : lead_;
      mask_ = better ? top.mask | bottom.mask : mask_;
    }
  }

  __device__ float sum() const { return sum_; }
  __device__ uint32_t mask() const { return mask_; }

  // How far the sum of every other mask is below sum().
  __device__ float Margin() const { return fminf(sum_ - runner_up_, lead_); }

 private:
  // The better order of columns p and q in rows a and a + 1.
  struct Order {
    __device__ Order(const float (&row)[4][4], int a, int p, int q) {
      const float x = row[a][p] + row[a + 1][q], y = row[a][q] + row[a + 1][p];
      const uint32_t for_x = 1u << p | 16u << q, for_y = 1u << q | 16u << p;
      sum = fmaxf(x, y);
      lead = fabsf(x - y);
      mask = (x >= y ? for_x : for_y) << 4 * a;
    }
    float sum, lead;
    uint32_t mask;
  };

  float sum_, runner_up_, lead_;
  uint32_t mask_;
};

}  // namespace tsenor::cuda
