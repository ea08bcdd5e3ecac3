// Blocks of a patch in which many scores tie: few bits, many zeros, one value.
//
// Ties leave sweeps without a threshold, and the finish with as many paths as entries are missing.
// So the sweeps see such a block with a little noise: then few lines keep too few or too many.
// After them the noise is forgotten again. Blocks of 8 and 16 relax (patch_relaxation.cuh). In
// others, potentials are snapped to where ties are exactly tight, so that what is kept of tied
// entries is free: the noise has chosen well, and where it has not, tight entries change places.
#pragma once

#include <cstdint>

#include "solver/cuda/primitives/patch.cuh"

namespace tsenor::cuda {

// The most noise, in mean scores: far above the sharpest reach. In blocks of 16 lines it goes down
// from zeros and up from other scores, so that these stay above zeros; elsewhere to either side.
constexpr float MostTieNoise(int block) { return block == 8 ? 0.16f : block == 16 ? 0.3f : 0.08f; }
constexpr bool SplitsTieNoise(int block) { return block == 16; }

constexpr float kTieReach = 0.125f;  // mean scores: nearer to tight than this, an entry is snapped

// Quanta of odd patches are so many bits coarser, for longer paths: of blocks with many ties, where
// lines are often a tie's height off, and of others.
constexpr int TiedBits(int block) { return block == 16 ? 3 : 2; }
constexpr int OddBits(int block) { return block == 16 ? 1 : 0; }

// A block of 16 or 32 in which so many lanes have two equal scores side by side (of four pairs) has
// many ties. (Of Gaussian scores in bfloat16, one lane in thirty has.) One of 8 has two lanes only:
// there so many pairs count, of 32.
constexpr int TiedLanes(int block) { return block == 32 ? 8 : 3; }
constexpr int kTiedPairs = 4;

// The noise of a block's entries, in mean scores: any numbers that have nothing to do with each
// other, the same for every block. Products of numbers drawn for the row and for the column. A
// table, since it depends on the thread alone: left to the compiler, a kernel that loops keeps it
// in local memory, 6 KB a warp.
template <int kBlock>
struct TieNoise {
  alignas(16) float value[kBlock][kBlock] = {};

  constexpr TieNoise() {
    for (int i = 0; i < kBlock; ++i) {
      for (int j = 0; j < kBlock; ++j) {
        const auto drawn = static_cast<int32_t>(Factor(i + 1) * Factor(j + kBlock + 1));
        const float noise = static_cast<float>(drawn) * (MostTieNoise(kBlock) * 0x1p-31f);
        value[i][j] = SplitsTieNoise(kBlock) && noise < 0 ? -noise : noise;
      }
    }
  }

  // Of the entries of `row` of a patch from `column` on.
  __device__ float4 quad(int row, int column) const {
    return *reinterpret_cast<const float4*>(&value[row % kBlock][column % kBlock]);
  }

 private:
  static constexpr uint32_t Factor(uint32_t line) {
    uint32_t bits = line * 0x9e3779b1u;
    bits = (bits ^ bits >> 15) * 0x2c1b3c6du;
    return (bits ^ bits >> 13) | 1;
  }
};
template <int kBlock>
__device__ constexpr TieNoise<kBlock> kTieNoiseOf = {};

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

// Of each lane's column, the potential before, and what it moves, in quanta: exact, since it moves
// little.
struct TieColumns {
  float4 start[kPatchLines / 4], move[kPatchLines / 4];
};

// Snaps the lines of the blocks of a block column, one a group of lanes (PatchGroup). Where many
// lines are looked at together, a line is the bit of its lane, so that all groups share a word.
template <int kBlock>
class TieForest {
 public:
  // The block of this lane's group begins at `column` of the patch, and has m lines. Entries
  // closer to tight than `reach` quanta are snapped. `columns` is memory.
  __device__ TieForest(PatchScores scores, int column, int m, float reach, TieColumns& columns)
      : scores_(scores),
        column_(column),
        reach_(reach),
        columns_(columns),
        all_(m == 32 ? ~0u : (1u << m) - 1) {}

