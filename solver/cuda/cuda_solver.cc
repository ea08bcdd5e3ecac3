#include "solver/cuda/cuda_solver.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "solver/cpu/thread_pool.h"
#include "solver/cuda/kernels/general.h"
#include "solver/cuda/launch_config.h"
#include "solver/cuda/resources.h"
#include "solver/cuda/staging.h"
#include "solver/limits.h"
#include "solver/validate.h"

namespace tsenor {
namespace {

using cuda::ToStatus;

constexpr int kLeastComputeCapability = 8;  // its major number: warp-wide reductions of integers

// While the device works on one piece, the next is on its way to it and the one before on its way
// back.
constexpr int kStagingsPerCall = 3;

// Calls of Solve() to keep in flight: while one waits for its last piece, the next one copies.
constexpr int kCallsInFlight = 2;

// Threads that copy between the caller's memory and pinned memory, the caller's included. On the
// machine of solver/cuda/README.md eight keep up with the bus, and twelve also make up for the time
// that they take to wake.
constexpr int kCopyThreads = 12;

int CopyHelpers() {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(cores, 1, kCopyThreads) - 1;
}

absl::Status CheckTiles(const Batch& batch) {
  if (batch.memory == MemorySpace::kHost && batch.stream != nullptr) {
    return absl::InvalidArgumentError("a batch in host memory takes no stream");
  }
  return absl::OkStatus();
}

// A graph would copy the list of tiles, or the random masks, when it runs, from host memory that is
// long gone.
absl::Status CheckNotCapturing(cudaStream_t stream) {
  cudaStreamCaptureStatus capturing;
  const absl::Status status =
      ToStatus(cudaStreamIsCapturing(stream, &capturing), "cudaStreamIsCapturing");
  if (!status.ok() || capturing == cudaStreamCaptureStatusNone) return status;
  return absl::InvalidArgumentError(absl::StrCat("a batch that a graph captures must have at most ",
                                                 cuda::kTilesInParameters,
                                                 " tiles, and another method than MAX_RANDOM"));
}

class CudaSolver final : public Solver {
 public:
  CudaSolver(int device, const cudaDeviceProp& properties, cuda::MemoryPool pool)
      : device_(device),
        info_{.name = absl::StrCat("cuda:", device),
              .device = absl::StrCat(properties.name, " (compute capability ", properties.major,
                                     ".", properties.minor, ", ", properties.multiProcessorCount,
                                     " multiprocessors)"),
              .threads = 0,
              .batches_in_flight = kCallsInFlight,
              // All stagings of a call in use.
              .efficient_batch_elements =
                  kStagingsPerCall * cuda::kStagingBytes / int64_t{sizeof(float)}},
        pool_(std::move(pool)),
        copiers_(CopyHelpers()) {}

  ~CudaSolver() override {
    const cuda::CurrentDevice current(device_);
    idle_.clear();
  }

  const SolverInfo& info() const override { return info_; }

  absl::Status Solve(const Batch& batch) override {
    if (absl::Status status = ValidateProblem(batch.problem); !status.ok()) return status;
    if (absl::Status status = CheckTiles(batch); !status.ok()) return status;
    if (batch.tiles.empty()) return absl::OkStatus();
    if (absl::Status status = health(); !status.ok()) return status;
    const cuda::CurrentDevice current(device_);
    if (!current.status().ok()) return current.status();
    absl::Status status =
        batch.memory == MemorySpace::kDevice ? SolveOnDevice(batch) : SolveFromHost(batch);
    if (absl::IsUnavailable(status)) CheckDevice(status);
    return status;
  }

  absl::Status health() const override {
    const std::lock_guard lock(mutex_);
    return health_;
  }

 private:
  using Stagings = std::deque<cuda::Staging>;

  // After `failure`: some errors (an illegal access, a fault of the hardware) come back from every
  // later call of the process to the device.
  void CheckDevice(const absl::Status& failure) {
    const cudaError_t error = cudaDeviceSynchronize();
    // While somebody captures a graph, nobody may wait for the device: that proves nothing.
    if (error == cudaSuccess || error == cudaErrorStreamCaptureUnsupported) return;
    const std::lock_guard lock(mutex_);
    health_ = absl::UnavailableError(
        absl::StrCat(info_.name, " is lost to this process: ", failure.message()));
  }

