// The entries of one block in shared memory.
#pragma once

#include <cfloat>
#include <cstdint>

#include "solver/cuda/primitives/block_view.cuh"
#include "solver/cuda/primitives/group.cuh"

namespace tsenor::cuda {

// m x m words. Rows are an odd number of them apart, so that 32 neighbouring entries of a row or of
// a column always lie in different banks.
template <typename T>
class SharedBlock {
 public:
  static_assert(sizeof(T) == 4);
  static constexpr size_t Bytes(int m) { return sizeof(T) * m * (m | 1); }

  __device__ SharedBlock(void* memory, int m) : words_(static_cast<T*>(memory)), stride_(m | 1) {}

  __device__ T& operator()(int i, int j) const { return words_[i * stride_ + j]; }

 private:
  T* const words_;
  const int stride_;
};

// The caller's scores into `scores`. Called by all threads of the group; thread k loads column k.
template <int kWidth>
__device__ void LoadScores(const Pass& pass, const BlockView& view, const Group<kWidth>& group,
                           const SharedBlock<float>& scores) {
  const int k = group.thread();
  if (k < pass.problem.pattern.m) {
    VisitColumn(pass, view, k, [&](int i, float score) { scores(i, k) = score; });
  }
  group.Sync();
}

// The same times the power of two that takes the greatest into [0.5, 1): exact, but for what is
// below 2^-126 of the greatest.
template <int kWidth>
__device__ void LoadNormalisedScores(const Pass& pass, const BlockView& view,
                                     const Group<kWidth>& group, const SharedBlock<float>& scores) {
  const int k = group.thread(), m = pass.problem.pattern.m;
  float greatest = 0;
  if (k < m) {
    VisitColumn(pass, view, k, [&](int i, float score) {
      scores(i, k) = score;
      greatest = fmaxf(greatest, score);
    });
  }
  int exponent = 0;
  frexpf(group.Max(greatest), &exponent);
  // In two exact factors: the scale itself may lie outside float32.
  const float first = ldexpf(1.0f, -exponent / 2);
  const float second = ldexpf(1.0f, -exponent - -exponent / 2);
  for (int i = 0; i < m && k < m; ++i) scores(i, k) = scores(i, k) * first * second;
  group.Sync();
}

}  // namespace tsenor::cuda
