#include "solver/cpu/cpu_solver.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "solver/cpu/block_rows.h"
#include "solver/cpu/solve_rows.h"
#include "solver/cpu/thread_pool.h"
#include "solver/validate.h"

namespace tsenor {
namespace {

constexpr int kMaxThreads = 1024;

// A millisecond of work for each thread, and so much in all that what comes with each batch (two
// callers that wake, and interrupt threads at work) does not show: with a quarter of it, a
// checkpoint takes 2 % more processor time end to end (AMD EPYC, 2 cores, 2026-11-23: `tsenor mask`
// of tests/bench/end_to_end.py by reference). More would only wait longer.
constexpr int64_t kBatchElements = int64_t{8} << 20;

// The cores that this process may run on (its cpuset; a CPU quota is not seen).
int AvailableCores() {
  cpu_set_t cores;
  // More cores than the set can name: all of them.
  const bool named = sched_getaffinity(0, sizeof(cores), &cores) == 0;
  const int count =
      named ? CPU_COUNT(&cores) : static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, count);
}

std::string ProcessorName() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

class CpuSolver final : public Solver {
 public:
  explicit CpuSolver(int threads)
      : info_{.name = "cpu",
              .device = ProcessorName(),
              .threads = threads,
              // Threads go on with the second one as soon as the first one's block rows are taken,
              // while its caller deals with the answer.
              .batches_in_flight = 2,
              .efficient_batch_elements = std::max(int64_t{threads} << 18, kBatchElements)},
        pool_(threads - 1) {}

  const SolverInfo& info() const override { return info_; }

  absl::Status Solve(const Batch& batch) override {
    if (absl::Status status = ValidateProblem(batch.problem); !status.ok()) return status;
    if (batch.memory != MemorySpace::kHost || batch.stream != nullptr) {
      return absl::InvalidArgumentError("the cpu backend solves in host memory, without a stream");
    }
    cpu::BlockRows rows(batch);
    pool_.Run(static_cast<int>(std::clamp<int64_t>(rows.count() - 1, 0, info_.threads - 1)),
              [&rows] { cpu::SolveRows(rows); });
    if (rows.failed())
      return absl::InternalError("the exact finish found no optimum; please report");
    return absl::OkStatus();
  }

 private:
  const SolverInfo info_;
  cpu::ThreadPool pool_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Solver>> MakeCpuSolver(const CpuSolverOptions& options) {
  if (options.threads < 0 || options.threads > kMaxThreads) {
    return absl::InvalidArgumentError(
        absl::StrCat("threads is ", options.threads, "; it must be in [0, ", kMaxThreads, "]"));
  }
  const int threads = options.threads == 0 ? AvailableCores() : options.threads;
  return std::make_unique<CpuSolver>(threads);
}

}  // namespace tsenor
