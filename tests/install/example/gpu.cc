// Finds the best transposable 2:4 mask of a matrix on the first GPU, if there is one.
#include <cstdio>
#include <vector>

#include "solver/cuda/cuda_solver.h"

int main() {
  std::printf("%d GPUs\n", tsenor::CudaDeviceCount());
  auto solver = tsenor::MakeCudaSolver(0);
  if (!solver.ok()) {
    std::printf("%s\n", solver.status().ToString().c_str());
    return tsenor::CudaDeviceCount() == 0 ? 0 : 1;
  }
  const std::vector<float> weights(64 * 64, 1.0f);
  const auto result =
      tsenor::SolveMatrix(**solver, {.pattern = {.n = 2, .m = 4}}, weights.data(), 64, 64);
  std::printf("%s\n", result.status().ToString().c_str());
  return result.ok() && result->stats.kept == 64 * 64 / 2 ? 0 : 1;
}
