#include "server/backends.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/null_solver.h"
#include "solver/cpu/cpu_solver.h"
#include "solver/reference/reference_solver.h"
#if TSENOR_WITH_CUDA
#include "solver/cuda/cuda_solver.h"
#endif

namespace tsenor::server {
namespace {

absl::StatusOr<Backends> One(absl::StatusOr<std::unique_ptr<Solver>> solver) {
  if (!solver.ok()) return solver.status();
  Backends backends;
  backends.solvers.push_back(*std::move(solver));
  return backends;
}

#if TSENOR_WITH_CUDA

// A solver that has solved: a GPU that does not work is found out now, and no request waits for one
// to start.
absl::StatusOr<std::unique_ptr<Solver>> MakeTriedCudaSolver(int device) {
  absl::StatusOr<std::unique_ptr<Solver>> solver = MakeCudaSolver(device);
  if (!solver.ok()) return solver;
  Problem problem;
  problem.pattern = {.n = 4, .m = 8};
  const std::vector<float> weights(64, 1.0f);
  const absl::Status tried = SolveMatrix(**solver, problem, weights.data(), 8, 8).status();
  if (tried.ok()) return solver;
  return absl::Status(tried.code(), absl::StrCat("cuda:", device, ": ", tried.message()));
}

absl::StatusOr<Backends> MakeCudaBackends(const std::vector<int>& asked) {
  Backends backends;
  std::vector<int> devices = asked;
  for (int k = 0; asked.empty() && k < CudaDeviceCount(); ++k) devices.push_back(k);
  if (devices.empty()) devices.push_back(0);  // whose absence has a reason
  for (const int device : devices) {
    absl::StatusOr<std::unique_ptr<Solver>> solver = MakeTriedCudaSolver(device);
    if (solver.ok()) {
      backends.solvers.push_back(*std::move(solver));
      continue;
    }
    backends.left_out.emplace_back(solver.status().message());
    if (!asked.empty()) return absl::FailedPreconditionError(backends.left_out.back());
  }
  if (!backends.solvers.empty()) return backends;
  return absl::FailedPreconditionError(absl::StrJoin(backends.left_out, "; "));
}

#else

absl::StatusOr<Backends> MakeCudaBackends(const std::vector<int>&) {
  return absl::FailedPreconditionError("this program was built without the CUDA backend");
}

#endif

}  // namespace

absl::StatusOr<Backends> MakeBackends(const Flags& flags) {
  if (flags.backend == "reference") return One(MakeReferenceSolver());
  if (flags.backend == "null") return One(MakeNullSolver());
  if (flags.backend == "cpu") return One(MakeCpuSolver({.threads = flags.threads}));
  absl::StatusOr<Backends> cuda = MakeCudaBackends(flags.devices);
  if (cuda.ok()) return cuda;
  if (flags.backend == "cuda") {
    return absl::FailedPreconditionError(
        absl::StrCat("backend is cuda: ", cuda.status().message()));
  }
  absl::StatusOr<Backends> cpu = One(MakeCpuSolver({.threads = flags.threads}));
  if (cpu.ok()) cpu->fallback_reason = std::string(cuda.status().message());
  return cpu;
}

}  // namespace tsenor::server
