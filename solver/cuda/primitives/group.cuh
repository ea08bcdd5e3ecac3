// The threads that solve one block together, one for each line: some lanes of a warp, a warp, or
// all warps of a CTA.
#pragma once

#include <cstdint>

#include "solver/cuda/primitives/line_set.cuh"

namespace tsenor::cuda {

// kWidth threads: 8 or 16 neighbouring lanes of a warp, a warp, or the 2 to 4 warps of a CTA.
//
// Every function but the getters is called by all threads of the group. What it returns is the same
// in all of them, and depends on the values and their threads alone: no order of arrival.
template <int kWidth>
class Group {
 public:
  static constexpr int kThreads = kWidth;
  static constexpr bool kInWarp = kWidth <= 32;
  static constexpr int kLanes = kInWarp ? kWidth : 32;  // of each of its warps
  static constexpr int kWarps = kWidth / kLanes;
  static_assert(kWidth % kLanes == 0 && 32 % kLanes == 0);
  using Set = LineSet<kWarps>;
  using Scratch = double[2 * kWarps];  // in shared memory, used by nothing else

  explicit __device__ Group(Scratch& scratch) : scratch_(scratch) {}

  static __device__ int thread() {
    return static_cast<int>(kInWarp ? threadIdx.x % kWidth : threadIdx.x);
  }
  static __device__ int lane() { return thread() % kLanes; }
  static __device__ int warp() { return thread() / kLanes; }

  // What a thread wrote before, all see after.
  static __device__ void Sync() {
    if constexpr (kInWarp) {
      SyncWarp();
    } else {
      __syncthreads();
    }
  }
  // The same for the group's threads of this warp, which alone call it.
  static __device__ void SyncWarp() { __syncwarp(mask()); }
  // Bit l: of lane l of this warp, whose threads of the group alone call it.
  static __device__ uint32_t Ballot(bool mine) {
    if constexpr (kLanes == 32) return __ballot_sync(~0u, mine);
    return __ballot_sync(mask(), mine) >> first_lane() & kAllLanes;
  }
  // The greatest value of this warp's lanes.
  static __device__ int MaxOfWarp(int value) {
    if constexpr (kLanes == 32) return __reduce_max_sync(~0u, value);
    return Butterfly(value, [](int x, int y) { return max(x, y); });
  }

  // The threads, one for each line, for which `mine` holds. What they wrote before, all see after.
  __device__ Set Lines(bool mine) const {
    Set set;
    set.word[0] = Ballot(mine);
    if constexpr (kInWarp) {
      SyncWarp();
    } else {
      auto* const of_warp = reinterpret_cast<uint32_t*>(scratch_);
      if (lane() == 0) of_warp[warp()] = set.word[0];
      Sync();
      Set::EachWord([&](int w) { set.word[w] = of_warp[w]; });
      Sync();  // before the next one overwrites it
    }
    return set;
  }
  // The lines in the set of any thread.
  __device__ Set Or(Set set) const {
    Set::EachWord([&](int w) {
      if constexpr (kLanes == 32) {
        set.word[w] = __reduce_or_sync(~0u, set.word[w]);
      } else {
        set.word[w] = Butterfly(set.word[w], [](uint32_t x, uint32_t y) { return x | y; });
      }
    });
    if constexpr (!kInWarp) {
      auto* const of_warp = reinterpret_cast<Set*>(scratch_);
      if (lane() == 0) of_warp[warp()] = set;
      Sync();
#pragma unroll
      for (int w = 0; w < kWarps; ++w) set = set | of_warp[w];
      Sync();  // before the next one overwrites it
    }
    return set;
  }
  __device__ bool Any(bool mine) const {
    if constexpr (kInWarp) return Ballot(mine) != 0;
    return __syncthreads_or(mine) != 0;
  }
  __device__ int Sum(int value) const {
    const auto add = [](int x, int y) { return x + y; };
    if constexpr (kLanes == 32) return Combine(__reduce_add_sync(~0u, value), add);
    return Butterfly(value, add);
  }
  __device__ int Max(int value) const {
    return Combine(MaxOfWarp(value), [](int x, int y) { return max(x, y); });
  }
  template <typename T>
  __device__ T Sum(T value) const {
    const auto add = [](T x, T y) { return x + y; };
    return Combine(Butterfly(value, add), add);
  }
  template <typename T>
  __device__ T Max(T value) const {
    const auto greater = [](T x, T y) { return x > y ? x : y; };
    return Combine(Butterfly(value, greater), greater);
  }

 private:
  static constexpr uint32_t kAllLanes = ~0u >> (32 - kLanes);

  static __device__ int first_lane() {
    return static_cast<int>(threadIdx.x) % 32 / kLanes * kLanes;
  }
  static __device__ uint32_t mask() {
    if constexpr (kLanes == 32) return ~0u;
    return kAllLanes << first_lane();
  }

  // Over the lanes of each warp: the same order of operations in all of them.
  template <typename T, typename Op>
  static __device__ T Butterfly(T value, Op op) {
#pragma unroll
    for (int offset = kLanes / 2; offset > 0; offset /= 2) {
      value = op(value, __shfl_xor_sync(mask(), value, offset));
    }
    return value;
  }

  // Over the warps, in their order.
  template <typename T, typename Op>
  __device__ T Combine(T value, Op op) const {
    if constexpr (kInWarp) return value;
    T* const of_warp = reinterpret_cast<T*>(scratch_);
    if (lane() == 0) of_warp[warp()] = value;
    Sync();
    value = of_warp[0];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) value = op(value, of_warp[w]);
    Sync();  // before the next one overwrites it
    return value;
  }

  Scratch& scratch_;
};

}  // namespace tsenor::cuda
