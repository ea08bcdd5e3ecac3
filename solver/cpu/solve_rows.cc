#include "solver/cpu/solve_rows.h"

// This file, and the -inl.h files with it, is compiled once for every instruction set; the best one
// that the machine has is chosen at run time. SSSE3 without SSE4 is left out: no machine of
// interest has it.
#define HWY_DISABLED_TARGETS HWY_SSSE3
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "solver/cpu/solve_rows.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "solver/cpu/block_solver-inl.h"
#include "solver/cpu/entropic_plans-inl.h"
#include "solver/cpu/exhaustive_solver-inl.h"
#include "solver/cpu/lane_solver-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {
namespace {

// Solves block rows, of blocks of up to kWidth x kWidth, one after another in one thread's memory.
template <int kWidth>
class RowSolver {
 public:
  explicit RowSolver(const Problem& problem)
      : problem_(problem), m_(problem.pattern.m), blocks_(problem) {
    const auto [n, m] = problem.pattern;
    if (n == 0 || n == m) return;
    if (problem.options.method == Method::kTsenor) {
      plans_ = std::make_unique<EntropicPlans<kWidth>>(problem);
    }
    if (problem.options.method != Method::kOptimal) return;
    if (m == ExhaustiveSolver::kM) exhaustive_.emplace(problem);
    if (m <= LaneSolver::kMaxM) lanes_.emplace(problem);
  }

  // False: an internal error, some block has no optimum.
  bool Solve(const Tile& tile, int64_t number) {
    const int64_t row = number * m_;
    for (int64_t r = row; r < std::min(row + m_, tile.rows); ++r) {
      std::fill_n(tile.mask + r * tile.mask_row_stride, MaskRowBytes(tile.columns), uint8_t{0});
    }
    const int64_t blocks = BlocksAlong(tile.columns, m_);
    double* potentials = tile.potentials;
    if (potentials) potentials += number * blocks * 2 * m_;
    SolveStats total;
    for (int64_t first = 0; first < blocks; first += kGroup) {
      const int count = static_cast<int>(std::min<int64_t>(kGroup, blocks - first));
      if (!SolveGroup(tile, row, first * m_, count, potentials, total)) return false;
      if (potentials) potentials += 2 * m_ * count;
    }
    tile.stats[number] = total;
    return true;
  }

  // The same for the rows of a run of several (cpu/block_rows.h): from a tile in which they lie
  // side by side, one group of blocks after the other. A block's answer is the same wherever it
  // lies.
  bool SolveSideBySide(const std::vector<BlockRow>& run) {
    const Tile tile = LaySideBySide(run);
    const int64_t blocks = tile.columns / m_;
    SolveStats stats[kBlocksAtOnce];
    for (int64_t first = 0; first < blocks; first += kGroup) {
      const int count = static_cast<int>(std::min<int64_t>(kGroup, blocks - first));
      if (!SolveBlocks(tile, 0, first * m_, count, nullptr, stats + first)) return false;
    }
    int64_t block = 0;
    for (const BlockRow& row : run) {
      SolveStats& total = row.tile->stats[row.number] = SolveStats();
      const int64_t bytes = MaskRowBytes(row.tile->columns);
      for (int i = 0; i < m_; ++i) {
        const uint8_t* const from = tile.mask + i * tile.mask_row_stride + block * m_ / 8;
        std::copy_n(from, bytes,
                    row.tile->mask + (row.number * m_ + i) * row.tile->mask_row_stride);
      }
      for (const int64_t end = block + row.tile->columns / m_; block < end; ++block) {
        total += stats[block];
      }
    }
    return true;
  }

 private:
  Tile LaySideBySide(const std::vector<BlockRow>& run) {
    Tile tile;
    for (const BlockRow& row : run) tile.columns += row.tile->columns;
    tile.rows = m_;
    tile.row_stride = tile.columns;
    tile.mask_row_stride = MaskRowBytes(tile.columns);
    const int64_t size = static_cast<int64_t>(SizeOf(problem_.dtype));
    weights_.resize(m_ * tile.columns * size);
    norms_.clear();
    masks_.assign(m_ * tile.mask_row_stride, 0);
    std::byte* to = weights_.data();
    for (int i = 0; i < m_; ++i) {
      for (const BlockRow& row : run) {
        const int64_t first = (row.number * m_ + i) * row.tile->row_stride;
        const auto* const weights = static_cast<const std::byte*>(row.tile->weights);
        to = std::copy_n(weights + first * size, row.tile->columns * size, to);
      }
    }
    if (problem_.score_kind == ScoreKind::kMagnitudeTimesColumnNorm) {
      for (const BlockRow& row : run) {
        norms_.insert(norms_.end(), row.tile->column_norms,
                      row.tile->column_norms + row.tile->columns);
      }
    }
    tile.weights = weights_.data();
    tile.column_norms = norms_.data();
    tile.mask = masks_.data();
    return tile;
  }

