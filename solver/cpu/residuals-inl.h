// From scores and potentials to the integer problem of the exact finish.
//
// Compiled once for every instruction set (cpu/solve_rows.cc), hence the guard that can be flipped.
#if defined(SOLVER_CPU_RESIDUALS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SOLVER_CPU_RESIDUALS_INL_H_
#undef SOLVER_CPU_RESIDUALS_INL_H_
#else
#define SOLVER_CPU_RESIDUALS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "solver/cpu/block.h"
#include "solver/cpu/exact_finish-inl.h"
#include "solver/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tsenor::cpu::HWY_NAMESPACE {

// The residuals w - a - b of lines that lie in rows of `scores`, times `scale`, to the nearest
// integers within kFinishRange; and which of them are positive. Returns how many more would have to
// be for every line to have n.
template <int kWidth>
int QuantiseLines(const float* HWY_RESTRICT scores, const float* HWY_RESTRICT line,
                  const float* HWY_RESTRICT other, int m, int n, float scale,
                  int32_t* HWY_RESTRICT residuals, LineSet<kWidth>* positive) {
  const Lanes<float, kWidth> d;
  const hn::RebindToSigned<decltype(d)> di;
  constexpr int kLanes = hn::MaxLanes(d);
  const auto greatest = hn::Set(d, static_cast<float>(kFinishRange));
  const auto existing = LineSet<kWidth>::First(m);
  int missing = 0;
  for (int k = 0; k < m; ++k) {
    const auto line_k = hn::Set(d, line[k]);
    LineSet<kWidth> entries;
    for (int v = 0; v < kWidth; v += kLanes) {
      const auto potential = hn::Add(line_k, hn::Load(d, other + v));
      const auto residual = hn::Sub(hn::Load(d, scores + k * kWidth + v), potential);
      const auto quanta =
          hn::Clamp(hn::Mul(residual, hn::Set(d, scale)), hn::Neg(greatest), greatest);
      const auto quantised = hn::NearestInt(quanta);
      hn::Store(quantised, di, residuals + k * kWidth + v);
      entries.InsertLanes(di, hn::Gt(quantised, hn::Zero(di)), v);
    }
    positive[k] = entries & existing;
    missing += std::max(n - positive[k].count(), 0);
  }
  return missing;
}

// Sets up `finish` for the residuals of float32 potentials, in quanta of 1 / scale (a power of
// two), with the positive ones kept. Returns how many the rows miss.
//
// What float32 rounds does not matter: a residual near zero is the difference of two numbers close
// to each other, which is exact, if a + b is (RoundPotential() in cpu/sweeps-inl.h); the rest is
// for the refinement.
template <int kWidth>
int QuantiseResiduals(const Block<kWidth>& block, float scale, FinishProblem<kWidth>& finish) {
  std::fill_n(finish.row_potential, kWidth, 0);
  std::fill_n(finish.column_potential, kWidth, 0);
  QuantiseLines<kWidth>(block.scores_t, block.column_potential, block.row_potential, block.m,
                        block.n, scale, finish.weight_t, finish.kept_in_column);
  return QuantiseLines<kWidth>(block.scores, block.row_potential, block.column_potential, block.m,
                               block.n, scale, finish.weight, finish.kept_in_row);
}

// The entries k < m of a line with a positive residual weight_k - potential - other_k.
template <int kWidth>
LineSet<kWidth> PositiveEntries(const int32_t* weight, int32_t potential, const int32_t* other,
                                int m) {
  const Lanes<int32_t, kWidth> d;
  LineSet<kWidth> entries;
  for (int v = 0; v < kWidth; v += hn::MaxLanes(d)) {
    const auto rest = hn::Sub(hn::Load(d, weight + v), hn::Load(d, other + v));
    entries.InsertLanes(d, hn::Gt(rest, hn::Set(d, potential)), v);
  }
  return entries & LineSet<kWidth>::First(m);
}

// Those with a residual of 0.
template <int kWidth>
LineSet<kWidth> TightEntries(const int32_t* weight, int32_t potential, const int32_t* other,
                             int m) {
  const Lanes<int32_t, kWidth> d;
  LineSet<kWidth> entries;
  for (int v = 0; v < kWidth; v += hn::MaxLanes(d)) {
    const auto rest = hn::Sub(hn::Load(d, weight + v), hn::Load(d, other + v));
    entries.InsertLanes(d, hn::Eq(rest, hn::Set(d, potential)), v);
  }
  return entries & LineSet<kWidth>::First(m);
}

// Keeps the entries with a positive residual.
template <int kWidth>
void KeepPositive(FinishProblem<kWidth>& problem) {
  for (int k = 0; k < problem.m; ++k) {
    problem.kept_in_row[k] = PositiveEntries<kWidth>(
        problem.weight + k * kWidth, problem.row_potential[k], problem.column_potential, problem.m);
    problem.kept_in_column[k] =
        PositiveEntries<kWidth>(problem.weight_t + k * kWidth, problem.column_potential[k],
                                problem.row_potential, problem.m);
  }
}

// The same in float64, for potentials of any origin. Rare: plain loops.
template <int kWidth>
void QuantiseResidualsWidely(const Block<kWidth>& block, const double* row_potential,
                             const double* column_potential, double scale,
                             FinishProblem<kWidth>& finish) {
  constexpr double kGreatest = kFinishRange;
  for (int i = 0; i < block.m; ++i) {
    for (int j = 0; j < block.m; ++j) {
      const double residual = block.scores[i * kWidth + j] - row_potential[i] - column_potential[j];
      const double quanta = std::clamp(residual * scale, -kGreatest, kGreatest);
      const auto quantised = static_cast<int32_t>(std::nearbyint(quanta));
      finish.weight[i * kWidth + j] = finish.weight_t[j * kWidth + i] = quantised;
    }
  }
  std::fill_n(finish.row_potential, kWidth, 0);
  std::fill_n(finish.column_potential, kWidth, 0);
  KeepPositive(finish);
}

}  // namespace tsenor::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SOLVER_CPU_RESIDUALS_INL_H_
