#include "tests/support/block_arithmetic.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace tsenor {
namespace {

// score == significand * 2^exponent, significand < 2^24.
struct Decoded {
  uint64_t significand = 0;
  int exponent = 0;
};

Decoded Decode(float score) {
  const auto bits = std::bit_cast<uint32_t>(score) & 0x7fffffff;
  const int biased = static_cast<int>(bits >> 23);
  const uint64_t fraction = bits & 0x7fffff;
  if (biased == 0) return {fraction, -149};
  return {fraction | 0x800000, biased - 150};
}

// significand * 2^shift to the nearest integer, ties to even. REQUIRES: shift <= 24.
int64_t ShiftRounded(uint64_t significand, int shift) {
  if (shift >= 0) return static_cast<int64_t>(significand << shift);
  if (shift < -25) return 0;  // less than half
  const uint64_t floor = significand >> -shift;
  const uint64_t rest = significand - (floor << -shift);
  const uint64_t half = uint64_t{1} << (-shift - 1);
  const bool up = rest > half || (rest == half && floor % 2 == 1);
  return static_cast<int64_t>(floor + (up ? 1 : 0));
}

}  // namespace

std::vector<int64_t> QuantiseBlockByBits(std::span<const float> scores) {
  // The greatest score is f * 2^e with f in [0.5, 1): e is its number of integer bits.
  const Decoded greatest = Decode(*std::max_element(scores.begin(), scores.end()));
  const int e = static_cast<int>(std::bit_width(greatest.significand)) + greatest.exponent;
  std::vector<int64_t> quanta;
  for (const float score : scores) {
    const Decoded decoded = Decode(score);
    quanta.push_back(decoded.significand == 0
                         ? 0
                         : ShiftRounded(decoded.significand, decoded.exponent + 24 - e));
  }
  return quanta;
}

std::vector<float> RoundToQuanta(std::span<const float> weights) {
  std::vector<float> rounded;
  for (const float weight : weights) rounded.push_back(std::fabs(weight));
  const std::vector<int64_t> quanta = QuantiseBlockByBits(rounded);
  int exponent = 0;
  std::frexp(*std::max_element(rounded.begin(), rounded.end()), &exponent);
  for (size_t e = 0; e < weights.size(); ++e) {
    // At most 24 significant bits: exact in float32.
    const double magnitude = std::ldexp(static_cast<double>(quanta[e]), exponent - 24);
    rounded[e] = std::copysign(static_cast<float>(magnitude), weights[e]);
  }
  return rounded;
}

int64_t KeptSum(std::span<const int64_t> scores, std::span<const uint8_t> kept) {
  int64_t sum = 0;
  for (size_t e = 0; e < scores.size(); ++e) sum += kept[e] * scores[e];
  return sum;
}

long double KeptSum(std::span<const float> scores, std::span<const uint8_t> kept) {
  long double sum = 0;
  for (size_t e = 0; e < scores.size(); ++e) sum += kept[e] ? scores[e] : 0.0L;
  return sum;
}

long double DualBound(std::span<const float> scores, Pattern pattern,
                      std::span<const double> potentials) {
  const auto [n, m] = pattern;
  long double bound = 0;
  for (const double potential : potentials) bound += static_cast<long double>(n) * potential;
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < m; ++j) {
      const long double rest =
          static_cast<long double>(scores[i * m + j]) - potentials[i] - potentials[m + j];
      if (rest > 0) bound += rest;
    }
  }
  return bound;
}

LineSums LineSumsOf(std::span<const uint8_t> kept, int m) {
  LineSums sums = {m, 0};
  for (int k = 0; k < m; ++k) {
    int row = 0;
    int column = 0;
    for (int l = 0; l < m; ++l) {
      row += kept[k * m + l];
      column += kept[l * m + k];
    }
    sums.least = std::min({sums.least, row, column});
    sums.greatest = std::max({sums.greatest, row, column});
  }
  return sums;
}

}  // namespace tsenor
