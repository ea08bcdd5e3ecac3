// Prints how fast the CUDA backend solves an 8192 x 8192 matrix in device memory, beside the time
// that reading the weights and writing the mask would take alone: the floor.
//
//   cuda_benchmark [PART...]     rows whose label contains one of the parts; default: all
//
// Times are medians of 11 by device events, after a warm-up; the bandwidth is that of a copy of the
// matrix within the device in the same run, counting bytes read and written.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "solver/cuda/cuda_solver.h"
#include "tests/support/generators.h"

namespace tsenor {
namespace {

constexpr int64_t kLength = 8192;
constexpr int64_t kElements = kLength * kLength;
constexpr int kRepetitions = 11;

void Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

void* Allocate(size_t bytes) {
  void* memory = nullptr;
  Check(cudaMalloc(&memory, bytes), "cudaMalloc");
  return memory;
}

double MedianMs(const std::function<void()>& work) {
  cudaEvent_t begin, end;
  Check(cudaEventCreate(&begin), "cudaEventCreate");
  Check(cudaEventCreate(&end), "cudaEventCreate");
  work();
  std::vector<float> times(kRepetitions);
  for (float& ms : times) {
    Check(cudaEventRecord(begin), "cudaEventRecord");
    work();
    Check(cudaEventRecord(end), "cudaEventRecord");
    Check(cudaEventSynchronize(end), "solving");
    Check(cudaEventElapsedTime(&ms, begin, end), "cudaEventElapsedTime");
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::sort(times.begin(), times.end());
  return times[kRepetitions / 2];
}

// The matrix: the same million weights over and over.
std::vector<float> Weights(WeightKind kind) {
  constexpr int64_t kDrawnRows = 128;
  const auto drawn = GenerateWeights(kind, kDrawnRows, kLength, 1);
  std::vector<float> weights;
  weights.reserve(kElements);
  while (weights.size() < static_cast<size_t>(kElements)) {
    weights.insert(weights.end(), drawn.begin(), drawn.end());
  }
  return weights;
}

// float32 weights as bfloat16, cut off.
std::vector<uint16_t> Narrow(const std::vector<float>& weights) {
  std::vector<uint16_t> narrow(weights.size());
  const auto* bits = reinterpret_cast<const uint16_t*>(weights.data());
  for (size_t k = 0; k < narrow.size(); ++k) narrow[k] = bits[2 * k + 1];
  return narrow;
}

struct Case {
  Pattern pattern;
  WeightKind kind;
  DType dtype;
  Method method = Method::kOptimal;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const Pattern pattern : {Pattern{2, 4},
                                {4, 8},
                                {8, 16},
                                {16, 32},
                                {8, 32},
                                {10, 20},
                                {12, 24},
                                {32, 64},
                                {48, 96},
                                {64, 128}}) {
    cases.push_back({pattern, WeightKind::kGaussian, DType::kFloat32});
  }
  for (const Pattern pattern : {Pattern{2, 4}, {1, 4}, {3, 4}}) {
    cases.push_back({pattern, WeightKind::kGaussian, DType::kBFloat16});
  }
  for (const WeightKind kind :
       {WeightKind::kColumnScaled, WeightKind::kSparse, WeightKind::kInt2, WeightKind::kPareto}) {
    cases.push_back({{2, 4}, kind, DType::kFloat32});
    cases.push_back({{2, 4}, kind, DType::kBFloat16});
  }
  cases.push_back({{16, 32}, WeightKind::kGaussian, DType::kBFloat16});
  cases.push_back({{32, 64}, WeightKind::kGaussian, DType::kBFloat16});
  for (const Pattern pattern : {Pattern{16, 32}, {32, 64}}) {
    for (const WeightKind kind : kAllWeightKinds) {
      if (kind != WeightKind::kGaussian) cases.push_back({pattern, kind, DType::kFloat32});
    }
  }
  const Method others[] = {Method::kTsenor,    Method::kTwoApprox, Method::kBiNm,
                           Method::kMaxRandom, Method::kRowNm,     Method::kColumnNm};
  for (const Method method : others) {
    for (const Pattern pattern : {Pattern{4, 8}, {8, 16}, {16, 32}, {32, 64}}) {
      cases.push_back({pattern, WeightKind::kGaussian, DType::kFloat32, method});
    }
  }
  return cases;
}

const char* Name(Method method) {
  constexpr const char* kNames[] = {"OPTIMAL",    "TSENOR", "TWO_APPROX", "BI_NM",
                                    "MAX_RANDOM", "ROW_NM", "COLUMN_NM"};
  return kNames[static_cast<int>(method)];
}

std::string Label(const Case& test) {
  return std::to_string(test.pattern.n) + ":" + std::to_string(test.pattern.m) + " " +
         NameOf(test.dtype) + " " + Name(test.kind) +
         (test.method == Method::kOptimal ? "" : std::string(" ") + Name(test.method));
}

class Table {
 public:
  explicit Table(Solver& solver)
      : solver_(solver),
        weights_(Allocate(kElements * 4)),
        mask_(Allocate(kElements / 8)),
        stats_(Allocate(kLength * sizeof(SolveStats))) {
    void* const target = Allocate(kElements * 4);
    const double ms = MedianMs([&] {
      Check(cudaMemcpyAsync(target, weights_, kElements * 4, cudaMemcpyDeviceToDevice), "copy");
    });
    cudaFree(target);
    bytes_per_ms_ = 2 * kElements * 4 / ms;
    std::printf("%s; copy within the device %.2f TB/s\n\n", solver.info().device.c_str(),
                bytes_per_ms_ * 1e-9);
    std::printf("| pattern, scores | ms | Gweights/s | floor, ms | time / floor | gap |\n");
    std::printf("|---|---|---|---|---|---|\n");
  }

