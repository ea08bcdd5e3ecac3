// A block in shared memory while the general kernel solves it.
#pragma once

#include <cstdint>

#include "solver/cuda/primitives/line_set.cuh"

namespace tsenor::cuda {

// All rows, or all columns, of a block; thread k works for line k. Line k of a set is bit k % 32 of
// word k / 32.
template <int kWords>
struct Side {
  static constexpr int kLines = 32 * kWords;

  double proof[kLines];     // potentials, of the normalised scores, that prove the answer
  float potential[kLines];  // of the sweeps
  float mean[kLines];       // of the line without its maximum
  // The exact finish: potentials in quanta that add to `proof`, and what lines miss (rows: n -
  // kept, columns: kept - n).
  int32_t quanta[kLines];
  int32_t supply[kLines];
  int32_t distance[kLines];       // from the sources
  int32_t level[kLines];          // the relaxation in which it last fell
  uint32_t kept[kWords][kLines];  // lines of the other side whose entry with line k is kept
  uint32_t sources[kWords];       // lines of positive supply
  uint32_t sinks[kWords];         // lines of negative supply
  uint32_t changed[kWords];       // lines whose distance fell since the other side was relaxed

  __device__ bool keeps(int line, int other) const {
    return kept[other / 32][line] >> (other % 32) & 1;
  }
};

// A line on the path that Augmenter searches, and the lines before it that are not yet tried.
template <int kWords>
struct Step {
  int32_t line;
  uint32_t before[kWords];
};

template <int kWords>
struct BlockState {
  Side<kWords> rows;
  Side<kWords> columns;
  double scratch[kWords];          // of Group
  Step<kWords> path[64 * kWords];  // a path visits every line once at most
  int32_t answer;                  // of the steps that one warp takes for all
};

// The m x m entries: first the normalised scores, then, in their place, residuals in quanta. Rows
// are an odd number of words apart, so that 32 neighbouring entries of a row or of a column always
// lie in different banks.
class Entries {
 public:
  __device__ Entries(int32_t* words, int m) : words_(words), stride_(m | 1) {}

  static constexpr int Words(int m) { return m * (m | 1); }

  __device__ float score(int i, int j) const { return __int_as_float(words_[i * stride_ + j]); }
  __device__ int32_t residual(int i, int j) const { return words_[i * stride_ + j]; }
  __device__ void set_score(int i, int j, float score) {
    words_[i * stride_ + j] = __float_as_int(score);
  }
  __device__ void set_residual(int i, int j, int32_t quanta) { words_[i * stride_ + j] = quanta; }

 private:
  int32_t* const words_;
  const int stride_;
};

}  // namespace tsenor::cuda