  // Of a group that is `wanted`, moves the potentials, and keeps what lies beyond them; of what is
  // tight, what was kept before, but for what lines do better without, or with. Adds the paths that
  // were flipped to `paths`.
  __device__ PatchLines Snap(bool wanted, PatchLines lines, int& paths) const {
    wanted = wanted && (all_ >> group_.z & 1);
    OfLane(columns_.start) = lines.column_start;
    __syncwarp();  // rows need all columns
    const Moves moved = MoveToTies(TiedEntries(wanted, lines.row_start), lines);
    OfLane(columns_.move) = static_cast<float>(moved.column);
    __syncwarp();  // the same
    const auto row_move = static_cast<float>(moved.row);
    uint32_t kept = 0, tight = 0;
    VisitRow([&](int j, float score, float start, float move) {
      const float left = (score - (lines.row_start + start)) - (row_move + move);
      kept |= left > 0.5f ? 1u << j : 0;
      tight |= fabsf(left) <= 0.5f ? 1u << j : 0;
    });
    __syncwarp();  // before others use the memory
    tight = wanted ? tight & all_ : 0;
    kept = wanted ? (kept & all_) | (tight & lines.row_kept) : 0;
    const uint32_t kept_column = TransposeBits<kBlock>(kept);
    if (wanted) {
      lines.row_move = moved.row;
      lines.column_move = moved.column;
      lines.row_kept = kept;
      lines.column_kept = kept_column;
    }
    Balance(wanted, tight, lines);
    FlipTightPaths(wanted, tight, lines, paths);
    return lines;
  }

 private:
  struct Moves {
    int row, column;  // of this lane's lines, in quanta
  };

  // visit(j, score, start, move) for the entries of this lane's row, and their columns. (What
  // columns move means nothing before it has been written.)
  template <typename Visit>
  __device__ void VisitRow(Visit visit) const {
#pragma unroll 2
    for (int c = 0; c < kBlock / 4; ++c) {
      const float4 score = scores_.quad(group_.lane, column_ / 4 + c);
      const float4 start = columns_.start[group_.base / 4 + c];
      const float4 move = columns_.move[group_.base / 4 + c];
      visit(4 * c, score.x, start.x, move.x);
      visit(4 * c + 1, score.y, start.y, move.y);
      visit(4 * c + 2, score.z, start.z, move.z);
      visit(4 * c + 3, score.w, start.w, move.w);
    }
  }