  void Print(const Case& test) {
    if (drawn_.empty() || test.kind != kind_) drawn_ = Weights(kind_ = test.kind);
    const size_t size = SizeOf(test.dtype);
    if (test.dtype == DType::kBFloat16) {
      const auto narrow = Narrow(drawn_);
      Check(cudaMemcpy(weights_, narrow.data(), kElements * 2, cudaMemcpyHostToDevice), "copy");
    } else {
      Check(cudaMemcpy(weights_, drawn_.data(), kElements * 4, cudaMemcpyHostToDevice), "copy");
    }
    Problem problem;
    problem.pattern = test.pattern;
    problem.dtype = test.dtype;
    problem.options.method = test.method;
    const Tile tile = {.weights = weights_,
                       .row_stride = kLength,
                       .rows = kLength,
                       .columns = kLength,
                       .mask = static_cast<uint8_t*>(mask_),
                       .mask_row_stride = kLength / 8,
                       .stats = static_cast<SolveStats*>(stats_)};
    const double ms = MedianMs([&] {
      const absl::Status status =
          solver_.Solve({.problem = problem, .tiles = {&tile, 1}, .memory = MemorySpace::kDevice});
      if (!status.ok()) Check(cudaErrorUnknown, status.ToString().c_str());
    });
    const double floor_ms = kElements * (static_cast<double>(size) + 0.125) / bytes_per_ms_;
    std::printf("| %s | %.3f | %.1f | %.3f | %.1f | %.0e |\n", Label(test).c_str(), ms,
                kElements / ms * 1e-6, floor_ms, ms / floor_ms, Gap(test.pattern.m));
    std::fflush(stdout);
  }

 private:
  double Gap(int m) const {
    std::vector<SolveStats> rows(BlocksAlong(kLength, m));
    Check(cudaMemcpy(rows.data(), stats_, rows.size() * sizeof(SolveStats), cudaMemcpyDeviceToHost),
          "copy");
    SolveStats total;
    for (const SolveStats& row : rows) total += row;
    return total.relative_gap();
  }

  Solver& solver_;
  void* const weights_;
  void* const mask_;
  void* const stats_;
  double bytes_per_ms_ = 0;
  std::vector<float> drawn_;
  WeightKind kind_ = WeightKind::kGaussian;
};

int Main(int argc, char** argv) {
  auto solver = MakeCudaSolver(0);
  if (!solver.ok()) {
    std::fprintf(stderr, "%s\n", solver.status().ToString().c_str());
    return 1;
  }
  Table table(**solver);
  for (const Case& test : Cases()) {
    const auto asked = [&](const char* part) {
      return Label(test).find(part) != std::string::npos;
    };
    if (argc == 1 || std::any_of(argv + 1, argv + argc, asked)) table.Print(test);
  }
  return 0;
}

}  // namespace
}  // namespace tsenor

int main(int argc, char** argv) { return tsenor::Main(argc, argv); }
