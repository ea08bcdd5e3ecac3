// The CPU backend: every method, on any number of threads.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "solver/solver.h"

namespace tsenor {

struct CpuSolverOptions {
  // Threads that solve, the calling one included. 0: one per core that this process may run on.
  int threads = 0;
};

// Errors: InvalidArgument for a negative or absurd (> 1024) number of threads.
absl::StatusOr<std::unique_ptr<Solver>> MakeCpuSolver(const CpuSolverOptions& options = {});

}  // namespace tsenor
