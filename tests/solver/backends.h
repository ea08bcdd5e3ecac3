// The backends that the tests of this folder judge by the same claims.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "solver/cpu/cpu_solver.h"
#include "solver/reference/reference_solver.h"
#include "solver/solver.h"

namespace tsenor {

// A name for test lists, and how to make the backend.
struct Backend {
  const char* name;
  std::unique_ptr<Solver> (*make)();
};

inline std::unique_ptr<Solver> MakeCpuSolverWithThreads(int threads) {
  auto solver = MakeCpuSolver({.threads = threads});
  if (!solver.ok()) ADD_FAILURE() << solver.status().ToString();
  return *std::move(solver);
}

inline constexpr Backend kReferenceBackend = {"Reference", [] { return MakeReferenceSolver(); }};
inline constexpr Backend kCpuBackend = {"Cpu", [] { return MakeCpuSolverWithThreads(2); }};

inline std::string BackendName(const testing::TestParamInfo<Backend>& backend) {
  return backend.param.name;
}

// How gtest prints one.
inline void PrintTo(const Backend& backend, std::ostream* out) { *out << backend.name; }

// A test that every backend must pass.
class BackendTest : public testing::TestWithParam<Backend> {
 protected:
  Solver& solver() { return *solver_; }

 private:
  const std::unique_ptr<Solver> solver_ = GetParam().make();
};

}  // namespace tsenor
