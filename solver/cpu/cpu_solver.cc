#include "solver/cpu/cpu_solver.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "solver/cpu/block_solver.h"
#include "solver/cpu/thread_pool.h"
#include "solver/validate.h"

namespace tsenor {
namespace {

constexpr int kMaxThreads = 1024;

// The cores that this process may run on (a container's share, not the machine's).
int AvailableCores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof(cores), &cores) != 0) return 1;
  return std::max(1, CPU_COUNT(&cores));
}

std::string ProcessorName() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

// The work of one call: block rows, which threads draw from a counter.
class BlockRows {
 public:
  explicit BlockRows(const Batch& batch) : batch_(batch) {
    for (const Tile& tile : batch.tiles) {
      first_.push_back(count_);
      count_ += BlocksAlong(tile.rows, batch.problem.pattern.m);
    }
  }

  int64_t count() const { return count_; }
  bool failed() const { return failed_; }

  // Solves block rows until none is left. Called by every thread that takes part.
  template <int kWidth>
  void Work() {
    const auto solver = std::make_unique<cpu::BlockSolver<kWidth>>(batch_.problem);
    for (int64_t k = next_++; k < count_; k = next_++) {
      const auto after = std::upper_bound(first_.begin(), first_.end(), k);
      const size_t tile = after - first_.begin() - 1;
      if (!SolveRow(*solver, batch_.tiles[tile], k - first_[tile])) failed_ = true;
    }
  }

 private:
  template <int kWidth>
  bool SolveRow(cpu::BlockSolver<kWidth>& solver, const Tile& tile, int64_t block_row) {
    const int m = batch_.problem.pattern.m;
    const int64_t row = block_row * m;
    for (int64_t r = row; r < std::min(row + m, tile.rows); ++r) {
      std::fill_n(tile.mask + r * tile.mask_row_stride, MaskRowBytes(tile.columns), uint8_t{0});
    }
    double* potentials = tile.potentials;
    if (potentials) potentials += block_row * BlocksAlong(tile.columns, m) * 2 * m;
    SolveStats total;
    for (int64_t column = 0; column < tile.columns; column += m) {
      SolveStats block;
      if (!solver.Solve(tile, row, column, potentials, block)) return false;
      total += block;
      if (potentials) potentials += 2 * m;
    }
    tile.stats[block_row] = total;
    return true;
  }

  const Batch& batch_;
  std::vector<int64_t> first_;  // of each tile: its first block row's number
  int64_t count_ = 0;
  std::atomic<int64_t> next_ = 0;
  std::atomic<bool> failed_ = false;
};

class CpuSolver final : public Solver {
 public:
  explicit CpuSolver(int threads)
      : info_{.name = "cpu",
              .device = ProcessorName(),
              .threads = threads,
              .batches_in_flight = 1,
              // Some milliseconds of work for each thread: more would only wait longer.
              .efficient_batch_elements = int64_t{threads} << 18},
        pool_(threads - 1) {}

  const SolverInfo& info() const override { return info_; }

  absl::Status Solve(const Batch& batch) override {
    if (absl::Status status = ValidateProblem(batch.problem); !status.ok()) return status;
    if (batch.memory != MemorySpace::kHost || batch.stream != nullptr) {
      return absl::InvalidArgumentError("the cpu backend solves in host memory, without a stream");
    }
    BlockRows rows(batch);
    pool_.Run(static_cast<int>(std::min<int64_t>(rows.count() - 1, info_.threads - 1)),
              [&] { Work(rows, batch.problem.pattern.m); });
    if (rows.failed())
      return absl::InternalError("the exact finish found no optimum; please report");
    return absl::OkStatus();
  }

 private:
  static void Work(BlockRows& rows, int m) {
    if (m <= 4) return rows.Work<4>();
    if (m <= 8) return rows.Work<8>();
    if (m <= 16) return rows.Work<16>();
    if (m <= 32) return rows.Work<32>();
    if (m <= 64) return rows.Work<64>();
    return rows.Work<128>();
  }

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
