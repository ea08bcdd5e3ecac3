// The reference backend: plain loops in float64 and int64, one thread, written to be read. The
// truth that the other backends are compared with; itself judged by an independent oracle in the
// tests.
#pragma once

#include <memory>

#include "solver/solver.h"

namespace tsenor {

std::unique_ptr<Solver> MakeReferenceSolver();

}  // namespace tsenor
