// A wide patch: one block of up to 64 x 64 entries in the registers of one warp, and sums over its
// lines by tensor cores.
//
// It is four patches (primitives/patch.cuh), two by two: thread 4 g + t holds the rows 32 r + 4 g +
// k and the columns 32 c + 8 t + j, r, c < 2, k < 4, j < 8, as `half2 x[8][8]`, where x[4 r + k][4
// c + q] are the entries of row 32 r + 4 g + k in the columns 32 c + 8 t + 2 q and the next one. So
// a line's sum needs no other warp, and products of tensor cores add up what the four patches have
// of a row.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "solver/cuda/primitives/instructions.cuh"
#include "solver/cuda/primitives/patch.cuh"

namespace tsenor::cuda {

inline constexpr int kWideRows = 8, kWidePairs = 8;  // of a thread: rows, and pairs of columns

// Where a thread's entries lie in the block.
struct WidePlace {
  int g, t;

  __device__ WidePlace() : g(threadIdx.x % 32 / 4), t(threadIdx.x % 4) {}
  // Number k < 8 of the thread's rows, number j < 16 of its columns.
  __device__ int row(int k) const { return 32 * (k / 4) + 4 * g + k % 4; }
  __device__ int column(int j) const { return 32 * (j / 8) + 8 * t + j % 8; }
};

// Line sums of half2 entries.
class WideSums {
 public:
  // `ones` and `start`, which sums start from: two half2 each, of which the compiler must not know
  // that both hold the same (primitives/patch.cuh, LineSums).
  __device__ WideSums(const uint2& ones, const uint2& start) : ones_(ones), start_(start) {}

  // The sums over the thread's rows 2 `pair` and 2 `pair` + 1, in the two halves: entries(h, q) is
  // the pair q of columns of the first (h = 0) and the second one.
  template <typename Entries>
  __device__ __half2 Rows(Entries entries) const {
    uint2 sums = start_;
#pragma unroll
    for (int q = 0; q < kWidePairs; q += 2) {
      const Fragment16 rows = {entries(0, q), entries(1, q), entries(0, q + 1), entries(1, q + 1)};
      sums = MultiplyAdd(rows, ones_, sums);
    }
    return Pair(__byte_perm(sums.x, sums.y, 0x5410));
  }

  // The sums over a pair of columns; `partial` is that over the thread's eight rows.
  __device__ __half2 Columns(__half2 partial) const {
    return Pair(MultiplyAddHalf(ones_, Transpose8x8(Bits(partial)), start_));
  }

 private:
  const uint2 ones_, start_;
};

// Scores of a wide patch in shared memory. Rows are 64 words; sixteen bytes at a time are permuted
// so that neither a row nor the threads of a wide patch meet bank conflicts.
struct WideScores {
  static constexpr int kLines = 64;
  float* first;

  static __device__ int Index(int row, int column) { return row * kLines + (column ^ (row & 28)); }
  __device__ float at(int row, int column) const { return first[Index(row, column)]; }
  // Columns 4 c .. 4 c + 3.
  __device__ float4& quad(int row, int c) const {
    return *reinterpret_cast<float4*>(first + Index(row, 4 * c));
  }
  // Those of the thread's row number k that are number 4 c .. 4 c + 3 of its columns.
  __device__ float4& quad(const WidePlace& place, int k, int c) const {
    return quad(place.row(k), place.column(4 * c) / 4);
  }
};

}  // namespace tsenor::cuda
