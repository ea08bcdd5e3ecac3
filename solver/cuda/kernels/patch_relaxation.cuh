// The exact finish of patches of small blocks with ties: shortest paths by Bellman and Ford's
// algorithm, all lines of all groups' blocks at once.
//
// With residuals R_ij = w_ij - a_i - b_j at the potentials of the sweeps, entering an entry costs
// -R and dropping one costs R, whatever its sign: where noise has broken ties (patch_ties.cuh),
// some of what is kept lies below its potentials, and some of the rest beyond them. As long as
// there is one of these, it is flipped, which enters and drops its entries by turns:
//
//   lines that keep too few or too many   the shortest path from one to another
//   a cycle of negative length            itself: the noise has chosen badly
//
// Then the mask is optimal. Potentials that prove it are the distances of the last search, since
// those go by the costs from before its path was flipped, or else, where they are too far to be
// exact, or there was no search, the distances from everywhere, 0 or less.
//
// In a round all rows look at all columns, then all columns at all rows: 32 instructions for four
// blocks of 8 (sm_90). Dijkstra's algorithm (patch_finish.cuh) takes twice as many for one line of
// each. But for a single path of blocks without ties it is shorter: plain patches have that, and
// those of blocks of 16.
#pragma once

#include <cstdint>

#include "solver/cuda/primitives/patch.cuh"

namespace tsenor::cuda {

// What lines tell each other: their potentials before, and their distances.
struct PatchRelaxationMemory {
  float4 row_start[kPatchLines / 4], column_start[kPatchLines / 4];
  int4 row[kPatchLines / 4], column[kPatchLines / 4];
};

template <int kBlock>
class PatchRelaxation {
 public:
  // The block of this lane's group begins at `column` of the patch, at the row of its lane 0, and
  // has m lines.
  __device__ PatchRelaxation(PatchScores scores, int column, int m, PatchLines& lines,
                             PatchRelaxationMemory& memory)
      : scores_(scores), column_(column), all_((1u << m) - 1), lines_(lines), memory_(memory) {}

  // Called by all lanes; those of a group without `wanted` take no part. `tied`: potentials do not
  // prove what the group keeps. False: a path would be longer than distances reach.
  __device__ bool Run(bool wanted, bool tied) {
    bool proven = !tied;
    bool searching = HasSources() & wanted;
    bool open = searching | (wanted & !proven);
    if (!__any_sync(~0u, open)) return wanted;
    OfLane(memory_.row_start) = lines_.row_start;
    OfLane(memory_.column_start) = lines_.column_start;
    __syncwarp();
    Costs costs;
    if (kKeepsCosts) costs = ReadCosts();
    int rounds = kFirstRounds;
    for (int searches = 0; __any_sync(~0u, open); ++searches) {
      if (!kKeepsCosts) costs = ReadCosts();
      const Distances found = Relax(costs, open, searching, rounds);
      const bool falling = group_.Ballot(found.falling) != 0;
      Walk walk = {.line = 0, .at_column = false};
      int length = kFar;
      if (__any_sync(~0u, searching)) length = FindEnd(found, searching, walk);
      bool cyclic = false;
      if (__any_sync(~0u, falling)) {
        cyclic = FindCycle(found, walk, falling);
        if (__any_sync(~0u, falling && !cyclic)) rounds = kBlock + 1;  // as many as a path can take
      }
      // With costs of 0 or more, lines beyond the path's end need not move any farther than it.
      const bool cut = !tied && searches == 0;
      if (open && !falling) {
        lines_.row_move = (cut ? min(found.row, length) : found.row) / kLine;
        lines_.column_move = -(cut ? min(found.column, length) : found.column) / kLine;
      }
      const bool far = IsLine() && max(found.row, found.column) >= kExact;
      proven = (cut | (group_.Ballot(far) == 0)) & !falling;
      const bool lost = !falling && searching && length >= kUnreached;
      if (open && (lost || searches == kMostSearches)) open = wanted = false;
      const bool flips = open && (falling ? cyclic : searching);
      Flip(found, walk, flips);
      augmentations_ += flips && !cyclic;
      searching = HasSources() & open;
      open = searching | (open & !proven);
    }
    return wanted;
  }