  // Enqueues everything on the caller's stream, workspace and list of tiles included.
  absl::Status SolveOnDevice(const Batch& batch) {
    auto* const stream = static_cast<cudaStream_t>(batch.stream);
    const cuda::LaunchConfig config = cuda::ConfigFor(batch.problem, batch.tiles);
    const std::vector<cuda::PassTile> tiles = cuda::NumberTiles(batch.problem, batch.tiles);
    const int64_t list_bytes = cuda::ListBytes(tiles.size());
    absl::Status status;
    if (list_bytes > 0 || config.random_masks_bytes > 0) status = CheckNotCapturing(stream);
    if (!status.ok()) return status;
    const int64_t unsolved_bytes = config.counts_unsolved() ? sizeof(int32_t) : 0;
    const int64_t list_place = cuda::Aligned(config.workspace_bytes + unsolved_bytes);
    const int64_t bytes = list_place + list_bytes;
    void* memory = nullptr;
    if (bytes > 0) {
      status = ToStatus(cudaMallocFromPoolAsync(&memory, bytes, pool_.get(), stream),
                        "cudaMallocFromPoolAsync");
    }
    if (!status.ok()) return status;
    auto* const workspace = static_cast<std::byte*>(memory);
    auto* const unsolved = reinterpret_cast<int32_t*>(workspace + config.workspace_bytes);
    auto* const list = reinterpret_cast<cuda::PassTile*>(workspace + list_place);
    if (list_bytes > 0) {  // from pageable memory: read before the call returns
      status =
          ToStatus(cudaMemcpyAsync(list, tiles.data(), list_bytes, cudaMemcpyHostToDevice, stream),
                   "copying the list of tiles");
    }
    if (status.ok()) {
      status = cuda::EnqueueTiles(batch.problem, tiles, list, config, workspace, unsolved, stream);
    }
    if (bytes > 0) status.Update(ToStatus(cudaFreeAsync(memory, stream), "cudaFreeAsync"));
    return status;
  }

  // Piece after piece through the stagings in turn.
  absl::Status SolveFromHost(const Batch& batch) {
    std::unique_ptr<Stagings> stagings = TakeStagings();
    absl::Status status;
    size_t turn = 0;
    for (std::vector<Tile>& piece : cuda::CutIntoPieces(batch.problem, batch.tiles)) {
      cuda::Staging& staging = (*stagings)[turn++ % stagings->size()];
      status = staging.End();
      if (status.ok()) status = staging.Begin(batch.problem, std::move(piece));
      if (!status.ok()) break;
    }
    for (cuda::Staging& staging : *stagings) status.Update(staging.End());
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(stagings));
    return status;
  }

  std::unique_ptr<Stagings> TakeStagings() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) {
      auto stagings = std::make_unique<Stagings>();
      for (int k = 0; k < kStagingsPerCall; ++k) stagings->emplace_back(copiers_);
      return stagings;
    }
    std::unique_ptr<Stagings> stagings = std::move(idle_.back());
    idle_.pop_back();
    return stagings;
  }

  const int device_;
  const SolverInfo info_;
  const cuda::MemoryPool pool_;  // workspaces of batches in device memory
  cpu::ThreadPool copiers_;
  mutable std::mutex mutex_;
  absl::Status health_;  // guarded by mutex_
  // As many as calls from the host have ever run at a time; guarded by mutex_.
  std::vector<std::unique_ptr<Stagings>> idle_;
};

}  // namespace

int CudaDeviceCount() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

absl::StatusOr<std::unique_ptr<Solver>> MakeCudaSolver(int device) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    int driver = 0;  // stays 0 where there is none
    cudaDriverGetVersion(&driver);
    return absl::NotFoundError(
        absl::StrCat("there is no GPU: ",
                     driver == 0 ? "no NVIDIA driver is installed" : cudaGetErrorString(error)));
  }
  if (device < 0 || device >= count) {
    return absl::NotFoundError(
        absl::StrCat("there is no GPU number ", device, "; this process has ", count));
  }
  cudaDeviceProp properties;
  const absl::Status status =
      ToStatus(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  if (!status.ok()) return status;
  if (properties.major < kLeastComputeCapability ||
      properties.sharedMemPerBlockOptin < cuda::GeneralSharedBytes(kMaxM)) {
    return absl::FailedPreconditionError(absl::StrCat(
        properties.name, " has compute capability ", properties.major, ".", properties.minor,
        " and ", properties.sharedMemPerBlockOptin, " bytes of shared memory; the solver needs ",
        kLeastComputeCapability, ".0 and ", cuda::GeneralSharedBytes(kMaxM)));
  }
  cuda::MemoryPool pool = cuda::MakeMemoryPool(device);
  if (!pool) return absl::UnavailableError("the GPU failed: no memory pool could be made");
  return std::make_unique<CudaSolver>(device, properties, std::move(pool));
}

}  // namespace tsenor
