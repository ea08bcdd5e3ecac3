#include "tests/support/brute_force.h"

#include <bit>
#include <limits>
#include <vector>

namespace tsenor {
namespace {

constexpr int64_t kInfeasible = std::numeric_limits<int64_t>::min();

// The best sum of the rows from `row` on, if `room` is what the columns still take.
int64_t BestOfRows(std::span<const int64_t> scores, Pattern pattern, int row,
                   std::vector<int>& room) {
  if (row == pattern.m) return 0;
  int64_t best = kInfeasible;
  for (unsigned kept = 0; kept < 1u << pattern.m; ++kept) {
    if (std::popcount(kept) != pattern.n) continue;
    int64_t sum = 0;
    bool fits = true;
    for (int j = 0; j < pattern.m; ++j) {
      const int keep = kept >> j & 1;
      room[j] -= keep;
      fits = fits && room[j] >= 0;
      sum += keep * scores[row * pattern.m + j];
    }
    const int64_t rest = fits ? BestOfRows(scores, pattern, row + 1, room) : kInfeasible;
    if (rest != kInfeasible && sum + rest > best) best = sum + rest;
    for (int j = 0; j < pattern.m; ++j) room[j] += kept >> j & 1;
  }
  return best;
}

}  // namespace

int64_t GreatestKeptSumByTrying(std::span<const int64_t> scores, Pattern pattern) {
  std::vector<int> room(pattern.m, pattern.n);
  return BestOfRows(scores, pattern, 0, room);
}

}  // namespace tsenor
