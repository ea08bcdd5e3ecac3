// Blocks of a patch in which many scores tie: few bits, many zeros, one value.
//
// Ties leave sweeps without a threshold, and the finish with as many paths as entries are missing.
// So the sweeps see such a block with a little noise: then few lines keep too few or too many.
// After them the noise is forgotten again: potentials are snapped to where ties are exactly tight,
// so that what is kept of tied entries is free, and the noise has chosen well.
#pragma once

#include <cstdint>

#include "solver/cuda/primitives/patch.cuh"

namespace tsenor::cuda {

constexpr float kTieNoise = 0.05f;   // mean scores, to either side: far above the sharpest reach
constexpr float kTieReach = 0.125f;  // mean scores: nearer to tight than this, an entry is snapped

// A block of which so many lanes have two equal scores side by side has many ties. (Of Gaussian
// scores in bfloat16, one lane in thirty has.)
constexpr int TiedLanes(int block) { return block == 32 ? 8 : block == 16 ? 3 : 2; }

// The noise of an entry of a block, in mean scores: any numbers that have nothing to do with each
// other, the same for every block.
inline __device__ float TieNoise(int row, int column) {
  uint32_t bits =
      static_cast<uint32_t>(row) * 0x9e3779b1u + static_cast<uint32_t>(column) * 0x85ebca77u;
  bits = (bits ^ bits >> 15) * 0x2c1b3c6du;
  bits ^= bits >> 13;
  return static_cast<float>(static_cast<int>(bits) >> 8) * (kTieNoise * 0x1p-23f);
}

// The blocks of the patch that have many ties, a bit each.
template <int kBlock>
__device__ uint32_t TiedBlocks(const float (&weight)[4][8], int m) {
  const PatchPlace place;
  bool equal = false;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const bool exist = place.row(k) % kBlock < m && place.column(2 * k + 1) % kBlock < m;
    equal |= (fabsf(weight[k][2 * k]) == fabsf(weight[k][2 * k + 1])) & exist;
  }
  const uint32_t lanes = __ballot_sync(~0u, equal);
  if (lanes == 0) return 0;
  const bool tied = __popc(lanes & place.lanes_of_block<kBlock>()) >= TiedLanes(kBlock);
  return __reduce_or_sync(~0u, tied ? 1u << place.block<kBlock>() : 0);
}

// Snaps the lines of the blocks of a block column, one a group of kBlock lanes, in lockstep. Called
// by all lanes.
template <int kBlock>
class TieForest {
 public:
  // The block of this lane's group begins at `row`, `column` of the patch, and has m lines, whose
  // potentials before are `row_starts` and `column_starts`; entries closer to tight than `reach`
  // quanta are snapped.
  __device__ TieForest(PatchScores scores, int row, int column, int m, const float* row_starts,
                       const float* column_starts, int reach)
      : scores_(scores),
        row_(row),
        column_(column),
        m_(m),
        row_starts_(row_starts),
        column_starts_(column_starts),
        reach_(reach),
        z_(threadIdx.x % kBlock),
        base_(threadIdx.x % 32 - z_) {}

