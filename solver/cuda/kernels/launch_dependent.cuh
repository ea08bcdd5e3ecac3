// Kernels that start while the one before them in the stream ends: what a launch costs, some
// microseconds, is hidden. Compute capability 9.0 and later; elsewhere they are launched as usual.
// (WaitForKernelBefore() and AllowNextKernel() of primitives/instructions.cuh are the other half.)
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace tsenor::cuda {

// Enqueues kernel(args...), which begins with WaitForKernelBefore().
template <typename... Parameters, typename... Args>
cudaError_t LaunchDependent(void (*kernel)(Parameters...), dim3 ctas, unsigned threads,
                            size_t shared_bytes, cudaStream_t stream, const Args&... args) {
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, kernel);
  if (error != cudaSuccess) return error;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = ctas;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = attributes.binaryVersion >= 90 ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, args...);
}

}  // namespace tsenor::cuda
