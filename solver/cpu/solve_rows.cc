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
#include <memory>

#include "solver/cpu/block_solver-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {
namespace {

template <int kWidth>
bool SolveRow(BlockSolver<kWidth>& solver, const Tile& tile, int64_t number, int m) {
  const int64_t row = number * m;
  for (int64_t r = row; r < std::min(row + m, tile.rows); ++r) {
    std::fill_n(tile.mask + r * tile.mask_row_stride, MaskRowBytes(tile.columns), uint8_t{0});
  }
  double* potentials = tile.potentials;
  if (potentials) potentials += number * BlocksAlong(tile.columns, m) * 2 * m;
  SolveStats total;
  for (int64_t column = 0; column < tile.columns; column += m) {
    SolveStats block;
    if (!solver.Solve(tile, row, column, potentials, block)) return false;
    total += block;
    if (potentials) potentials += 2 * m;
  }
  tile.stats[number] = total;
  return true;
}

template <int kWidth>
void SolveRowsOfWidth(BlockRows& rows) {
  const auto solver = std::make_unique<BlockSolver<kWidth>>(rows.problem());
  BlockRow row;
  while (rows.Next(row)) {
    if (!SolveRow(*solver, *row.tile, row.number, rows.problem().pattern.m)) rows.SetFailed();
  }
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