  // Moves the potentials of a group that is `wanted`, and keeps what lies beyond them, and of what
  // is tight, what was kept before.
  __device__ PatchLines Snap(bool wanted, PatchLines lines) const {
    wanted = wanted && z_ < m_;
    const uint32_t near_row = wanted ? TiedEntries() : 0;
    const uint32_t near_column = ColumnOf(near_row);
    int row_move = 0, column_move = 0;
    // Rows and columns of the group that have their final potentials: root by root, level by level.
    const uint32_t all = m_ == 32 ? ~0u : (1u << m_) - 1;
    uint32_t rows = 0, columns = 0;
    bool done = false;
    while (!__all_sync(~0u, done)) {
      const uint32_t above = near_column & rows;
      const int i = max(__ffs(static_cast<int>(above)) - 1, 0);
      const int move = From(row_move, i);
      const bool new_column = above != 0 && !(columns >> z_ & 1);
      if (new_column) column_move = Residual(i, z_) - move;
      const uint32_t new_columns = Group(__ballot_sync(~0u, new_column));
      columns |= new_columns;
      const uint32_t beside = near_row & columns;
      const int j = max(__ffs(static_cast<int>(beside)) - 1, 0);
      const int other_move = From(column_move, j);
      const bool new_row = beside != 0 && !(rows >> z_ & 1);
      if (new_row) row_move = Residual(z_, j) - other_move;
      const uint32_t new_rows = Group(__ballot_sync(~0u, new_row));
      rows |= new_rows;
      if ((new_rows | new_columns) != 0) continue;
      done = rows == all;
      rows |= ~rows & (rows + 1) & all;  // the next root
    }
    const uint32_t kept = RowWhere([&](int j) {
      const int left = Residual(z_, j) - row_move - From(column_move, j);
      return wanted && j < m_ && (left > 0 || (left == 0 && lines.row_kept >> j & 1));
    });
    const uint32_t kept_column = ColumnOf(kept);
    if (wanted) {
      lines.row_move = row_move;
      lines.column_move = column_move;
      lines.row_kept = kept;
      lines.column_kept = kept_column;
    }
    return lines;
  }

 private:
  __device__ float Score(int i, int j) const { return scores_.at(row_ + i, column_ + j); }
  // What is left of a score after the potentials of before. Exact where it is small.
  __device__ int Residual(int i, int j) const {
    constexpr int kFar = 1 << 30;
    const int residual = __float2int_rn(Score(i, j) - (row_starts_[i] + column_starts_[j]));
    return min(max(residual, -kFar), kFar);
  }
  // Of this lane's entries near tight those that have one of its most common scores: all scores but
  // those of one or two thirds of them, by the votes of Misra and Gries for two.
  __device__ uint32_t TiedEntries() const {
    const uint32_t near = RowWhere([&](int j) { return j < m_ && abs(Residual(z_, j)) <= reach_; });
    float first = 0, second = -1;
    int first_votes = 0, second_votes = 0;
    for (uint32_t left = near; left != 0; left &= left - 1) {
      const float score = Score(z_, __ffs(static_cast<int>(left)) - 1);
      if (score == first) {
        ++first_votes;
      } else if (score == second) {
        ++second_votes;
      } else if (first_votes == 0) {
        first = score;
        first_votes = 1;
      } else if (second_votes == 0) {
        second = score;
        second_votes = 1;
      } else {
        --first_votes;
        --second_votes;
      }
    }
    const uint32_t firsts = near & RowWhere([&](int j) { return Score(z_, j) == first; });
    const uint32_t seconds = near & RowWhere([&](int j) { return Score(z_, j) == second; });
    constexpr int kFew = 1;  // equal scores, which tie with nothing
    return (__popc(firsts) > kFew ? firsts : 0) | (__popc(seconds) > kFew ? seconds : 0);
  }
  // Bit j: holds(j).
  template <typename Predicate>
  __device__ uint32_t RowWhere(Predicate holds) const {
    uint32_t bits = 0;
#pragma unroll 4
    for (int j = 0; j < kBlock; ++j) bits |= holds(j) ? 1u << j : 0;
    return bits;
  }
  // Of the rows of bits that the lanes of a group have, this lane's column.
  __device__ uint32_t ColumnOf(uint32_t row) const {
    uint32_t column = 0;
#pragma unroll 4
    for (int j = 0; j < kBlock; ++j) {
      const uint32_t bits = Group(__ballot_sync(~0u, row >> j & 1));
      if (z_ == j) column = bits;
    }
    return column;
  }
  __device__ uint32_t Group(uint32_t ballot) const {
    return kBlock == 32 ? ballot : ballot >> base_ & ((1u << kBlock) - 1);
  }
  __device__ int From(int value, int line) const { return __shfl_sync(~0u, value, base_ + line); }

  const PatchScores scores_;
  const int row_, column_, m_;
  const float* const row_starts_;
  const float* const column_starts_;
  const int reach_, z_, base_;
};

}  // namespace tsenor::cuda
