// Prints how fast batches are solved by one GPU, and by all at the same time: in host memory, from
// the caller's memory and back into it, beside the limit, which is copying the weights to the
// devices and doing nothing with them; and, for comparison, in the memory of each device.
//
//   cuda_host_benchmark [GPUS]     default: all
//
// As many calls as the solver wants are in flight for each GPU, each with memory of its own; the
// time is that of all of them from start to end, after a warm-up. The limit is that of copies from
// pinned memory to the same GPUs at the same time in the same run.
#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "solver/cuda/cuda_solver.h"
#include "tests/support/generators.h"

namespace tsenor {
namespace {

constexpr int kRepetitions = 12;  // of each call in flight

void Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

enum class Kind { kPinned, kPageable, kDevice };

// Memory of a kind; that of the current device. Ends the program where there is none.
class Memory {
 public:
  Memory(size_t bytes, Kind kind) : kind_(kind) {
    if (kind == Kind::kPinned) Check(cudaMallocHost(&data_, bytes), "cudaMallocHost");
    if (kind == Kind::kDevice) Check(cudaMalloc(&data_, bytes), "cudaMalloc");
    if (kind == Kind::kPageable && (data_ = std::malloc(bytes)) == nullptr) std::abort();
  }
  ~Memory() {
    if (kind_ == Kind::kPinned) cudaFreeHost(data_);
    if (kind_ == Kind::kDevice) cudaFree(data_);
    if (kind_ == Kind::kPageable) std::free(data_);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* data() const { return data_; }

 private:
  const Kind kind_;
  void* data_ = nullptr;
};

struct Case {
  const char* name;
  Pattern pattern;
  int64_t length;  // rows and columns of a tile
  int tiles;       // of a batch
  Kind memory;
};

// One call's memory: bfloat16 Gaussian weights, masks, stats.
class Call {
 public:
  // On the current device.
  explicit Call(const Case& test)
      : test_(test),
        bytes_(test.tiles * test.length * test.length * 2),
        weights_(bytes_, test.memory),
        masks_(bytes_ / 16, test.memory),
        stats_(test.tiles * BlocksAlong(test.length, test.pattern.m) * sizeof(SolveStats),
               test.memory) {
    constexpr int64_t kDrawn = 1 << 20;  // over and over
    const auto drawn = GenerateWeights(WeightKind::kGaussian, 1, kDrawn, 1);
    const auto* halves = reinterpret_cast<const uint16_t*>(drawn.data());
    std::vector<uint16_t> weights(bytes_ / 2);
    for (size_t k = 0; k < weights.size(); ++k) weights[k] = halves[2 * (k % kDrawn) + 1];
    Check(cudaMemcpy(weights_.data(), weights.data(), bytes_, cudaMemcpyDefault), "copy");
    const int64_t elements = test.length * test.length, rows = BlocksAlong(test.length, m());
    for (int t = 0; t < test.tiles; ++t) {
      tiles_.push_back({.weights = static_cast<uint16_t*>(weights_.data()) + t * elements,
                        .row_stride = test.length,
                        .rows = test.length,
                        .columns = test.length,
                        .mask = static_cast<uint8_t*>(masks_.data()) + t * elements / 8,
                        .mask_row_stride = test.length / 8,
                        .stats = static_cast<SolveStats*>(stats_.data()) + t * rows});
    }
  }

  int64_t bytes() const { return bytes_; }

  // Returns when all is solved. Device memory: on the calling thread's stream.
  void Solve(Solver& solver) {
    Problem problem;
    problem.pattern = test_.pattern;
    problem.dtype = DType::kBFloat16;
    const bool on_device = test_.memory == Kind::kDevice;
    const absl::Status status =
        solver.Solve({.problem = problem,
                      .tiles = tiles_,
                      .memory = on_device ? MemorySpace::kDevice : MemorySpace::kHost,
                      .stream = on_device ? cudaStreamPerThread : nullptr});
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", status.ToString().c_str());
      std::exit(1);
    }
    if (on_device) Check(cudaStreamSynchronize(cudaStreamPerThread), "solving");
  }

 private:
  int m() const { return test_.pattern.m; }

