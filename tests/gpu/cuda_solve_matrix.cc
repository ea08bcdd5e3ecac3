// Solves one matrix from a file in device memory, for scripts that compare solvers.
//
//   cuda_solve_matrix DTYPE ROWS COLUMNS INPUT {METHOD N M}...
//
// METHOD: optimal, tsenor, row_nm. DTYPE: float32 or bfloat16. INPUT: ROWS x COLUMNS weights,
// row-major. For each METHOD N M prints one line: milliseconds (the median of 11 by device events,
// after a warm-up), value, bound, blocks, blocks short.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "solver/cuda/cuda_solver.h"

namespace tsenor {
namespace {

constexpr int kRepetitions = 11;

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "cuda_solve_matrix: %s\n", message.c_str());
  std::exit(1);
}

void Check(cudaError_t error) {
  if (error != cudaSuccess) Fail(cudaGetErrorString(error));
}

void* Allocate(size_t bytes) {
  void* memory = nullptr;
  Check(cudaMalloc(&memory, bytes));
  return memory;
}

// A matrix in device memory, and where its answers go.
class Matrix {
 public:
  Matrix(const std::vector<char>& weights, int64_t rows, int64_t columns)
      : tile_{.weights = Allocate(weights.size()),
              .row_stride = columns,
              .rows = rows,
              .columns = columns,
              .mask = static_cast<uint8_t*>(Allocate(rows * MaskRowBytes(columns))),
              .mask_row_stride = MaskRowBytes(columns),
              .stats = static_cast<SolveStats*>(Allocate(rows * sizeof(SolveStats)))} {
    Check(cudaMemcpy(const_cast<void*>(tile_.weights), weights.data(), weights.size(),
                     cudaMemcpyHostToDevice));
  }

  void Solve(Solver& solver, const Problem& problem) const {
    std::vector<float> times;
    for (int repetition = 0; repetition <= kRepetitions; ++repetition) {
      times.push_back(TimeOnce(solver, problem));
    }
    std::sort(times.begin() + 1, times.end());  // the first is the warm-up
    std::vector<SolveStats> rows(BlocksAlong(tile_.rows, problem.pattern.m));
    Check(cudaMemcpy(rows.data(), tile_.stats, rows.size() * sizeof(SolveStats),
                     cudaMemcpyDeviceToHost));
    SolveStats total;
    for (const SolveStats& row : rows) total += row;
    std::printf("%.6f %.17g %.17g %lld %lld\n", times[1 + kRepetitions / 2], total.value,
                total.bound, static_cast<long long>(total.blocks),
                static_cast<long long>(total.blocks_short));
  }

 private:
  float TimeOnce(Solver& solver, const Problem& problem) const {
    cudaEvent_t begin, end;
    Check(cudaEventCreate(&begin));
    Check(cudaEventCreate(&end));
    Check(cudaEventRecord(begin));
    const absl::Status status =
        solver.Solve({.problem = problem, .tiles = {&tile_, 1}, .memory = MemorySpace::kDevice});
    if (!status.ok()) Fail(status.ToString());
    Check(cudaEventRecord(end));
    Check(cudaEventSynchronize(end));
    float ms = 0;
    Check(cudaEventElapsedTime(&ms, begin, end));
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return ms;
  }

  const Tile tile_;
};

int Main(int argc, char** argv) {
  if (argc < 8 || (argc - 5) % 3 != 0) Fail("usage: DTYPE ROWS COLUMNS INPUT {METHOD N M}...");
  const std::map<std::string, Method> methods = {
      {"optimal", Method::kOptimal}, {"tsenor", Method::kTsenor}, {"row_nm", Method::kRowNm}};
  const std::string dtype = argv[1];
  if (dtype != "float32" && dtype != "bfloat16") Fail("unknown dtype " + dtype);
  Problem problem;
  problem.dtype = dtype == "float32" ? DType::kFloat32 : DType::kBFloat16;
  const int64_t rows = std::atoll(argv[2]), columns = std::atoll(argv[3]);
  std::ifstream input(argv[4], std::ios::binary);
  const std::vector<char> weights{std::istreambuf_iterator<char>(input), {}};
  if (weights.size() != static_cast<size_t>(rows * columns) * SizeOf(problem.dtype)) {
    Fail(std::string(argv[4]) + ": not ROWS x COLUMNS " + dtype);
  }
  auto solver = MakeCudaSolver(0);
  if (!solver.ok()) Fail(solver.status().ToString());
  const Matrix matrix(weights, rows, columns);
  for (int k = 5; k < argc; k += 3) {
    const auto method = methods.find(argv[k]);
    if (method == methods.end()) Fail(std::string("unknown method ") + argv[k]);
    problem.options.method = method->second;
    problem.pattern = {std::atoi(argv[k + 1]), std::atoi(argv[k + 2])};
    matrix.Solve(**solver, problem);
  }
  return 0;
}

}  // namespace
}  // namespace tsenor

int main(int argc, char** argv) { return tsenor::Main(argc, argv); }
