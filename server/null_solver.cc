#include "server/null_solver.h"

#include <algorithm>
#include <limits>

namespace tsenor::server {
namespace {

class NullSolver final : public Solver {
 public:
  const SolverInfo& info() const override { return info_; }

  absl::Status Solve(const Batch& batch) override {
    if (batch.memory != MemorySpace::kHost) {
      return absl::InvalidArgumentError("memory is kDevice; the null backend takes kHost");
    }
    const Pattern& pattern = batch.problem.pattern;
    for (const Tile& tile : batch.tiles) {
      for (int64_t row = 0; row < tile.rows; ++row) {
        std::fill_n(tile.mask + row * tile.mask_row_stride, MaskRowBytes(tile.columns), 0);
      }
      std::fill_n(tile.stats, BlocksAlong(tile.rows, pattern.m),
                  StatsOf(pattern, BlocksAlong(tile.columns, pattern.m)));
    }
    return absl::OkStatus();
  }

 private:
  // Of one block row. No score exceeds the greatest float32, and a mask keeps at most n m entries.
  static SolveStats StatsOf(const Pattern& pattern, int64_t blocks) {
    SolveStats stats;
    stats.blocks = blocks;
    stats.blocks_short = pattern.n > 0 ? blocks : 0;
    stats.bound = static_cast<double>(blocks) * pattern.n * pattern.m *
                  static_cast<double>(std::numeric_limits<float>::max());
    return stats;
  }

  const SolverInfo info_ = {.name = "null", .device = "solves nothing; its masks keep no weight"};
};

}  // namespace

std::unique_ptr<Solver> MakeNullSolver() { return std::make_unique<NullSolver>(); }

}  // namespace tsenor::server
