// The exact finish of a patch: successive shortest augmenting paths, each from a line that keeps
// too few (rows) or too many (columns) to one that keeps too many or too few.
//
// A group of kBlock lanes works on one block, the lane of number z on its row z and its column z;
// the 32 / kBlock groups of the warp work in lockstep, each on its own block. With residuals R_ij =
// w_ij - a_i - b_j in whole quanta, R >= 0 where kept and R <= 0 elsewhere, entering an entry costs
// -R and dropping one costs R; Dijkstra's distances become potentials, so that this holds after
// every path, and a mask with n in every line is optimal for the quantised block.
#pragma once

#include <cstdint>

#include "solver/cuda/primitives/patch.cuh"

namespace tsenor::cuda {

template <int kBlock>
class PatchFinish {
 public:
  // The block of this lane's group begins at `row`, `column` of the patch.
  __device__ PatchFinish(PatchScores scores, int row, int column, PatchLines& lines)
      : scores_(scores),
        row_(row),
        column_(column),
        z_(threadIdx.x % kBlock),
        base_(threadIdx.x % 32 - z_),
        lines_(lines) {}

  // Called by all lanes; those of a group without `wanted` take no part, and their lines are left
  // undefined. False: a path would be longer than distances reach.
  __device__ bool Run(bool wanted) {
    while (true) {
      const int missing = lines_.row_wanted - __popc(lines_.row_kept);
      const int excess = __popc(lines_.column_kept) - lines_.column_wanted;
      const bool source = wanted && (missing > 0 || excess > 0);
      if (!__any_sync(~0u, source)) return wanted;
      const bool busy = Group(__ballot_sync(~0u, source)) != 0;
      const Paths paths = FindPath(busy, missing, excess);
      if (busy && paths.end >= kUnreached) wanted = false;
      Augment(paths);
      augmentations_ += busy;
    }
  }

  __device__ int augmentations() const { return augmentations_; }

 private:
  // A node: a line's number, whether it is a column, and whether it is no sink.
  static constexpr uint32_t kColumn = kBlock, kNoSink = 2 * kBlock, kNodes = 4 * kBlock;
  // Keys: a distance times kNodes, and a node.
  static constexpr uint32_t kFar = ~0u / kNodes;  // a distance: not reached
  static constexpr uint32_t kUnreached = kFar * kNodes;
  // Of a line that is not to be visited. As of a sink: a search that is left with those ends.
  static constexpr uint32_t kClosed = ~kNoSink;
  static constexpr bool kOneGroup = kBlock == 32;

  // The shortest paths that a group has found. Keys are distances with the node in the low bits.
  struct Paths {
    uint32_t row_key, column_key;   // of this lane's lines
    int row_parent, column_parent;  // the line before on the path; -1 at a source
    uint32_t end;  // the key of the nearest sink; kUnreached or more if there is none
  };

  // The group's bits of a ballot.
  __device__ uint32_t Group(uint32_t ballot) const {
    return kBlock == 32 ? ballot : ballot >> base_ & ((1u << kBlock) - 1);
  }
  // What the lane of a line of the group has. Called by whole groups.
  template <typename T>
  __device__ T From(T value, int line) const {
    const uint32_t group = kBlock == 32 ? ~0u : ((1u << kBlock) - 1) << base_;
    return __shfl_sync(group, value, base_ + line);
  }
  __device__ uint32_t Least(uint32_t key) const {
    if constexpr (kBlock == 32) {
      return __reduce_min_sync(~0u, key);
    } else {
#pragma unroll
      for (int lanes = kBlock / 2; lanes > 0; lanes /= 2) {
        key = min(key, __shfl_xor_sync(~0u, key, lanes));
      }
      return key;
    }
  }

  // Dijkstra's algorithm over the 2 kBlock lines of a block. Groups that are done find the same
  // line again until all are.
  __device__ Paths FindPath(bool busy, int missing, int excess) const {
    const uint32_t row_node = z_ | (missing < 0 ? 0 : kNoSink);
    const uint32_t column_node = z_ | kColumn | (excess < 0 ? 0 : kNoSink);
    Paths paths = {.row_key = (missing > 0 ? 0 : kUnreached) | row_node,
                   .column_key = (excess > 0 ? 0 : kUnreached) | column_node,
                   .row_parent = -1,
                   .column_parent = -1};
    uint32_t open_row = busy && missing > 0 ? paths.row_key : kClosed;
    uint32_t open_column = busy && excess > 0 ? paths.column_key : kClosed;
    while (true) {
      const uint32_t key = Least(min(open_row, open_column));
      const bool done = !(key & kNoSink);
      if (kOneGroup ? done : __all_sync(~0u, done)) {
        paths.end = key;
        return paths;
      }
      if (!kOneGroup && done) continue;
      const int line = key % kBlock;
      const uint32_t distance = key / kNodes;
      if (!(key & kColumn)) {
        if (z_ == line) open_row = kClosed;
        // Enter an entry of row `line`.
        const int residual = Residual(scores_.at(row_ + line, column_ + z_),
                                      From(lines_.row_start, line) + lines_.column_start);
        const uint32_t cost = Unsigned(From(lines_.row_move, line)) + Unsigned(lines_.column_move) -
                              Unsigned(residual);
        const uint32_t next = min(distance + cost, kFar) * kNodes + column_node;
        if (!(lines_.column_kept >> line & 1) && next < paths.column_key) {
          paths.column_key = open_column = next;
          paths.column_parent = line;
        }
      } else {
        if (z_ == line) open_column = kClosed;
        // Drop an entry of column `line`.
        const int residual = Residual(scores_.at(row_ + z_, column_ + line),
                                      lines_.row_start + From(lines_.column_start, line));
        const uint32_t cost = Unsigned(residual) - Unsigned(lines_.row_move) -
                              Unsigned(From(lines_.column_move, line));
        const uint32_t next = min(distance + cost, kFar) * kNodes + row_node;
        if ((lines_.row_kept >> line & 1) && next < paths.row_key) {
          paths.row_key = open_row = next;
          paths.row_parent = line;
        }
      }
    }
  }

  static __device__ uint32_t Unsigned(int x) { return static_cast<uint32_t>(x); }

  // Exact where it is small: potentials lie on a grid so coarse that their sum is exact, and the
  // difference of two close numbers is. Elsewhere it saturates; costs are unsigned, so that moves
  // do not overflow then.
  __device__ int Residual(float score, float potentials) const {
    return __float2int_rn(__fadd_rn(score, -potentials));
  }

  // Moves potentials by the distances and flips the path.
  __device__ void Augment(const Paths& paths) {
    const uint32_t length = paths.end / kNodes;
    lines_.row_move -= length - min(paths.row_key / kNodes, length);
    lines_.column_move += length - min(paths.column_key / kNodes, length);
    FlipPath<kBlock>(paths.end % kBlock, paths.end & kColumn, paths.row_parent, paths.column_parent,
                     lines_);
  }

  const PatchScores scores_;
  const int row_, column_, z_, base_;
  PatchLines& lines_;
  int augmentations_ = 0;
};

}  // namespace tsenor::cuda
