// The exact finish of a wide patch: that of patch_finish.cuh, where the mathematics stands, for one
// block of up to 64 x 64 in a warp. Lane l works for rows l and l + 32 and columns l and l + 32.
#pragma once

#include <cstdint>

#include "solver/cuda/primitives/wide_patch.cuh"

namespace tsenor::cuda {

// One lane's part of the block: of its two rows and its two columns, [h] being line l + 32 h.
struct WideLines {
  float row_start[2], column_start[2];        // potentials before the finish, in quanta
  int row_move[2] = {}, column_move[2] = {};  // what the finish adds, in quanta
  uint64_t row_kept[2], column_kept[2];       // bit k: the entry in column (row) k
  int row_wanted[2], column_wanted[2];        // entries to keep

  __device__ int RowMissing(int h) const { return row_wanted[h] - __popcll(row_kept[h]); }
  __device__ int ColumnExcess(int h) const { return __popcll(column_kept[h]) - column_wanted[h]; }
};

class WideFinish {
 public:
  // A score of 1 is `quanta` quanta.
  __device__ WideFinish(WideScores scores, float quanta, WideLines& lines)
      : scores_(scores), quanta_(quanta), lane_(threadIdx.x % 32), lines_(lines) {}

  // Called by all lanes. False: a path would be longer than distances reach.
  __device__ bool Run() {
    while (true) {
      const int missing[2] = {lines_.RowMissing(0), lines_.RowMissing(1)};
      const int excess[2] = {lines_.ColumnExcess(0), lines_.ColumnExcess(1)};
      const int most = max(max(missing[0], missing[1]), max(excess[0], excess[1]));
      if (!__any_sync(~0u, most > 0)) return true;
      const Paths paths = FindPath(missing, excess);
      if (paths.end >= kUnreached) return false;
      Augment(paths);
      ++augmentations_;
    }
  }

  __device__ int augmentations() const { return augmentations_; }

 private:
  // A node: a line's number, whether it is a column, and whether it is no sink.
  static constexpr uint32_t kColumn = 64, kNoSink = 128, kNodes = 256;
  // Keys: a distance times kNodes, and a node.
  static constexpr uint32_t kFar = ~0u / kNodes;  // a distance: not reached
  static constexpr uint32_t kUnreached = kFar * kNodes;

  // The shortest paths found. Keys are distances with the node in the low bits.
  struct Paths {
    uint32_t row_key[2], column_key[2];   // of this lane's lines
    int row_parent[2], column_parent[2];  // the line before on the path; -1 at a source
    uint32_t end;  // the key of the nearest sink; kUnreached or more if there is none
  };

  // What the lane of a line has for it.
  template <typename T>
  static __device__ T From(const T (&value)[2], int line) {
    return __shfl_sync(~0u, line >= 32 ? value[1] : value[0], line % 32);
  }
  __device__ void Close(uint32_t (&open)[2], int line) const {
    if (lane_ + 32 == line) open[1] = ~0u;
    if (lane_ == line) open[0] = ~0u;
  }
  static __device__ uint32_t Unsigned(int x) { return static_cast<uint32_t>(x); }

  // Dijkstra's algorithm over the 128 lines of the block.
  __device__ Paths FindPath(const int (&missing)[2], const int (&excess)[2]) const {
    Paths paths;
    uint32_t row_node[2], column_node[2], open_row[2], open_column[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const uint32_t line = lane_ + 32 * h;
      row_node[h] = line | (missing[h] < 0 ? 0 : kNoSink);
      column_node[h] = line | kColumn | (excess[h] < 0 ? 0 : kNoSink);
      paths.row_key[h] = open_row[h] = (missing[h] > 0 ? 0 : kUnreached) | row_node[h];
      paths.column_key[h] = open_column[h] = (excess[h] > 0 ? 0 : kUnreached) | column_node[h];
      paths.row_parent[h] = paths.column_parent[h] = -1;
    }
    while (true) {
      const uint32_t key = __reduce_min_sync(
          ~0u, min(min(open_row[0], open_row[1]), min(open_column[0], open_column[1])));
      if (!(key & kNoSink) || key >= kUnreached) {
        paths.end = key;
        return paths;
      }
      const int line = key % 64;
      const uint32_t distance = key / kNodes;
      if (!(key & kColumn)) {
        Close(open_row, line);
        // Enter an entry of row `line`.
        const float start = From(lines_.row_start, line);
        const int move = From(lines_.row_move, line);
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int residual =
              Residual(scores_.at(line, lane_ + 32 * h), start + lines_.column_start[h]);
          const uint32_t cost =
              Unsigned(move) + Unsigned(lines_.column_move[h]) - Unsigned(residual);
          const uint32_t next = min(distance + cost, kFar) * kNodes + column_node[h];
          if (!(lines_.column_kept[h] >> line & 1) && next < paths.column_key[h]) {
            paths.column_key[h] = open_column[h] = next;
            paths.column_parent[h] = line;
          }
        }
      } else {
        Close(open_column, line);
        // Drop an entry of column `line`.
        const float start = From(lines_.column_start, line);
        const int move = From(lines_.column_move, line);
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int residual =
              Residual(scores_.at(lane_ + 32 * h, line), lines_.row_start[h] + start);
          const uint32_t cost = Unsigned(residual) - Unsigned(lines_.row_move[h]) - Unsigned(move);
          const uint32_t next = min(distance + cost, kFar) * kNodes + row_node[h];
          if ((lines_.row_kept[h] >> line & 1) && next < paths.row_key[h]) {
            paths.row_key[h] = open_row[h] = next;
            paths.row_parent[h] = line;
          }
        }
      }
    }
  }

  // Exact where it is small: potentials lie on a grid so coarse that their sum is exact, and the
  // difference of two close numbers is. Elsewhere it saturates; costs are unsigned, so that moves
  // do not overflow then.
  __device__ int Residual(float score, float potentials) const {
    return __float2int_rn(__fmaf_rn(score, quanta_, -potentials));
  }

  // Moves potentials by the distances and flips the path.
  __device__ void Augment(const Paths& paths) {
    const uint32_t length = paths.end / kNodes;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      lines_.row_move[h] -= length - min(paths.row_key[h] / kNodes, length);
      lines_.column_move[h] += length - min(paths.column_key[h] / kNodes, length);
    }
    int line = paths.end % 64;
    bool at_column = paths.end & kColumn;
    while (true) {
      const int parent = at_column ? From(paths.column_parent, line) : From(paths.row_parent, line);
      if (parent < 0) return;
      if (at_column) {
        Flip(lines_.column_kept, line, parent);
        Flip(lines_.row_kept, parent, line);
      } else {
        Flip(lines_.row_kept, line, parent);
        Flip(lines_.column_kept, parent, line);
      }
      line = parent;
      at_column = !at_column;
    }
  }

  // Bit `bit` of line `line`, by its lane.
  __device__ void Flip(uint64_t (&kept)[2], int line, int bit) const {
    const uint64_t flipped = uint64_t{1} << bit;
    if (lane_ == line) kept[0] ^= flipped;
    if (lane_ + 32 == line) kept[1] ^= flipped;
  }

  const WideScores scores_;
  const float quanta_;
  const int lane_;
  WideLines& lines_;
  int augmentations_ = 0;
};

}  // namespace tsenor::cuda
