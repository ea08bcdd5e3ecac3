// Which solvers a server has: the only part of it that names backends.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/flags.h"
#include "solver/solver.h"

namespace tsenor::server {

// The solvers that a command line asks for.
struct Backends {
  std::vector<std::unique_ptr<Solver>> solvers;  // at least one
  // Why no GPU solves, if the server was free to choose (--backend auto); else empty.
  std::string fallback_reason;
  // GPUs that are left out, each with its reason.
  std::vector<std::string> left_out;
};

// --backend auto: one solver for each GPU that can be used, or the CPU's if there is none. cuda:
// the GPUs of --devices, or all that can be used. cpu, reference, null: as they say. A GPU can be
// used if it solves a block.
//
// Errors: FailedPrecondition if cuda is asked for and this program has no such backend, there is no
// GPU that can be used, or one of --devices cannot; those of MakeCpuSolver().
absl::StatusOr<Backends> MakeBackends(const Flags& flags);

}  // namespace tsenor::server
