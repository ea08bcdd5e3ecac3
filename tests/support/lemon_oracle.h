// LEMON's network simplex: an oracle for the integer optimum that shares no code with the solvers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "solver/problem.h"

namespace tsenor {

// Solves blocks of one pattern; the network is built once.
//
// Not thread-safe: one thread at a time.
class LemonOracle {
 public:
  explicit LemonOracle(Pattern pattern);
  ~LemonOracle();

  Pattern pattern() const { return pattern_; }

  // The greatest sum that a mask of exact line sums can keep of the m x m `scores` (row-major).
  // Aborts if LEMON finds no optimum: every pattern has one.
  int64_t GreatestKeptSum(std::span<const int64_t> scores);

 private:
  struct Network;
  const Pattern pattern_;
  const std::unique_ptr<Network> network_;
};

}  // namespace tsenor
