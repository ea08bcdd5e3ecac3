// Solves one matrix from a file, for scripts that compare solvers.
//
//   solve_matrix METHOD DTYPE N M ROWS COLUMNS THREADS INPUT OUTPUT
//
// METHOD: optimal or tsenor. DTYPE: float32 or bfloat16. THREADS: 0 for one per core. INPUT: ROWS x
// COLUMNS weights, row-major. Writes the mask to OUTPUT, one bit a weight (solver/problem.h,
// Tile::mask), and to standard output, on one line: seconds of the solve alone, value, bound,
// blocks, blocks short.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "solver/cpu/cpu_solver.h"
#include "solver/solver.h"

namespace tsenor {
namespace {

int Fail(const std::string& message) {
  std::fprintf(stderr, "solve_matrix: %s\n", message.c_str());
  return 1;
}

int Main(int argc, char** argv) {
  if (argc != 10) return Fail("usage: METHOD DTYPE N M ROWS COLUMNS THREADS INPUT OUTPUT");
  const std::string method = argv[1];
  if (method != "optimal" && method != "tsenor") return Fail("unknown method " + method);
  const std::string dtype = argv[2];
  if (dtype != "float32" && dtype != "bfloat16") return Fail("unknown dtype " + dtype);
  Problem problem;
  problem.dtype = dtype == "float32" ? DType::kFloat32 : DType::kBFloat16;
  problem.options.method = method == "optimal" ? Method::kOptimal : Method::kTsenor;
  problem.pattern = {std::atoi(argv[3]), std::atoi(argv[4])};
  const int64_t rows = std::atoll(argv[5]);
  const int64_t columns = std::atoll(argv[6]);

  std::ifstream input(argv[8], std::ios::binary);
  const std::vector<char> weights{std::istreambuf_iterator<char>(input), {}};
  if (weights.size() != static_cast<size_t>(rows * columns) * SizeOf(problem.dtype)) {
    return Fail(std::string(argv[8]) + ": not ROWS x COLUMNS " + dtype);
  }
  auto solver = MakeCpuSolver({.threads = std::atoi(argv[7])});
  if (!solver.ok()) return Fail(solver.status().ToString());
  const auto start = std::chrono::steady_clock::now();
  const auto result = SolveMatrix(**solver, problem, weights.data(), rows, columns);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (!result.ok()) return Fail(result.status().ToString());

  std::ofstream output(argv[9], std::ios::binary);
  output.write(reinterpret_cast<const char*>(result->mask.data()),
               static_cast<std::streamsize>(result->mask.size()));
  output.close();
  if (!output) return Fail(std::string(argv[9]) + ": cannot be written");
  const SolveStats& stats = result->stats;
  std::printf("%.9f %.17g %.17g %lld %lld\n", seconds.count(), stats.value, stats.bound,
              static_cast<long long>(stats.blocks), static_cast<long long>(stats.blocks_short));
  return 0;
}

}  // namespace
}  // namespace tsenor

int main(int argc, char** argv) { return tsenor::Main(argc, argv); }
