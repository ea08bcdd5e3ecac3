// A patch: 32 x 32 entries in the registers of one warp, and sums over its lines by tensor cores.
//
// A patch holds (32 / kBlock)^2 blocks, kBlock = 8, 16 or 32. Thread 4 g + t of the warp (0 <= g <
// 8, 0 <= t < 4) holds the eight columns from 8 t on of the four rows from 4 g on: as `half2
// x[4][4]`, where x[k][q] are the entries (4 g + k, 8 t + 2 q) and (4 g + k, 8 t + 2 q + 1). All of
// a thread's entries lie in one block. The order of rows within a fragment of the tensor cores does
// not matter to a sum, so that x[k][q] and x[k + 1][q] serve as one 16 x 16 operand as they are.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "solver/cuda/kernels/pass.h"
#include "solver/cuda/primitives/instructions.cuh"

namespace tsenor::cuda {

// Where a thread's entries lie in the patch.
struct PatchPlace {
  int g, t;

  __device__ PatchPlace() : g(threadIdx.x % 32 / 4), t(threadIdx.x % 4) {}
  __device__ int row(int k) const { return 4 * g + k; }
  __device__ int column(int j) const { return 8 * t + j; }
  // Of the thread's entries, among those of the patch row by row.
  template <int kBlock>
  __device__ int block() const {
    return 4 * g / kBlock * (kPatchLines / kBlock) + 8 * t / kBlock;
  }
  // The lanes whose entries lie in the same block.
  template <int kBlock>
  __device__ uint32_t lanes_of_block() const {
    constexpr uint32_t kOfFirst = kBlock == 32 ? ~0u : kBlock == 16 ? 0x3333 : 0x11;
    return kOfFirst << (4 * (4 * g / kBlock * kBlock / 4) + 8 * t / kBlock * kBlock / 8);
  }
};

// Scores of a patch in shared memory, in quanta. Rows are 32 words; sixteen bytes at a time are
// permuted so that neither a row nor the threads of primitives/patch.cuh meet bank conflicts.
struct PatchScores {
  float* first;

  static __device__ int Index(int row, int column) {
    return (row * kPatchLines + (row & 28)) ^ column;
  }
  __device__ float at(int row, int column) const { return first[Index(row, column)]; }
  // Columns 4 c .. 4 c + 3.
  __device__ float4& quad(int row, int c) const {
    return *reinterpret_cast<float4*>(first + Index(row, 4 * c));
  }
  // The thread's quad number c, 0 or 1, of its row number k. The permutation of its rows is one.
  __device__ float4& quad(const PatchPlace& place, int k, int c) const {
    return *reinterpret_cast<float4*>(first + Index(place.row(0), place.column(4 * c)) +
                                      k * kPatchLines);
  }
};

// A number for each line of each block of a patch, in shared memory.
template <int kBlock>
struct PatchLineNumbers {
  static constexpr int kBlocks = kPatchLines / kBlock;
  alignas(16) float row[kBlocks][kPatchLines];     // [block column][row]
  alignas(16) float column[kBlocks][kPatchLines];  // [block row][column]

  // Of the thread's four rows, and of four of its columns, c = 0 or 1.
  __device__ float4& rows(const PatchPlace& place) {
    return *reinterpret_cast<float4*>(&row[8 * place.t / kBlock][place.row(0)]);
  }
  __device__ float4& columns(const PatchPlace& place, int c) {
    return *reinterpret_cast<float4*>(&column[4 * place.g / kBlock][place.column(4 * c)]);
  }
  // Which of the threads that have these rows, or columns, writes for all.
  static __device__ bool WritesRows(const PatchPlace& place) { return 8 * place.t % kBlock == 0; }
  static __device__ bool WritesColumns(const PatchPlace& place) {
    return 4 * place.g % kBlock == 0;
  }
};

// One lane's part of its group's block: of its row and of its column.
struct PatchLines {
  float row_start, column_start;      // potentials before the finish, in quanta
  int row_move = 0, column_move = 0;  // what the finish adds, in quanta
  uint32_t row_kept, column_kept;     // bit k: the entry in column (row) k
  int row_wanted, column_wanted;      // entries to keep

  // Entries that the row keeps too few, and the column too many.
  __device__ int missing() const { return row_wanted - __popc(row_kept); }
  __device__ int excess() const { return __popc(column_kept) - column_wanted; }
};

// This lane's number of those that the lanes of a warp have in shared memory.
template <typename Quad>
__device__ auto& OfLane(Quad (&numbers)[kPatchLines / 4]) {
  return (&numbers[0].x)[threadIdx.x % 32];
}

inline __device__ uint32_t Bits(__half2 pair) { return *reinterpret_cast<uint32_t*>(&pair); }
inline __device__ __half2 Pair(uint32_t bits) { return *reinterpret_cast<__half2*>(&bits); }

// The sum over the lanes that hold a block's entries.
template <int kBlock>
__device__ float SumOfBlock(float value) {
#pragma unroll
  for (int lanes = 1; lanes < 32; lanes *= 2) {
    const bool within = lanes < 4 ? 8 * lanes < kBlock : lanes < kBlock;
    if (within) value += __shfl_xor_sync(~0u, value, lanes);
  }
  return value;
}

// Line sums of half2 entries, block by block.
template <int kBlock>
class LineSums {
 public:
  // `ones`: four halves of 1, for which the compiler must not know that they are: it would
  // recompute constant operands for each use (57 more instructions a sweep), or copy a register to
  // make a pair. Kept where row k and column n of the operand belong to one block of the patch.
  explicit __device__ LineSums(const uint2& ones) {
    const PatchPlace place;
    const bool same = 8 * place.t / kBlock == 4 * place.g / kBlock;
    ones_ = {same ? ones.x : 0, same ? ones.y : 0};
  }

