// Finds the best transposable 16:32 mask of a random matrix, in this process.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "solver/cpu/cpu_solver.h"
#include "solver/solver.h"

int main() {
  constexpr int64_t kRows = 256, kColumns = 512;
  std::vector<float> weights(kRows * kColumns);
  std::mt19937 random(1);
  std::normal_distribution<float> gaussian;
  for (float& weight : weights) weight = gaussian(random);

  absl::StatusOr<std::unique_ptr<tsenor::Solver>> solver = tsenor::MakeCpuSolver();
  if (!solver.ok()) return 1;

  tsenor::Problem problem;
  problem.pattern = {.n = 16, .m = 32};
  absl::StatusOr<tsenor::MaskResult> result =
      tsenor::SolveMatrix(**solver, problem, weights.data(), kRows, kColumns);
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
    return 1;
  }
  const tsenor::SolveStats& stats = result->stats;
  std::printf("kept %.4f of |w| in %lld of %lld weights\n", stats.value / stats.score_sum,
              static_cast<long long>(stats.kept), static_cast<long long>(kRows * kColumns));
  std::printf("gap %.1e, %lld of %lld blocks proven optimal\n", stats.relative_gap(),
              static_cast<long long>(stats.blocks_proven), static_cast<long long>(stats.blocks));
}