  __device__ int augmentations() const { return augmentations_; }

 private:
  // Distances and costs are in quanta, times kLine: the low bits name the line before.
  static constexpr int kLine = kBlock;
  static constexpr int kFar = 1 << 30;  // a cost: there is no arc
  static constexpr int kNowhere =
      kFar - kLine;  // a distance: the sum with a cost does not overflow
  static constexpr int kUnreached = kFar / 4 * 3;  // less than that, by costs below zero
  // Of scores this far below their potentials, float32 may have rounded the residual.
  static constexpr int kExact = kLine << 25;
  static constexpr int kFirstRounds = 5;  // enough for most paths; a cycle shows after fewer
  static constexpr bool kKeepsCosts = kBlock == 8;  // there are registers enough
  static constexpr int kMostSearches = 8 * kBlock;

  // Of this lane's lines: what it costs to drop an entry of its row, and to enter one of its
  // column.
  struct Costs {
    int drop[kBlock], enter[kBlock];
  };

  struct Distances {
    int row, column;                // of this lane's lines
    int row_parent, column_parent;  // the line before on the path; -1 at a source
    bool falling;                   // the column's, still
  };

  // The line from which to walk back.
  struct Walk {
    int line;
    bool at_column;
  };

  __device__ bool IsLine() const { return all_ >> group_.z & 1; }
  // Whether some row of the group keeps too few, or some column too many.
  __device__ bool HasSources() const {
    return group_.Ballot(lines_.missing() > 0 || lines_.excess() > 0) != 0;
  }

  __device__ Costs ReadCosts() const {
    Costs costs;
#pragma unroll
    for (int c = 0; c < kBlock / 4; ++c) {
      const float4 quad = scores_.quad(group_.lane, column_ / 4 + c);
      const float4 rows = memory_.row_start[group_.base / 4 + c];
      const float4 columns = memory_.column_start[group_.base / 4 + c];
      const float score[4] = {quad.x, quad.y, quad.z, quad.w};
      const float row[4] = {rows.x, rows.y, rows.z, rows.w};
      const float column[4] = {columns.x, columns.y, columns.z, columns.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int k = 4 * c + j;
        const float above = scores_.at(group_.base + k, column_ + group_.z);
        costs.drop[k] = CostOf(score[j] - (lines_.row_start + column[j]), k);
        costs.enter[k] = CostOf((row[j] + lines_.column_start) - above, k);
      }
    }
    return costs;
  }

  // Residuals are as exact as PatchFinish's. One that is far below zero is none that can be used.
  static __device__ int CostOf(float residual, int line) {
    const auto cost = static_cast<uint32_t>(min(__float2int_rn(residual), kFar / kLine));
    return static_cast<int>(cost * kLine + static_cast<uint32_t>(line));
  }

  // The least of the sums of `costs` and the other lines' distances.
  __device__ int Least(const int (&costs)[kBlock], const int4* distances) const {
    int least = kFar;
#pragma unroll
    for (int c = 0; c < kBlock / 4; ++c) {
      const int4 of = distances[group_.base / 4 + c];
      least = min(costs[4 * c] + of.x, least);
      least = min(costs[4 * c + 1] + of.y, least);
      least = min(costs[4 * c + 2] + of.z, least);
      least = min(costs[4 * c + 3] + of.w, least);
    }
    return least;
  }

