// The exact finish of a patch: successive shortest augmenting paths, each from a line that keeps
// too few (rows) or too many (columns) to one that keeps too many or too few.
//
// Each group of lanes (PatchGroup) works on one block. With residuals R_ij = w_ij - a_i - b_j in
// whole quanta, R >= 0 where kept and R <= 0 elsewhere, entering an entry costs -R and dropping one
// costs R; Dijkstra's distances become potentials, so that this holds after every path, and a mask
// with n in every line is optimal for the quantised block.
#pragma once

#include <cstdint>

#include "solver/cuda/primitives/patch.cuh"

namespace tsenor::cuda {

template <int kBlock>
class PatchFinish {
 public:
  // The block of this lane's group begins at `column` of the patch, and at the row of its lane 0.
  __device__ PatchFinish(PatchScores scores, int column, PatchLines& lines)
      : scores_(scores), column_(column), lines_(lines) {}

  // Called by all lanes; those of a group without `wanted` take no part, and their lines are left
  // undefined. False: a path would be longer than distances reach.
  __device__ bool Run(bool wanted) {
    while (true) {
      const int missing = lines_.missing();
      const int excess = lines_.excess();
      const bool source = wanted && (missing > 0 || excess > 0);
      if (!__any_sync(~0u, source)) return wanted;
      const bool busy = group_.Ballot(source) != 0;
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

  // Dijkstra's algorithm over the 2 kBlock lines of a block. Groups that are done wait until all
  // are.
  __device__ Paths FindPath(bool busy, int missing, int excess) const {
    const int z = group_.z;
    const uint32_t row_node = z | (missing < 0 ? 0 : kNoSink);
    const uint32_t column_node = z | kColumn | (excess < 0 ? 0 : kNoSink);
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
      const bool visits = kOneGroup || !done;
      const int line = key % kBlock;
      // From a row, enter one of its entries; from a column, drop one.
      const auto visit = [&](bool at_row) {
        if (visits && z == line && at_row) open_row = kClosed;
        if (visits && z == line && !at_row) open_column = kClosed;
        const float score =
            scores_.at(group_.base + (at_row ? line : z), column_ + (at_row ? z : line));
        const int residual =
            Residual(score, group_.From(at_row ? lines_.row_start : lines_.column_start, line) +
                                (at_row ? lines_.column_start : lines_.row_start));
        const uint32_t moves =
            Unsigned(group_.From(at_row ? lines_.row_move : lines_.column_move, line)) +
            Unsigned(at_row ? lines_.column_move : lines_.row_move);
        const uint32_t cost = at_row ? moves - Unsigned(residual) : Unsigned(residual) - moves;
        const uint32_t next =
            min(key / kNodes + cost, kFar) * kNodes + (at_row ? column_node : row_node);
        const bool kept = (at_row ? lines_.column_kept : lines_.row_kept) >> line & 1;
        const bool nearer =
            visits && kept != at_row && next < (at_row ? paths.column_key : paths.row_key);
        if (nearer && at_row) {
          paths.column_key = open_column = next;
          paths.column_parent = line;
        }
        if (nearer && !at_row) {
          paths.row_key = open_row = next;
          paths.row_parent = line;
        }
      };
      if (!kOneGroup) {
        visit(!(key & kColumn));
      } else if (key & kColumn) {
        visit(false);
      } else {
        visit(true);
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
  const int column_;
  const PatchGroup<kBlock> group_;
  PatchLines& lines_;
  int augmentations_ = 0;
};

}  // namespace tsenor::cuda
