#include "solver/cuda/cuda_solver.h"

#include <array>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
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

absl::Status CheckTiles(const Batch& batch) {
  if (batch.problem.options.method != Method::kOptimal) {
    return absl::InvalidArgumentError("the cuda backend solves with the method OPTIMAL alone");
  }
  if (batch.memory == MemorySpace::kHost && batch.stream != nullptr) {
    return absl::InvalidArgumentError("a batch in host memory takes no stream");
  }
  return absl::OkStatus();
}

// A graph would copy the list of tiles, when it runs, from host memory that is long gone.
absl::Status CheckNotCapturing(cudaStream_t stream) {
  cudaStreamCaptureStatus capturing;
  const absl::Status status =
      ToStatus(cudaStreamIsCapturing(stream, &capturing), "cudaStreamIsCapturing");
  if (!status.ok() || capturing == cudaStreamCaptureStatusNone) return status;
  return absl::InvalidArgumentError(absl::StrCat("a batch that a graph captures must have at most ",
                                                 cuda::kTilesInParameters, " tiles"));
}

class CudaSolver final : public Solver {
 public:
  CudaSolver(int device, const cudaDeviceProp& properties)
      : device_(device),
        info_{.name = absl::StrCat("cuda:", device),
              .device = absl::StrCat(properties.name, " (compute capability ", properties.major,
                                     ".", properties.minor, ", ", properties.multiProcessorCount,
                                     " multiprocessors)"),
              .threads = 0,
              .batches_in_flight = kStagingsPerCall,
              // Both stagings of a call in use.
              .efficient_batch_elements =
                  kStagingsPerCall * cuda::kStagingBytes / int64_t{sizeof(float)}} {}

  ~CudaSolver() override {
    const cuda::CurrentDevice current(device_);
    idle_.clear();
  }

  const SolverInfo& info() const override { return info_; }

  absl::Status Solve(const Batch& batch) override {
    if (absl::Status status = ValidateProblem(batch.problem); !status.ok()) return status;
    if (absl::Status status = CheckTiles(batch); !status.ok()) return status;
    if (batch.tiles.empty()) return absl::OkStatus();
    const cuda::CurrentDevice current(device_);
    if (!current.status().ok()) return current.status();
    return batch.memory == MemorySpace::kDevice ? SolveOnDevice(batch) : SolveFromHost(batch);
  }

 private:
  // While the device works on one piece, the host fills the other.
  static constexpr int kStagingsPerCall = 2;
  using Stagings = std::array<cuda::Staging, kStagingsPerCall>;

  // Enqueues everything on the caller's stream, workspace included.
  static absl::Status SolveOnDevice(const Batch& batch) {
    auto* const stream = static_cast<cudaStream_t>(batch.stream);
    const cuda::LaunchConfig config = cuda::ConfigFor(batch.problem, batch.tiles);
    absl::Status status = config.list_bytes > 0 ? CheckNotCapturing(stream) : absl::OkStatus();
    if (!status.ok()) return status;
    void* memory = nullptr;
    status = ToStatus(cudaMallocAsync(&memory, config.workspace_bytes + sizeof(int32_t), stream),
                      "cudaMallocAsync");
    if (!status.ok()) return status;
    auto* const workspace = static_cast<std::byte*>(memory);
    auto* const unsolved = reinterpret_cast<int32_t*>(workspace + config.workspace_bytes);
    status = cuda::EnqueueTiles(batch.problem, batch.tiles, config, workspace, unsolved, stream);
    const absl::Status freed = ToStatus(cudaFreeAsync(memory, stream), "cudaFreeAsync");
    return status.ok() ? freed : status;
  }

  // Piece after piece through two stagings in turn.
  absl::Status SolveFromHost(const Batch& batch) {
    std::unique_ptr<Stagings> stagings = TakeStagings();
    absl::Status status;
    size_t turn = 0;
    for (std::vector<Tile>& piece : cuda::CutIntoPieces(batch.problem, batch.tiles)) {
      cuda::Staging& staging = (*stagings)[turn++ % kStagingsPerCall];
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
    if (idle_.empty()) return std::make_unique<Stagings>();
    std::unique_ptr<Stagings> stagings = std::move(idle_.back());
    idle_.pop_back();
    return stagings;
  }

  const int device_;
  const SolverInfo info_;
  std::mutex mutex_;
  // As many as calls from the host have ever run at a time; guarded by mutex_.
  std::vector<std::unique_ptr<Stagings>> idle_;
};

}  // namespace

int CudaDeviceCount() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

absl::StatusOr<std::unique_ptr<Solver>> MakeCudaSolver(int device) {
  if (device < 0 || device >= CudaDeviceCount()) {
    return absl::NotFoundError(
        absl::StrCat("there is no GPU number ", device, "; this process has ", CudaDeviceCount()));
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
  return std::make_unique<CudaSolver>(device, properties);
}

}  // namespace tsenor