  // Of a group that is `open`, distances from the lines that keep too few (rows) or too many
  // (columns) if it is `searching`, or else from everywhere.
  __device__ Distances Relax(const Costs& all, bool open, bool searching, int rounds) const {
    const uint32_t droppable = open ? lines_.row_kept : 0;
    const uint32_t enterable = open ? ~lines_.column_kept & all_ : 0;
    Costs costs;
#pragma unroll
    for (int k = 0; k < kBlock; ++k) {
      costs.drop[k] = droppable >> k & 1 ? all.drop[k] : kFar;
      costs.enter[k] = enterable >> k & 1 ? all.enter[k] : kFar;
    }
    int row = open && (!searching || lines_.missing() > 0) ? 0 : kNowhere;
    int column = open && (!searching || lines_.excess() > 0) ? 0 : kNowhere;
    int row_parent = -1, column_parent = -1;
    OfLane(memory_.column) = column;
    bool falling = true;
#pragma unroll 1
    for (int round = 0; round < rounds && __any_sync(~0u, falling); ++round) {
      __syncwarp();
      int least = Least(costs.drop, memory_.column);
      if (least < row) {
        row = least & -kLine;
        row_parent = least & (kLine - 1);
      }
      OfLane(memory_.row) = row;
      __syncwarp();
      least = Least(costs.enter, memory_.row);
      falling = least < column;
      if (falling) {
        column = least & -kLine;
        column_parent = least & (kLine - 1);
      }
      OfLane(memory_.column) = column;
    }
    __syncwarp();
    return {row, column, row_parent, column_parent, falling};
  }

  // Of a group that is searching, the nearest line that keeps too many (row) or too few (column);
  // returns its distance.
  __device__ int FindEnd(const Distances& found, bool searching, Walk& walk) const {
    const int row = searching && lines_.missing() < 0 ? found.row : kFar;
    const int column = searching && lines_.excess() < 0 ? found.column : kFar;
    int least = min(row, column);
#pragma unroll
    for (int lanes = kBlock / 2; lanes > 0; lanes /= 2) {
      least = min(least, __shfl_xor_sync(~0u, least, lanes));
    }
    const uint32_t rows = group_.Ballot(row == least), columns = group_.Ballot(column == least);
    walk.at_column = columns != 0;
    walk.line = __ffs(static_cast<int>(columns != 0 ? columns : rows)) - 1 - group_.base;
    return least;
  }

  // Of a group with a falling column, whether a cycle leads to the first of them; if so, `walk` is
  // a row on it. (Where distances fall in more rounds than a path has lines, one does.)
  __device__ bool FindCycle(const Distances& found, Walk& walk, bool falling) const {
    const uint32_t columns = group_.Ballot(found.falling);
    const int first = max(__ffs(static_cast<int>(columns)) - 1 - group_.base, 0);
    // Two steps back, from row to row; a row that no other leads to leads to itself.
    const int before = group_.From(found.column_parent, max(found.row_parent, 0));
    const int step = found.row_parent < 0 || before < 0 ? group_.z : before;
    int far_back = step;
#pragma unroll
    for (int rows = 1; rows < kBlock; rows *= 2) far_back = group_.From(far_back, far_back);
    const int row = group_.From(far_back, max(group_.From(found.column_parent, first), 0));
    const bool cyclic = falling & (group_.From(step, row) != row);
    if (cyclic) walk = {row, false};
    return cyclic;
  }

  // Of a group that `flips`, the entries on the way back from a line to a source, or to that line
  // again.
  __device__ void Flip(const Distances& found, const Walk& walk, bool flips) {
    const auto bit = [](int line) { return line < 0 ? 0 : 1u << line; };
    // The row that the walk is at, and the column that it came from; -1: none.
    const int before = group_.From(found.column_parent, walk.line);
    int row = !flips ? -1 : walk.at_column ? before : walk.line;
    int column = walk.at_column ? walk.line : -1;
    int first = -1;
#pragma unroll 1
    for (int rows = 0; rows <= kBlock && __any_sync(~0u, row >= 0); ++rows) {
      int next = group_.From(found.row_parent, row);
      if (row < 0 || row == first) next = -1;
      if (group_.z == row) lines_.row_kept ^= bit(column) ^ bit(next);
      if (row >= 0 && (group_.z == column || group_.z == next)) lines_.column_kept ^= bit(row);
      if (rows == 0) first = row;
      row = group_.From(found.column_parent, next);
      if (next < 0) row = -1;
      column = next;
    }
  }

  const PatchScores scores_;
  const int column_;
  const uint32_t all_;  // the lines of the block
  const PatchGroup<kBlock> group_;
  PatchLines& lines_;
  PatchRelaxationMemory& memory_;
  int augmentations_ = 0;
};

}  // namespace tsenor::cuda
