// The threads that solve one block together, one for each line: a warp, or all kWords of a CTA.
#pragma once

#include <cstdint>

namespace tsenor::cuda {

// Every function but the getters is called by all threads of the group. What it returns is the same
// in all of them, and depends on the values and their threads alone: no order of arrival.
template <int kWords>
class Group {
 public:
  static constexpr int kThreads = 32 * kWords;
  using Scratch = double[kWords];  // in shared memory, used by nothing else

  explicit __device__ Group(Scratch& scratch) : scratch_(scratch) {}

  static __device__ int thread() { return static_cast<int>(threadIdx.x) % kThreads; }
  static __device__ int lane() { return static_cast<int>(threadIdx.x) % 32; }
  static __device__ int warp() { return thread() / 32; }

  // What a thread wrote before, all see after.
  static __device__ void Sync() {
    if constexpr (kWords == 1) {
      __syncwarp();
    } else {
      __syncthreads();
    }
  }

  __device__ int Sum(int value) const {
    return Combine(__reduce_add_sync(~0u, value), [](int x, int y) { return x + y; });
  }
  __device__ int Max(int value) const {
    return Combine(__reduce_max_sync(~0u, value), [](int x, int y) { return max(x, y); });
  }
  template <typename T>
  __device__ T Sum(T value) const {
    return Reduce(value, [](T x, T y) { return x + y; });
  }
  template <typename T>
  __device__ T Max(T value) const {
    return Reduce(value, [](T x, T y) { return x > y ? x : y; });
  }

 private:
  // Over the lanes of each warp as a butterfly: the same order of operations in all lanes.
  template <typename T, typename Op>
  __device__ T Reduce(T value, Op op) const {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      value = op(value, __shfl_xor_sync(~0u, value, offset));
    }
    return Combine(value, op);
  }

  // Over the warps, in their order.
  template <typename T, typename Op>
  __device__ T Combine(T value, Op op) const {
    if constexpr (kWords == 1) return value;
    T* const of_warp = reinterpret_cast<T*>(scratch_);
    if (lane() == 0) of_warp[warp()] = value;
    Sync();
    value = of_warp[0];
#pragma unroll
    for (int w = 1; w < kWords; ++w) value = op(value, of_warp[w]);
    Sync();  // before the next one overwrites it
    return value;
  }

  Scratch& scratch_;
};

}  // namespace tsenor::cuda
