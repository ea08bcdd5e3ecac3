// Blocks of a patch in which many scores tie: few bits, many zeros, one value.
//
// Ties leave sweeps without a threshold, and the finish with as many paths as entries are missing.
// So the sweeps see such a block with a little noise: then few lines keep too few or too many.
// After them the noise is forgotten again: potentials are snapped to where ties are exactly tight,
// so that what is kept of tied entries is free: the noise has chosen well, and where it has not,
// tight entries change places.
#pragma once

#include <cstdint>

#include "solver/cuda/primitives/patch.cuh"

namespace tsenor::cuda {

constexpr float kTieNoise = 0.05f;   // mean scores, to either side: far above the sharpest reach
constexpr float kTieReach = 0.125f;  // mean scores: nearer to tight than this, an entry is snapped

// Of a block with many ties, quanta are so many bits coarser: lines are often a tie's height off,
// and paths as long.
constexpr int kTiedBits = 2;

// A block of 16 or 32 in which so many lanes have two equal scores side by side (of four pairs) has
// many ties. (Of Gaussian scores in bfloat16, one lane in thirty has.) One of 8 has two lanes only:
// there so many pairs count, of 32.
constexpr int TiedLanes(int block) { return block == 32 ? 8 : 3; }
constexpr int kTiedPairs = 4;

// The noise of an entry of a block, in mean scores: any numbers that have nothing to do with each
// other, the same for every block. Products of numbers drawn for the row and for the column.
inline __device__ uint32_t TieFactor(int line) {
  uint32_t bits = static_cast<uint32_t>(line) * 0x9e3779b1u;
  bits = (bits ^ bits >> 15) * 0x2c1b3c6du;
  return (bits ^ bits >> 13) | 1;
}
template <int kBlock>
__device__ uint32_t TieFactorOfRow(int row) {
  return TieFactor(row % kBlock + 1);
}
template <int kBlock>
__device__ uint32_t TieFactorOfColumn(int column) {
  return TieFactor(column % kBlock + kBlock + 1);
}
inline __device__ float TieNoise(uint32_t of_row, uint32_t of_column) {
  return static_cast<float>(static_cast<int>(of_row * of_column)) * (kTieNoise * 0x1p-31f);
}

// The blocks of the patch that have many ties, a bit each.
template <int kBlock>
__device__ uint32_t TiedBlocks(const float (&weight)[4][8], int m) {
  const PatchPlace place;
  const auto equal = [&](int k, int pair) {
    const bool exist = place.row(k) % kBlock < m && place.column(2 * pair + 1) % kBlock < m;
    return (fabsf(weight[k][2 * pair]) == fabsf(weight[k][2 * pair + 1])) & exist;
  };
  bool any = false;
#pragma unroll
  for (int k = 0; k < 4; ++k) any |= equal(k, k) | (kBlock == 8 && equal(k, (k + 2) % 4));
  const uint32_t lanes = __ballot_sync(~0u, any);
  if (lanes == 0) return 0;
  bool tied = __popc(lanes & place.lanes_of_block<kBlock>()) >= TiedLanes(kBlock);
  if constexpr (kBlock == 8) {
    int pairs = 0;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int pair = 0; pair < 4; ++pair) pairs += equal(k, pair);
    }
    pairs += __shfl_xor_sync(~0u, pairs, 4);  // the block's other lane
    tied = pairs >= kTiedPairs && (lanes & place.lanes_of_block<kBlock>()) != 0;
  }
  return __reduce_or_sync(~0u, tied ? 1u << place.block<kBlock>() : 0);
}

// A column's potential before, and what it moves, in quanta: exact, since it moves little.
struct TieColumn {
  float start, move;
};

// Snaps the lines of the blocks of a block column, one a group of kBlock lanes, in lockstep. Called
// by all lanes.
template <int kBlock>
class TieForest {
 public:
  // The block of this lane's group begins at `row`, `column` of the patch, and has m lines. Entries
  // closer to tight than `reach` quanta are snapped. `columns` is memory for a column of each lane.
  __device__ TieForest(PatchScores scores, int row, int column, int m, float reach,
                       TieColumn* columns)
      : scores_(scores),
        row_(row),
        column_(column),
        reach_(reach),
        columns_(columns),
        z_(threadIdx.x % kBlock),
        base_(threadIdx.x % 32 - z_),
        all_(m == 32 ? ~0u : (1u << m) - 1) {}

