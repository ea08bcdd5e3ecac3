// A block in shared memory while the general kernel solves it.
#pragma once

#include <cstdint>

#include "solver/cuda/primitives/group.cuh"
#include "solver/cuda/primitives/line_set.cuh"

namespace tsenor::cuda {

// All rows, or all columns, of a block; thread k of the group works for line k.
template <int kWidth>
struct Side {
  union {
    alignas(16) float potential[kWidth];  // of the sweeps; then, of the exact finish:
    int32_t quanta[kWidth];               // potentials that add to those before
  };
  int32_t base[kWidth];  // distance from the sources + (rows) or - (columns) quanta
};

template <int kWidth>
struct BlockState {
  Side<kWidth> rows;
  Side<kWidth> columns;
  double row_potential[kWidth];  // what all threads need to know of the rows' to quantise
  typename Group<kWidth>::Scratch scratch;
};

// The mask, in registers: what row k and column k keep, in thread k.
template <int kWidth>
struct Kept {
  typename Group<kWidth>::Set in_row;     // columns
  typename Group<kWidth>::Set in_column;  // rows
};

// The m x m entries: first the normalised scores, then, in their place, residuals in quanta. Rows
// are an odd number of words apart, so that neighbouring entries of a row or of a column always lie
// in different banks; a constant one, so that addresses are constants too.
template <int kWidth>
class Entries {
 public:
  explicit __device__ Entries(int32_t* words) : words_(words) {}

  static constexpr int Words(int m) { return RoundUpToLinesAtATime(m) * kStride; }

  __device__ float score(int i, int j) const { return __int_as_float(words_[i * kStride + j]); }
  __device__ int32_t residual(int i, int j) const { return words_[i * kStride + j]; }
  __device__ void set_score(int i, int j, float score) {
    words_[i * kStride + j] = __float_as_int(score);
  }
  __device__ void set_residual(int i, int j, int32_t quanta) { words_[i * kStride + j] = quanta; }

 private:
  static constexpr int kStride = kWidth + 1;
  int32_t* const words_;
};

}  // namespace tsenor::cuda