  // Of the entries of this lane's row those that are near tight and tie: with one of four scores
  // that stand side by side in a row of the block. Others are near by chance.
  __device__ uint32_t TiedEntries(bool wanted, float row_start) const {
    constexpr float kNone = -1;  // no score
    float before = kNone, common = kNone;
    VisitRow([&](int, float score, float, float) {
      if (score == before) common = score;
      before = score;
    });
    float commons[4];
    uint32_t left = group_.Ballot(wanted && common != kNone);
#pragma unroll
    for (float& score : commons) {
      score = __shfl_sync(~0u, common, First(left));
      if (left == 0) score = kNone;
      left &= ~__ballot_sync(~0u, common == score);
    }
    uint32_t tied = 0;
    VisitRow([&](int j, float score, float start, float) {
      bool is_common = false;
#pragma unroll
      for (const float other : commons) is_common |= score == other;
      const float rest = score - (row_start + start);
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
    const uint32_t own = 1u << group_.lane;
    const uint32_t columns_of_row = tied_row << group_.base;
    const uint32_t rows_of_column = TransposeBits<kBlock>(tied_row) << group_.base;
    Moves moved = {0, 0};
    // Rows and columns that have their final potentials: at first, those that are tied to none.
    uint32_t rows = __ballot_sync(~0u, tied_row == 0), columns = 0;
    while (true) {
      // A group in which no such row has other columns goes on with its next row.
      const uint32_t open = __ballot_sync(~0u, (rows & own) && (columns_of_row & ~columns));
      const uint32_t left = ~rows & group_.lanes();
      const bool is_root = (open & group_.lanes()) == 0 && (left & (0 - left)) == own;
      const uint32_t roots = __ballot_sync(~0u, is_root);
      if ((open | roots) == 0) return moved;
      rows |= roots;
      const uint32_t above = rows_of_column & rows;
      const int i = First(above);
      const int row_move = __shfl_sync(~0u, moved.row, i);
      const float row_start = __shfl_sync(~0u, lines.row_start, i);
      const bool new_column = above != 0 && !(columns & own);
      if (new_column) {
        const float score = scores_.at(i, column_ + group_.z);
        moved.column = Rest(score, row_start, lines.column_start) - row_move;
      }
      columns |= __ballot_sync(~0u, new_column);
      const uint32_t beside = columns_of_row & columns;
      const int j = First(beside);
      const int column_move = __shfl_sync(~0u, moved.column, j);
      const float column_start = __shfl_sync(~0u, lines.column_start, j);
      const bool new_row = beside != 0 && !(rows & own);
      if (new_row) {
        const float score = scores_.at(group_.lane, column_ + j - group_.base);
        moved.row = Rest(score, lines.row_start, column_start) - column_move;
      }
      rows |= __ballot_sync(~0u, new_row);
    }
  }

  // Enters tight entries whose row and column keep too few, drops those where both keep too many:
  // row by row, the lane of each column looking at its own entry.
  __device__ void Balance(bool wanted, uint32_t tight, PatchLines& lines) const {
    const uint32_t own = 1u << group_.lane;
    const int missing = lines.missing();
    int needed = -lines.excess();
    const uint32_t entries = (tight & (missing > 0 ? ~lines.row_kept : lines.row_kept))
                             << group_.base;
    uint32_t left = group_.Ballot(wanted && missing != 0);  // rows
    while (__any_sync(~0u, left != 0)) {
      const int i = First(left);
      const int of_row = __shfl_sync(~0u, missing, i);
      const bool is_entry = __shfl_sync(~0u, entries, i) & own;
      const bool fits = is_entry && left != 0 && (of_row > 0 ? needed > 0 : needed < 0);
      const uint32_t fitting = group_.Ballot(fits);
      const bool changes = fits && __popc(fitting & (own - 1)) < abs(of_row);
      const uint32_t changed = group_.Ballot(changes);
      if (group_.lane == i) lines.row_kept ^= changed >> group_.base;
      if (changes) {
        lines.column_kept ^= 1u << (i - group_.base);
        needed += of_row > 0 ? -1 : 1;
      }
      left &= left - 1;
    }
  }

  // Flips paths of tight entries, which cost nothing, from lines that keep too few (rows) or too
  // many (columns) to lines that keep too many or too few, while there are any: breadth-first
  // search, the lane of each line looking at the whole of it.
  __device__ void FlipTightPaths(bool wanted, uint32_t tight, PatchLines& lines, int& paths) const {
    const uint32_t own = 1u << group_.lane;
    const uint32_t tight_column = TransposeBits<kBlock>(tight);
    bool done = !wanted;  // of the group
    while (true) {
      const int missing = lines.missing();
      const int excess = lines.excess();
      // Lines reached, and those of them that end a path.
      uint32_t rows = __ballot_sync(~0u, missing > 0), columns = __ballot_sync(~0u, excess > 0);
      uint32_t end_rows = 0, end_columns = 0;
      done = done || ((rows | columns) & group_.lanes()) == 0;
      if (__all_sync(~0u, done)) return;
      const uint32_t enterable = (tight_column & ~lines.column_kept) << group_.base;
      const uint32_t droppable = (tight & lines.row_kept) << group_.base;
      const uint32_t full_rows = __ballot_sync(~0u, missing < 0);
      const uint32_t short_columns = __ballot_sync(~0u, excess < 0);
      int row_parent = -1, column_parent = -1;
      bool searching = !done;
      while (__any_sync(~0u, searching)) {
        const uint32_t from_rows = searching && !(columns & own) ? enterable & rows : 0;
        const uint32_t from_columns = searching && !(rows & own) ? droppable & columns : 0;
        if (from_rows != 0) column_parent = First(from_rows) - group_.base;
        if (from_columns != 0) row_parent = First(from_columns) - group_.base;
        const uint32_t new_columns = __ballot_sync(~0u, from_rows != 0);
        const uint32_t new_rows = __ballot_sync(~0u, from_columns != 0);
        columns |= new_columns;
        rows |= new_rows;
        end_columns |= new_columns & short_columns;
        end_rows |= new_rows & full_rows;
        searching = ((new_columns | new_rows) & group_.lanes()) != 0 &&
                    ((end_columns | end_rows) & group_.lanes()) == 0;
      }
      const uint32_t ends_at_column = end_columns & group_.lanes();
      const uint32_t ends = ends_at_column != 0 ? ends_at_column : end_rows & group_.lanes();
      done = ends == 0;
      if (done) row_parent = column_parent = -1;
      FlipPath<kBlock>(done ? 0 : First(ends) - group_.base, ends_at_column != 0, row_parent,
                       column_parent, lines);
      paths += !done;
    }
  }

  // The first lane of a set, or 0 of none.
  static __device__ int First(uint32_t lanes) { return max(__ffs(static_cast<int>(lanes)) - 1, 0); }

  const PatchScores scores_;
  const int column_;
  const float reach_;
  TieColumns& columns_;
  const PatchGroup<kBlock> group_;
  const uint32_t all_;  // the lines of the block
};

}  // namespace tsenor::cuda