  // Of a group that is `wanted`, moves the potentials, and keeps what lies beyond them; of what is
  // tight, what was kept before, but for what lines do better without, or with. Adds the paths that
  // were flipped to `paths`.
  __device__ PatchLines Snap(bool wanted, PatchLines lines, int& paths) const {
    wanted = wanted && (all_ >> z_ & 1);
    columns_[base_ + z_].start = lines.column_start;
    __syncwarp();  // rows need all columns
    const Moves moved = MoveToTies(TiedEntries(wanted, lines.row_start), lines);
    columns_[base_ + z_].move = static_cast<float>(moved.column);
    __syncwarp();  // the same
    const auto row_move = static_cast<float>(moved.row);
    uint32_t kept = 0, tight = 0;
    VisitRow([&](int j, float score) {
      const TieColumn of_column = columns_[base_ + j];
      const float left =
          (score - (lines.row_start + of_column.start)) - (row_move + of_column.move);
      kept |= left > 0.5f ? 1u << j : 0;
      tight |= fabsf(left) <= 0.5f ? 1u << j : 0;
    });
    __syncwarp();  // before others use the memory
    tight = wanted ? tight & all_ : 0;
    kept = wanted ? (kept & all_) | (tight & lines.row_kept) : 0;
    const uint32_t kept_column = ColumnOf(kept);
    if (wanted) {
      lines.row_move = moved.row;
      lines.column_move = moved.column;
      lines.row_kept = kept;
      lines.column_kept = kept_column;
    }
    Balance(wanted, tight, lines);
    // Lines of 8 entries rarely have a path left: they would only read more instructions.
    if constexpr (kBlock > 8) FlipTightPaths(wanted, tight, lines, paths);
    return lines;
  }

 private:
  struct Moves {
    int row, column;  // of this lane's lines, in quanta
  };

  // visit(j, score) for the entries of this lane's row.
  template <typename Visit>
  __device__ void VisitRow(Visit visit) const {
#pragma unroll 2
    for (int c = 0; c < kBlock / 4; ++c) {
      const float4 quad = scores_.quad(row_ + z_, column_ / 4 + c);
      visit(4 * c, quad.x);
      visit(4 * c + 1, quad.y);
      visit(4 * c + 2, quad.z);
      visit(4 * c + 3, quad.w);
    }
  }
  // Of the entries of this lane's row those that are near tight and tie: with one of four scores
  // that stand side by side in a row of the block. Others are near by chance.
  __device__ uint32_t TiedEntries(bool wanted, float row_start) const {
    constexpr float kNone = -1;  // no score
    float before = kNone, common = kNone;
    VisitRow([&](int, float score) {
      if (score == before) common = score;
      before = score;
    });
    float commons[4];
    uint32_t left = Group(__ballot_sync(~0u, wanted && common != kNone));
#pragma unroll
    for (float& score : commons) {
      score = From(common, max(__ffs(static_cast<int>(left)) - 1, 0));
      if (left == 0) score = kNone;
      left &= ~Group(__ballot_sync(~0u, common == score));
    }
    uint32_t tied = 0;
    VisitRow([&](int j, float score) {
      bool is_common = false;
#pragma unroll
      for (const float other : commons) is_common |= score == other;
      const float rest = score - (row_start + columns_[base_ + j].start);
      tied |= is_common & (fabsf(rest) <= reach_) ? 1u << j : 0;
    });
    return wanted ? tied & all_ : 0;
  }
  // What is left of a score near tight after the potentials of before.
  __device__ int Rest(float score, float row_start, float column_start) const {
    return __float2int_rn(score - (row_start + column_start));
  }

  // Moves the lines of the group that are tied to another one such that their tied entries are
  // tight: root by root, level by level.
  __device__ Moves MoveToTies(uint32_t tied_row, const PatchLines& lines) const {
    const uint32_t tied_column = ColumnOf(tied_row);
    Moves moved = {0, 0};
    // Rows and columns that have their final potentials: at first, those that are tied to none.
    uint32_t rows = Group(__ballot_sync(~0u, tied_row == 0)), columns = 0;
    bool done = rows == kLines;
    while (!__all_sync(~0u, done)) {
      const uint32_t above = tied_column & rows;
      const int i = max(__ffs(static_cast<int>(above)) - 1, 0);
      const int move = From(moved.row, i);
      const float start = From(lines.row_start, i);
      const bool new_column = above != 0 && !(columns >> z_ & 1);
      if (new_column) {
        moved.column = Rest(scores_.at(row_ + i, column_ + z_), start, lines.column_start) - move;
      }
      const uint32_t new_columns = Group(__ballot_sync(~0u, new_column));
      columns |= new_columns;
      const uint32_t beside = tied_row & columns;
      const int j = max(__ffs(static_cast<int>(beside)) - 1, 0);
      const int other_move = From(moved.column, j);
      const bool new_row = beside != 0 && !(rows >> z_ & 1);
      if (new_row) {
        moved.row =
            Rest(scores_.at(row_ + z_, column_ + j), lines.row_start, columns_[base_ + j].start) -
            other_move;
      }
      const uint32_t new_rows = Group(__ballot_sync(~0u, new_row));
      rows |= new_rows;
      if ((new_rows | new_columns) != 0) continue;
      done = rows == kLines;
      rows |= ~rows & (rows + 1) & kLines;  // the next root
    }
    return moved;
  }

