// How kernels with one CTA a block are launched.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <type_traits>

#include "solver/cuda/kernels/pass.h"

namespace tsenor::cuda {

// launch(words), with the words of a line as a compile-time constant.
template <typename Launch>
cudaError_t ForWordsOf(int m, Launch launch) {
  switch (MaskWords(m)) {
    case 1:
      return launch(std::integral_constant<int, 1>());
    case 2:
      return launch(std::integral_constant<int, 2>());
    case 3:
      return launch(std::integral_constant<int, 3>());
    default:
      return launch(std::integral_constant<int, 4>());
  }
}

// Enqueues kernel(pass) on `stream`, with a CTA of kWarps warps for each of the pass's blocks.
template <int kWarps>
cudaError_t LaunchPerBlock(void (*kernel)(Pass), const Pass& pass, size_t shared_bytes,
                           cudaStream_t stream) {
  const cudaError_t error = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  if (error != cudaSuccess) return error;
  kernel<<<static_cast<unsigned>(pass.blocks), 32 * kWarps, shared_bytes, stream>>>(pass);
  return cudaGetLastError();
}

}  // namespace tsenor::cuda
