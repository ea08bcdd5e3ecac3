// The random feasible masks among which Method::kMaxRandom chooses: one definition for all
// backends.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "solver/options.h"
#include "solver/problem.h"

namespace tsenor {

// Masks drawn almost uniformly from all m x m masks whose lines keep n entries each. Every mask
// starts from a cyclic one with its rows and its columns shuffled, and takes
// kSwitchesPerEntry * m^2 steps of a Markov chain: draw two rows and two columns, and if they
// hold 1 0 / 0 1 or 0 1 / 1 0, switch one for the other. Switches connect all feasible masks
// (Ryser, Combinatorial properties of matrices of zeros and ones, 1957), and a step is as likely as
// its reverse, so that the chain tends to the uniform distribution (Kannan, Tetali, Vempala, Simple
// Markov-chain algorithms for generating bipartite graphs and tournaments, 1999).
//
// A function of pattern, seed and a mask's number alone, on every machine: mt19937_64, integers.
//
// Immutable, hence thread-safe. samples * m * ceil(m / 8) bytes.
class RandomMasks {
 public:
  // REQUIRES: ValidateProblem() accepts pattern and options; 0 < n < m.
  RandomMasks(Pattern pattern, const MaxRandomOptions& options);

  Pattern pattern() const { return pattern_; }
  const MaxRandomOptions& options() const { return options_; }
  int row_bytes() const { return row_bytes_; }

  // One row of all masks, mask after mask, row_bytes() each: column j is bit j % 8 of byte j / 8.
  // Unused bits are 0.
  std::span<const uint8_t> Row(int row) const {
    const size_t size = static_cast<size_t>(options_.samples) * row_bytes_;
    return std::span(bits_).subspan(row * size, size);
  }

  bool Keeps(int mask, int row, int column) const {
    return Row(row)[mask * row_bytes_ + column / 8] >> (column % 8) & 1;
  }

 private:
  static constexpr int kSwitchesPerEntry = 2;

  const Pattern pattern_;
  const MaxRandomOptions options_;
  const int row_bytes_;
  std::vector<uint8_t> bits_;
};

// The masks of a problem, made at the first call. The process keeps those asked for last, so that
// the calls of one problem share them. Thread-safe. REQUIRES: as the constructor.
std::shared_ptr<const RandomMasks> SharedRandomMasks(Pattern pattern,
                                                     const MaxRandomOptions& options);

}  // namespace tsenor
