// solver/cuda/kernels/launch_dependent.cuh on a host, where one kernel runs after another.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace tsenor::cuda {

template <typename... Parameters, typename... Args>
cudaError_t LaunchDependent(void (*kernel)(Parameters...), dim3 ctas, unsigned threads,
                            size_t shared_bytes, cudaStream_t stream, const Args&... args) {
  kernel | EmulatedGrid(ctas, threads, shared_bytes, stream)(args...);
  return cudaGetLastError();
}

}  // namespace tsenor::cuda
