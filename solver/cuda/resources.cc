#include "solver/cuda/resources.h"

#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"

namespace tsenor::cuda {

absl::Status ToStatus(cudaError_t error, absl::string_view what) {
  if (error == cudaSuccess) return absl::OkStatus();
  cudaGetLastError();  // told here, so that the next launch does not tell it again
  return absl::UnavailableError(
      absl::StrCat("the GPU failed: ", what, ": ", cudaGetErrorString(error)));
}

CurrentDevice::CurrentDevice(int device) {
  status_ = ToStatus(cudaGetDevice(&former_), "cudaGetDevice");
  if (status_.ok()) status_ = ToStatus(cudaSetDevice(device), "cudaSetDevice");
}

CurrentDevice::~CurrentDevice() {
  if (status_.ok()) cudaSetDevice(former_);
}

Stream MakeStream() {
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  return Stream(stream);
}

MemoryPool MakeMemoryPool(int device) {
  cudaMemPoolProps properties = {};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location = {cudaMemLocationTypeDevice, device};
  cudaMemPool_t pool = nullptr;
  if (cudaMemPoolCreate(&pool, &properties) != cudaSuccess) return nullptr;
  uint64_t kept_bytes = std::numeric_limits<uint64_t>::max();
  cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept_bytes);
  return MemoryPool(pool);
}

absl::Status DeviceBuffer::Reserve(size_t bytes) {
  if (bytes <= size_) return absl::OkStatus();
  memory_.reset();
  size_ = 0;
  void* memory = nullptr;
  const absl::Status status = ToStatus(cudaMalloc(&memory, bytes), "cudaMalloc");
  if (!status.ok()) return status;
  memory_.reset(memory);
  size_ = bytes;
  return absl::OkStatus();
}

absl::Status PinnedBuffer::Reserve(size_t bytes) {
  if (bytes <= size_) return absl::OkStatus();
  memory_.reset();
  size_ = 0;
  void* memory = nullptr;
  const absl::Status status = ToStatus(cudaMallocHost(&memory, bytes), "cudaMallocHost");
  if (!status.ok()) return status;
  memory_.reset(memory);
  size_ = bytes;
  return absl::OkStatus();
}

}  // namespace tsenor::cuda
