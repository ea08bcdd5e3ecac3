// Owners of what the CUDA runtime gives out.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace tsenor::cuda {

// OK, or Unavailable with what was being done and the runtime's own words.
absl::Status ToStatus(cudaError_t error, absl::string_view what);

// Makes `device` the calling thread's current one, and the former one again when destroyed.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device);
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

  // Unavailable if the device could not be made current.
  const absl::Status& status() const { return status_; }

 private:
  int former_ = 0;
  absl::Status status_;
};

// A stream of the current device; work on it waits for no other stream. Null if it could not be
// made.
struct DestroyStream {
  void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
};
using Stream = std::unique_ptr<CUstream_st, DestroyStream>;
Stream MakeStream();

// Device memory for work on streams, which is kept for the next call: CUDA's own pool gives its
// memory back to the system whenever the host waits for the device, and took 60 us to have even a
// small workspace again (NVIDIA H200, 2026-11-23). Null if it could not be made.
struct DestroyPool {
  void operator()(cudaMemPool_t pool) const { cudaMemPoolDestroy(pool); }
};
using MemoryPool = std::unique_ptr<CUmemPoolHandle_st, DestroyPool>;
MemoryPool MakeMemoryPool(int device);

// Memory that grows and is kept: of the current device, or pinned in the host. Addresses are
// multiples of 256. Not thread-safe.
class DeviceBuffer {
 public:
  // At least `bytes`; what it held is lost. REQUIRES: nothing under way uses it.
  absl::Status Reserve(size_t bytes);
  std::byte* data() const { return static_cast<std::byte*>(memory_.get()); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(void* memory) const { cudaFree(memory); }
  };
  std::unique_ptr<void, Free> memory_;
  size_t size_ = 0;
};

class PinnedBuffer {
 public:
  // As DeviceBuffer::Reserve().
  absl::Status Reserve(size_t bytes);
  std::byte* data() const { return static_cast<std::byte*>(memory_.get()); }

 private:
  struct Free {
    void operator()(void* memory) const { cudaFreeHost(memory); }
  };
  std::unique_ptr<void, Free> memory_;
  size_t size_ = 0;
};

}  // namespace tsenor::cuda
