// Prints how fast the CUDA backend solves an 8192 x 8192 matrix (or nearly, if M does not divide
// that) in device memory, beside the time
// that reading the weights and writing the mask would take alone: the floor.
//
//   cuda_benchmark [PART...]     rows whose label contains one of the parts; default: all
//
// Times are medians of 21 by device events, one right after another, after a warm-up; the bandwidth
// is that of a copy of the matrix within the device in the same run, counting bytes read and
// written.
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
constexpr int kRepetitions = 21;

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

// Of repetitions one right after another: what the host needs to enqueue one is hidden.
double MedianMs(const std::function<void()>& work) {
  std::vector<cudaEvent_t> events(kRepetitions + 1);
  for (cudaEvent_t& event : events) Check(cudaEventCreate(&event), "cudaEventCreate");
  work();
  for (cudaEvent_t event : events) {
    Check(cudaEventRecord(event), "cudaEventRecord");
    if (event != events.back()) work();
  }
  Check(cudaEventSynchronize(events.back()), "solving");
  std::vector<float> times(kRepetitions);
  for (int k = 0; k < kRepetitions; ++k) {
    Check(cudaEventElapsedTime(&times[k], events[k], events[k + 1]), "cudaEventElapsedTime");
  }
  for (cudaEvent_t event : events) cudaEventDestroy(event);
  std::sort(times.begin(), times.end());
  return times[kRepetitions / 2];
}

// Rows and columns of the matrix: as many whole blocks as 8192 x 8192 holds.
int64_t Length(int m) { return kLength / m * m; }

// The matrix: blocks that were generated one by one, a million weights or so, over and over.
std::vector<float> Weights(WeightKind kind, int m) {
  constexpr int64_t kDrawnRows = 128;
  const int64_t length = Length(m), bands = std::max<int64_t>(kDrawnRows / m, 1);
  std::vector<float> weights;
  for (int64_t band = 0; band < bands; ++band) {
    const auto drawn = GenerateBlocks(kind, m, length / m, band);
    weights.insert(weights.end(), drawn.begin(), drawn.end());
  }
  const auto drawn = static_cast<int64_t>(weights.size());
  weights.resize(length * length);
  for (int64_t k = drawn; k < length * length; k += drawn) {
    std::copy_n(weights.begin(), std::min(drawn, length * length - k), weights.begin() + k);
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
  for (const WeightKind kind : {WeightKind::kColumnScaled, WeightKind::kRowScaled}) {
    cases.push_back({{8, 32}, kind, DType::kFloat32});
  }
  for (const Pattern pattern : {Pattern{16, 32}, {8, 16}, {4, 8}, {32, 64}}) {
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
    const int m = test.pattern.m;
    const int64_t length = Length(m), elements = length * length;
    if (drawn_.empty() || test.kind != kind_ || m != m_)
      drawn_ = Weights(kind_ = test.kind, m_ = m);
    const size_t size = SizeOf(test.dtype);
    if (test.dtype == DType::kBFloat16) {
      const auto narrow = Narrow(drawn_);
      Check(cudaMemcpy(weights_, narrow.data(), elements * 2, cudaMemcpyHostToDevice), "copy");
    } else {
      Check(cudaMemcpy(weights_, drawn_.data(), elements * 4, cudaMemcpyHostToDevice), "copy");
    }
    Problem problem;
    problem.pattern = test.pattern;
    problem.dtype = test.dtype;
    problem.options.method = test.method;
    const Tile tile = {.weights = weights_,
                       .row_stride = length,
                       .rows = length,
                       .columns = length,
                       .mask = static_cast<uint8_t*>(mask_),
                       .mask_row_stride = MaskRowBytes(length),
                       .stats = static_cast<SolveStats*>(stats_)};
    const double ms = MedianMs([&] {
      const absl::Status status =
          solver_.Solve({.problem = problem, .tiles = {&tile, 1}, .memory = MemorySpace::kDevice});
      if (!status.ok()) Check(cudaErrorUnknown, status.ToString().c_str());
    });
    const double floor_ms = elements * (static_cast<double>(size) + 0.125) / bytes_per_ms_;
    std::printf("| %s | %.3f | %.1f | %.3f | %.1f | %.0e |\n", Label(test).c_str(), ms,
                elements / ms * 1e-6, floor_ms, ms / floor_ms, Gap(m));
    std::fflush(stdout);
  }

 private:
  double Gap(int m) const {
    std::vector<SolveStats> rows(BlocksAlong(Length(m), m));
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
  // What was drawn last, and how.
  std::vector<float> drawn_;
  WeightKind kind_ = WeightKind::kGaussian;
  int m_ = 0;
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