  // The same sums, starting from `start`: four halves of one value; see `ones`.
  __device__ LineSums From(const uint2& start) const {
    LineSums sums = *this;
    sums.start_ = start;
    return sums;
  }

  // The sums over the rows 4 g + k and 4 g + k + 1, k = 0 or 2, in the two halves:
  // entries(h, q) is the pair q of row 4 g + k + h.
  template <typename Entries>
  __device__ __half2 Rows(Entries entries) const {
    uint2 sums = start_;
#pragma unroll
    for (int q = 0; q < 4; q += 2) {
      const Fragment16 rows = {entries(0, q), entries(1, q), entries(0, q + 1), entries(1, q + 1)};
      sums = MultiplyAdd(rows, ones_, sums);
    }
    return Pair(__byte_perm(sums.x, sums.y, 0x5410));
  }

  // The sums over a pair of columns of the patch; `partial` is that over the thread's four rows.
  __device__ __half2 Columns(__half2 partial) const {
    return Pair(MultiplyAddHalf(ones_, Transpose8x8(Bits(partial)), start_));
  }

 private:
  uint2 ones_;
  uint2 start_ = {0, 0};
};

// In each group of kSize lanes, row l of a kSize x kSize matrix of bits in its lane l becomes
// column l: by quarters, each time half as large.
template <int kSize = 32>
__device__ uint32_t TransposeBits(uint32_t row) {
  const uint32_t lane = threadIdx.x % 32;
  if constexpr (kSize == 32) {
    row = __byte_perm(row, __shfl_xor_sync(~0u, row, 16), lane & 16 ? 0x3276 : 0x5410);
  }
  if constexpr (kSize >= 16) {
    row = __byte_perm(row, __shfl_xor_sync(~0u, row, 8), lane & 8 ? 0x3715 : 0x6240);
  }
#pragma unroll
  for (int size = 4; size > 0; size /= 2) {
    const uint32_t low = size == 4 ? 0x0f0f0f0f : size == 2 ? 0x33333333 : 0x55555555;
    const uint32_t own = lane & size ? ~low : low;
    const uint32_t other = __shfl_xor_sync(~0u, row, size);
    row = (row & own) | (__funnelshift_l(other, other, lane & size ? 32 - size : size) & ~own);
  }
  return row;
}

// From the layout of a patch to rows: byte k of `bits` are the eight columns of row 4 g + k;
// returns row l in lane l.
inline __device__ uint32_t RowsOfBits(uint32_t bits) {
  const uint32_t t = threadIdx.x % 4;
  uint32_t other = __shfl_xor_sync(~0u, bits, 1);
  bits = __byte_perm(bits, other, t & 1 ? 0x3715 : 0x6240);
  other = __shfl_xor_sync(~0u, bits, 2);
  return __byte_perm(bits, other, t & 2 ? 0x3276 : 0x5410);
}

// The lanes of this thread's group. A group of kBlock lanes works on one block, the lane of number
// z on its row z and its column z; the 32 / kBlock groups of a warp work in lockstep, each on its
// own block. All lanes call everything, without branches between groups: shuffles then need no
// masks.
template <int kBlock>
struct PatchGroup {
  static constexpr uint32_t kLines = kBlock == 32 ? ~0u : (1u << kBlock % 32) - 1;
  int lane, z, base;  // base: the lane of number 0

  __device__ PatchGroup()
      : lane(threadIdx.x % 32), z(threadIdx.x % kBlock), base(threadIdx.x % 32 - z) {}
  __device__ uint32_t lanes() const { return kLines << base; }
  // The lanes of the group for which `mine` holds.
  __device__ uint32_t Ballot(bool mine) const { return __ballot_sync(~0u, mine) & lanes(); }
  // What the lane of a line of the group has.
  template <typename T>
  __device__ T From(T value, int line) const {
    return __shfl_sync(~0u, value, base + line);
  }
};

// Flips the entries of a path of each group: from the line of this number, a row or a column, back
// over the parents of lines to a source, whose parent is -1.
template <int kBlock>
__device__ void FlipPath(int line, bool at_column, int row_parent, int column_parent,
                         PatchLines& lines) {
  const PatchGroup<kBlock> group;
  while (true) {
    const int parent = group.From(at_column ? column_parent : row_parent, line);
    if (kBlock == 32 ? parent < 0 : __all_sync(~0u, parent < 0)) return;
    const bool flips = kBlock == 32 || parent >= 0;
    const uint32_t of_line = flips && group.z == line ? 1u << parent : 0;
    const uint32_t of_parent = flips && group.z == parent ? 1u << line : 0;
    lines.row_kept ^= at_column ? of_parent : of_line;
    lines.column_kept ^= at_column ? of_line : of_parent;
    line = flips ? parent : line;
    at_column = at_column != flips;
  }
}

}  // namespace tsenor::cuda