  const Case test_;
  const int64_t bytes_;
  Memory weights_, masks_, stats_;
  std::vector<Tile> tiles_;
};

// Runs work(k) for all k < `count`, each on a thread of its own; returns seconds.
double TimeOnThreads(size_t count, const std::function<void(size_t)>& work) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (size_t k = 0; k < count; ++k) threads.emplace_back(work, k);
  for (std::thread& thread : threads) thread.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// GB/s from pinned memory to `gpus` GPUs at the same time.
double CopyLimit(int gpus) {
  constexpr size_t kBytes = size_t{128} << 20;
  std::vector<std::unique_ptr<Memory>> host;
  std::vector<void*> device(gpus);
  for (int k = 0; k < gpus; ++k) {
    host.push_back(std::make_unique<Memory>(kBytes, Kind::kPinned));
    Check(cudaSetDevice(k), "cudaSetDevice");
    Check(cudaMalloc(&device[k], kBytes), "cudaMalloc");
  }
  const auto copy = [&](int repetitions) {
    return TimeOnThreads(gpus, [&](size_t k) {
      Check(cudaSetDevice(static_cast<int>(k)), "cudaSetDevice");
      for (int r = 0; r < repetitions; ++r) {
        Check(cudaMemcpyAsync(device[k], host[k]->data(), kBytes, cudaMemcpyHostToDevice), "copy");
      }
      Check(cudaDeviceSynchronize(), "copy");
    });
  };
  copy(1);
  const double seconds = copy(2 * kRepetitions);
  for (void* memory : device) cudaFree(memory);
  return 2 * kRepetitions * gpus * static_cast<double>(kBytes) / seconds * 1e-9;
}

void Print(const Case& test, const std::vector<std::unique_ptr<Solver>>& solvers, int gpus,
           int in_flight, double limit) {
  std::vector<std::unique_ptr<Call>> calls;
  for (int k = 0; k < gpus * in_flight; ++k) {
    Check(cudaSetDevice(k % gpus), "cudaSetDevice");
    calls.push_back(std::make_unique<Call>(test));
  }
  const auto solve = [&](int repetitions) {
    return TimeOnThreads(calls.size(), [&](size_t k) {
      Check(cudaSetDevice(static_cast<int>(k % gpus)), "cudaSetDevice");
      for (int r = 0; r < repetitions; ++r) calls[k]->Solve(*solvers[k % gpus]);
    });
  };
  solve(2);
  const double seconds = solve(kRepetitions) / (kRepetitions * gpus * in_flight);
  const double rate = static_cast<double>(calls[0]->bytes()) / seconds * 1e-9;
  std::printf("| %s | %d | %d | %.3f | %.1f | %.1f | %.0f %% |\n", test.name, gpus, in_flight,
              seconds * 1e3, rate / 2, rate, 100 * rate / limit);
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  const int gpus = argc > 1 ? std::atoi(argv[1]) : CudaDeviceCount();
  std::vector<std::unique_ptr<Solver>> solvers;
  for (int k = 0; k < gpus; ++k) {
    auto solver = MakeCudaSolver(k);
    if (!solver.ok()) {
      std::fprintf(stderr, "%s\n", solver.status().ToString().c_str());
      return 1;
    }
    solvers.push_back(*std::move(solver));
  }
  if (solvers.empty()) {
    std::fprintf(stderr, "this machine has no GPU\n");
    return 1;
  }
  const Case cases[] = {{"16:32, 8192 x 8192, pinned", {16, 32}, 8192, 1, Kind::kPinned},
                        {"16:32, 8192 x 8192, pageable", {16, 32}, 8192, 1, Kind::kPageable},
                        {"2:4, 8192 x 8192, pinned", {2, 4}, 8192, 1, Kind::kPinned},
                        {"16:32, 4096 x 4096, pageable", {16, 32}, 4096, 1, Kind::kPageable},
                        {"16:32, 4096 of 64 x 64, pageable", {16, 32}, 64, 4096, Kind::kPageable},
                        {"16:32, 4096 of 64 x 64, device", {16, 32}, 64, 4096, Kind::kDevice},
                        {"16:32, 8192 x 8192, device", {16, 32}, 8192, 1, Kind::kDevice}};
  const int in_flight = solvers[0]->info().batches_in_flight;
  for (int used = 1; used <= gpus; used = used < gpus ? gpus : gpus + 1) {
    const double limit = CopyLimit(used);
    std::printf("\n%d x %s; copies from pinned memory %.1f GB/s\n\n", used,
                solvers[0]->info().device.c_str(), limit);
    std::printf(
        "| pattern, bfloat16 tiles, memory | GPUs | calls in flight, each | ms a call | "
        "Gweights/s | GB/s of weights | of the copies |\n|---|---|---|---|---|---|---|\n");
    for (const Case& test : cases) Print(test, solvers, used, in_flight, limit);
    Print(cases[0], solvers, used, 1, limit);
  }
  return 0;
}

}  // namespace
}  // namespace tsenor

int main(int argc, char** argv) { return tsenor::Main(argc, argv); }