  bool SolveGroup(const Tile& tile, int64_t row, int64_t column, int count, double* potentials,
                  SolveStats& total) {
    SolveStats stats[kGroup];
    if (!exhaustive_) {
      if (!SolveBlocks(tile, row, column, count, potentials, stats)) return false;
      for (int k = 0; k < count; ++k) total += stats[k];
      return true;
    }
    SolveStats other = {.bound = total.bound};  // block by block, whatever the size of a group
    exhaustive_->Solve(tile, row, column, count, total);
    if (potentials == nullptr) return true;
    // A search has no potentials: those of another optimum, and the bound that they prove.
    unused_mask_.resize(MaskRowBytes(tile.columns));
    Tile of_potentials = tile;
    of_potentials.mask = unused_mask_.data();
    of_potentials.mask_row_stride = 0;
    const bool solved = SolveBlocks(of_potentials, row, column, count, potentials, stats);
    for (int k = 0; k < count; ++k) other += stats[k];
    total.bound = other.bound;
    return solved;
  }

  // `stats`: one for each block.
  bool SolveBlocks(const Tile& tile, int64_t row, int64_t column, int count, double* potentials,
                   SolveStats* stats) {
    if (plans_) plans_->Solve(tile, row, column, count);
    const uint32_t solved = lanes_ ? lanes_->Solve(tile, row, column, count, potentials, stats) : 0;
    for (int k = 0; k < count; ++k) {
      if (!(solved >> k & 1)) {
        typename BlockSolver<kWidth>::Start start;
        if (lanes_) start.sweeps = lanes_->StartOf(k, start.row_potential, start.column_potential);
        if (plans_) start.plan = plans_->PlanOf(k);
        double* const of_block = potentials ? potentials + 2 * m_ * k : nullptr;
        if (!blocks_.Solve(tile, row, column + k * m_, of_block, stats[k], &start)) return false;
      }
    }
    return true;
  }

  // Neighbouring blocks, one in each lane. Only small blocks meet a LaneSolver.
  static constexpr int kGroup = EntropicPlans<kWidth>::kLanes;
  static_assert(kGroup <= kBlocksAtOnce);
  static_assert(kWidth > LaneSolver::kMaxM || kGroup == LaneSolver::kLanes);

  const Problem& problem_;
  const int m_;
  BlockSolver<kWidth> blocks_;
  std::vector<std::byte> weights_;    // of a run's block rows, side by side
  std::vector<float> norms_;          // of their columns
  std::vector<uint8_t> masks_;        // of them
  std::vector<uint8_t> unused_mask_;  // of the blocks that are solved for their potentials alone
  std::optional<ExhaustiveSolver> exhaustive_;    // m = 4
  std::optional<LaneSolver> lanes_;               // for small blocks: most need nothing else
  std::unique_ptr<EntropicPlans<kWidth>> plans_;  // with Method::kTsenor
};

template <int kWidth>
void SolveRowsOfWidth(BlockRows& rows) {
  std::vector<BlockRow> run;
  if (!rows.Next(run)) return;
  const auto solver = std::make_unique<RowSolver<kWidth>>(rows.problem());
  do {
    const bool solved =
        run.size() == 1 ? solver->Solve(*run[0].tile, run[0].number) : solver->SolveSideBySide(run);
    if (!solved) rows.SetFailed();
  } while (rows.Next(run));
}

}  // namespace

void SolveRows(BlockRows& rows) {
  const int m = rows.problem().pattern.m;
  if (m <= 4) return SolveRowsOfWidth<4>(rows);
  if (m <= 8) return SolveRowsOfWidth<8>(rows);
  if (m <= 16) return SolveRowsOfWidth<16>(rows);
  if (m <= 32) return SolveRowsOfWidth<32>(rows);
  if (m <= 64) return SolveRowsOfWidth<64>(rows);
  return SolveRowsOfWidth<128>(rows);
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tsenor::cpu {

HWY_EXPORT(SolveRows);

void SolveRows(BlockRows& rows) { HWY_DYNAMIC_DISPATCH(SolveRows)(rows); }

}  // namespace tsenor::cpu
#endif
