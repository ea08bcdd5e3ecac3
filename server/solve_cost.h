// What solving costs, learnt from batches.
#pragma once

#include <cstddef>
#include <map>

#include "solver/problem.h"

namespace tsenor::server {

// How long weights of each problem take to solve: methods and patterns differ by factors of a
// hundred, and no table would know the machine. Clients choose problems freely, so only
// kMaxProblems of them are known at a time.
//
// Thread-compatible: the dispatcher guards it.
class SolveCost {
 public:
  static constexpr size_t kMaxProblems = 256;

  // A batch of `elements` weights took `seconds` in the solver. The last few batches of a problem
  // count, the large ones most, because what each batch costs besides its weights shows least
  // there. REQUIRES: elements > 0, seconds >= 0.
  void Record(const Problem& problem, int64_t elements, double seconds);

  // 0: not known.
  double seconds_per_element(const Problem& problem) const;

 private:
  struct Sums {
    double elements = 0;
    double seconds = 0;
  };
  std::map<Problem, Sums> sums_;  // of the last batches, older ones with less weight
};

}  // namespace tsenor::server
