#include "solver/random_masks.h"

#include <cstddef>
#include <mutex>
#include <numeric>
#include <random>
#include <utility>

namespace tsenor {
namespace {

using Random = std::mt19937_64;

// `bits`, uniform in [0, 2^16), scaled to [0, count).
int Scale(uint64_t bits, int count) { return static_cast<int>((bits & 0xffff) * count >> 16); }

std::vector<int> Permutation(int count, Random& random) {
  std::vector<int> permutation(count);
  std::iota(permutation.begin(), permutation.end(), 0);
  for (int k = count - 1; k > 0; --k)
    std::swap(permutation[k], permutation[Scale(random(), k + 1)]);
  return permutation;
}

std::vector<uint8_t> ShuffledCyclicMask(Pattern pattern, Random& random) {
  const auto [n, m] = pattern;
  const std::vector<int> rows = Permutation(m, random);
  const std::vector<int> columns = Permutation(m, random);
  std::vector<uint8_t> kept(static_cast<size_t>(m) * m);
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < m; ++j) kept[i * m + j] = (rows[i] + columns[j]) % m < n;
  }
  return kept;
}

// One step of the chain, without branches, which nobody could predict. Equal rows or columns never
// hold the pattern: nothing is switched.
void Switch(std::vector<uint8_t>& kept, int m, uint64_t bits) {
  const int row = Scale(bits, m) * m, other_row = Scale(bits >> 16, m) * m;
  const int column = Scale(bits >> 32, m), other_column = Scale(bits >> 48, m);
  uint8_t& a = kept[row + column];
  uint8_t& b = kept[row + other_column];
  uint8_t& c = kept[other_row + column];
  uint8_t& d = kept[other_row + other_column];
  const auto flip = static_cast<uint8_t>((a == d) & (b == c) & (a != b));
  a ^= flip;
  b ^= flip;
  c ^= flip;
  d ^= flip;
}

}  // namespace

RandomMasks::RandomMasks(Pattern pattern, const MaxRandomOptions& options)
    : pattern_(pattern), options_(options), row_bytes_((pattern.m + 7) / 8) {
  const int m = pattern.m;
  bits_.resize(static_cast<size_t>(options.samples) * m * row_bytes_);
  Random random(options.seed);
  for (int mask = 0; mask < options.samples; ++mask) {
    std::vector<uint8_t> kept = ShuffledCyclicMask(pattern, random);
    for (int step = 0; step < kSwitchesPerEntry * m * m; ++step) Switch(kept, m, random());
    for (int i = 0; i < m; ++i) {
      uint8_t* row = &bits_[(static_cast<size_t>(i) * options.samples + mask) * row_bytes_];
      for (int j = 0; j < m; ++j) row[j / 8] |= static_cast<uint8_t>(kept[i * m + j] << (j % 8));
    }
  }
}

std::shared_ptr<const RandomMasks> SharedRandomMasks(Pattern pattern,
                                                     const MaxRandomOptions& options) {
  static std::mutex mutex;
  static auto& latest = *new std::shared_ptr<const RandomMasks>;  // guarded by mutex; never deleted
  const std::lock_guard lock(mutex);
  if (!latest || latest->pattern() != pattern || latest->options() != options) {
    latest.reset();  // before the next ones take memory
    latest = std::make_shared<const RandomMasks>(pattern, options);
  }
  return latest;
}

}  // namespace tsenor
