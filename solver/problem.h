// What is to be solved: a batch of tiles that share one problem.
//
// A *block* is an M x M piece of a matrix, a *block row* the M rows of a matrix over its whole
// width, a *tile* a run of consecutive block rows. Blocks are independent of each other, so tiles
// of many matrices may be solved together, and a matrix in any number of tiles, with the same
// result.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>

#include "solver/options.h"
#include "solver/result.h"

namespace tsenor {

// Transposable N:M: every row and every column of a block keeps exactly n of its m entries. (Some
// methods may keep fewer, or constrain one side alone: solver/options.h.)
struct Pattern {
  int n = 0;  // [0, m]
  int m = 0;  // [1, kMaxM]

  auto operator<=>(const Pattern&) const = default;
};

enum class DType {
  kFloat32,     // IEEE binary32
  kFloat16,     // IEEE binary16
  kBFloat16,    // upper half of a binary32
  kFloat8E4M3,  // OCP E4M3: no infinity, NaN is S.1111.111, the greatest value 448 (float8_e4m3fn)
  kFloat8E5M2,  // OCP E5M2: upper half of a binary16
};

inline constexpr DType kAllDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16,
                                       DType::kFloat8E4M3, DType::kFloat8E5M2};

// Size of one element in bytes.
constexpr size_t SizeOf(DType dtype) {
  if (dtype == DType::kFloat32) return 4;
  return dtype == DType::kFloat16 || dtype == DType::kBFloat16 ? 2 : 1;
}

// As users read it: in messages, metrics, tables.
constexpr const char* NameOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "float32";
    case DType::kFloat16:
      return "float16";
    case DType::kBFloat16:
      return "bfloat16";
    case DType::kFloat8E4M3:
      return "float8_e4m3";
    case DType::kFloat8E5M2:
      return "float8_e5m2";
  }
  return "unknown";
}

// The score of an element; the mask maximises the sum of the scores that it keeps.
enum class ScoreKind {
  kMagnitude,                 // |w|
  kMagnitudeTimesColumnNorm,  // |w| * column_norms[column], one float32 product
  kGiven,                     // the element itself, >= 0
};

// Everything that the tiles of one batch have in common. Ordered, so that it can be a map's key.
struct Problem {
  Pattern pattern;
  DType dtype = DType::kFloat32;
  ScoreKind score_kind = ScoreKind::kMagnitude;
  SolveOptions options;

  auto operator<=>(const Problem&) const = default;
};

// Consecutive block rows of one row-major matrix, and where their answer goes. Rows and columns
// that do not fill a whole block are extended by scores of zero: every line of the extended block
// keeps exactly n entries, and the entries that do not exist are left out of the mask.
//
// A plain view: owns nothing. All its pointers lie in the memory space of its batch.
struct Tile {
  const void* weights = nullptr;  // element (0, 0), of Problem::dtype, aligned to its size
  int64_t row_stride = 0;         // elements from one row to the next; >= columns
  int64_t rows = 0;               // >= 1
  int64_t columns = 0;            // >= 1
  // `columns` values, finite and >= 0; null unless ScoreKind::kMagnitudeTimesColumnNorm.
  const float* column_norms = nullptr;

  // Out: the mask, one bit per element. Row r starts at mask + r * mask_row_stride; the bit of
  // column c is bit c % 8 (from the least significant) of byte c / 8; unused bits of the last byte
  // are 0.
  uint8_t* mask = nullptr;
  int64_t mask_row_stride = 0;  // bytes; >= MaskRowBytes(columns)
  // Out: one entry per block row.
  SolveStats* stats = nullptr;
  // Out, optional (may be null): the dual potentials that prove the bound, in units of the scores:
  // for each block, block rows first, m row potentials and then m column potentials.
  double* potentials = nullptr;
};

// Bytes of one mask row.
constexpr int64_t MaskRowBytes(int64_t columns) { return (columns + 7) / 8; }

// Blocks needed to cover `length` rows or columns.
constexpr int64_t BlocksAlong(int64_t length, int m) { return (length + m - 1) / m; }

enum class MemorySpace { kHost, kDevice };

// One call's worth of work.
struct Batch {
  Problem problem;
  std::span<const Tile> tiles;
  MemorySpace memory = MemorySpace::kHost;
  // With MemorySpace::kDevice: the stream (a cudaStream_t) on which to run; Solve() then returns
  // when the work is enqueued. Must be null with MemorySpace::kHost.
  void* stream = nullptr;
};

}  // namespace tsenor
