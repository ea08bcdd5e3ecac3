// A backend that solves nothing, so that what is left to measure is the way there and back.
#pragma once

#include <memory>

#include "solver/solver.h"

namespace tsenor::server {

// The backend "null": reads no weight and answers masks that keep nothing, whatever the problem.
// Says so in all that it answers: its name, a value of 0, every block short and none proven, and a
// relative gap of 1: the bound is the trivial one, n m times the greatest float32 for each block.
// The sum of the scores is not computed: 0. Takes batches in host memory.
std::unique_ptr<Solver> MakeNullSolver();

}  // namespace tsenor::server
