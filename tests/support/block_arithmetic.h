// The arithmetic by which answers are judged: written again from the documents (solver/quantise.h,
// solver/certificate.h), in integers and long double, without the solver's code.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "solver/problem.h"

namespace tsenor {

// The quantised scores of one block by the rule of solver/quantise.h, in integer arithmetic on the
// bits of the floats. REQUIRES: scores finite and >= 0.
std::vector<int64_t> QuantiseBlockByBits(std::span<const float> scores);

// The weights of one block with magnitudes rounded to whole quanta of it; signs stay. The greatest
// magnitude stays too, and with it the quantum.
std::vector<float> RoundToQuanta(std::span<const float> weights);

// Sum of the entries kept (one byte an entry, 0 or 1).
int64_t KeptSum(std::span<const int64_t> scores, std::span<const uint8_t> kept);
long double KeptSum(std::span<const float> scores, std::span<const uint8_t> kept);

// The weak-duality bound that 2m potentials (row potentials first) prove for an m x m block.
long double DualBound(std::span<const float> scores, Pattern pattern,
                      std::span<const double> potentials);

// Greatest and least number of entries kept by a line of an m x m block.
struct LineSums {
  int least = 0;
  int greatest = 0;
};
LineSums LineSumsOf(std::span<const uint8_t> kept, int m);

}  // namespace tsenor