  // Enters tight entries whose row and column keep too few, drops those where both keep too many:
  // row by row, the lane of each column looking at its own entry.
  __device__ void Balance(bool wanted, uint32_t tight, PatchLines& lines) const {
    const int missing = lines.row_wanted - __popc(lines.row_kept);
    int needed = lines.column_wanted - __popc(lines.column_kept);
    const uint32_t entries = tight & (missing > 0 ? ~lines.row_kept : lines.row_kept);
    uint32_t left = Group(__ballot_sync(~0u, wanted && missing != 0));  // rows
    while (__any_sync(~0u, left != 0)) {
      const int i = max(__ffs(static_cast<int>(left)) - 1, 0);
      const int of_row = From(missing, i);
      const bool own = From(entries, i) >> z_ & 1;
      const bool fits = own && left != 0 && (of_row > 0 ? needed > 0 : needed < 0);
      const uint32_t fitting = Group(__ballot_sync(~0u, fits));
      const bool changes = fits && __popc(fitting & ((1u << z_) - 1)) < abs(of_row);
      const uint32_t changed = Group(__ballot_sync(~0u, changes));
      if (z_ == i) lines.row_kept ^= changed;
      if (changes) {
        lines.column_kept ^= 1u << i;
        needed += of_row > 0 ? -1 : 1;
      }
      left &= left - 1;
    }
  }

  // Flips paths of tight entries, which cost nothing, from lines that keep too few (rows) or too
  // many (columns) to lines that keep too many or too few, while there are any: breadth-first
  // search, the lane of each line looking at the whole of it.
  __device__ void FlipTightPaths(bool wanted, uint32_t tight, PatchLines& lines, int& paths) const {
    const uint32_t tight_column = ColumnOf(tight);
    bool done = !wanted;  // of the group
    while (true) {
      const int missing = lines.row_wanted - __popc(lines.row_kept);
      const int excess = __popc(lines.column_kept) - lines.column_wanted;
      uint32_t rows = Group(__ballot_sync(~0u, missing > 0));
      uint32_t columns = Group(__ballot_sync(~0u, excess > 0));
      done = done || (rows | columns) == 0;
      if (__all_sync(~0u, done)) return;
      const uint32_t enterable = tight_column & ~lines.column_kept;
      const uint32_t droppable = tight & lines.row_kept;
      const uint32_t full_rows = Group(__ballot_sync(~0u, missing < 0));
      const uint32_t short_columns = Group(__ballot_sync(~0u, excess < 0));
      int row_parent = -1, column_parent = -1;
      uint32_t end_rows = 0, end_columns = 0;
      bool searching = !done;
      while (__any_sync(~0u, searching)) {
        const uint32_t from_rows = searching && !(columns >> z_ & 1) ? enterable & rows : 0;
        const uint32_t from_columns = searching && !(rows >> z_ & 1) ? droppable & columns : 0;
        if (from_rows != 0) column_parent = __ffs(static_cast<int>(from_rows)) - 1;
        if (from_columns != 0) row_parent = __ffs(static_cast<int>(from_columns)) - 1;
        const uint32_t new_columns = Group(__ballot_sync(~0u, from_rows != 0));
        const uint32_t new_rows = Group(__ballot_sync(~0u, from_columns != 0));
        columns |= new_columns;
        rows |= new_rows;
        end_columns |= new_columns & short_columns;
        end_rows |= new_rows & full_rows;
        searching = (new_columns | new_rows) != 0 && (end_columns | end_rows) == 0;
      }
      done = (end_columns | end_rows) == 0;
      if (done) row_parent = column_parent = -1;
      const bool at_column = end_columns != 0;
      const int end = max(__ffs(static_cast<int>(at_column ? end_columns : end_rows)) - 1, 0);
      FlipPath<kBlock>(end, at_column, row_parent, column_parent, lines);
      paths += !done;
    }
  }

  // Of the rows of bits that the lanes of a group have, this lane's column.
  __device__ uint32_t ColumnOf(uint32_t row) const {
    if constexpr (kBlock == 32) return TransposeBits(row);
    const uint32_t columns = TransposeBits(row << column_);
    return __shfl_sync(~0u, columns, column_ + z_) >> row_ & kLines;
  }
  __device__ uint32_t Group(uint32_t ballot) const {
    return kBlock == 32 ? ballot : ballot >> base_ & kLines;
  }
  template <typename T>
  __device__ T From(T value, int line) const {
    return __shfl_sync(~0u, value, base_ + line);
  }

  static constexpr uint32_t kLines = kBlock == 32 ? ~0u : (1u << kBlock % 32) - 1;

  const PatchScores scores_;
  const int row_, column_;
  const float reach_;
  TieColumn* const columns_;
  const int z_, base_;
  const uint32_t all_;  // the lines of the block
};

}  // namespace tsenor::cuda
