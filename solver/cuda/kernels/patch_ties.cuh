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
  // The block of this lane's group begins at `row`, `column` of the patch, and has m lines; its
  // columns' potentials before are `column_starts`. Entries closer to tight than `reach` quanta are
  // snapped. `moves` is memory for a number a lane.
  __device__ TieForest(PatchScores scores, int row, int column, int m, const float* column_starts,
                       float reach, int* moves)
      : scores_(scores),
        row_(row),
        column_(column),
        m_(m),
        column_starts_(column_starts),
        reach_(reach),
        moves_(moves),
        z_(threadIdx.x % kBlock),
        base_(threadIdx.x % 32 - z_) {}

  // Moves the potentials of a group that is `wanted`, and keeps what lies beyond them, and of what
  // is tight, what was kept before.
  __device__ PatchLines Snap(bool wanted, PatchLines lines) const {
    wanted = wanted && z_ < m_;
    const float row_start = lines.row_start;
    const uint32_t near_row = wanted ? TiedEntries(row_start) : 0;
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
      const float start = From(row_start, i);
      const bool new_column = above != 0 && !(columns >> z_ & 1);
      if (new_column) column_move = Rest(scores_.at(row_ + i, column_ + z_), start, z_) - move;
      const uint32_t new_columns = Group(__ballot_sync(~0u, new_column));
      columns |= new_columns;
      const uint32_t beside = near_row & columns;
      const int j = max(__ffs(static_cast<int>(beside)) - 1, 0);
      const int other_move = From(column_move, j);
      const bool new_row = beside != 0 && !(rows >> z_ & 1);
      if (new_row) row_move = Rest(scores_.at(row_ + z_, column_ + j), row_start, j) - other_move;
      const uint32_t new_rows = Group(__ballot_sync(~0u, new_row));
      rows |= new_rows;
      if ((new_rows | new_columns) != 0) continue;
      done = rows == all;
      rows |= ~rows & (rows + 1) & all;  // the next root
    }
    moves_[base_ + z_] = column_move;
    __syncwarp();  // rows need all columns
    uint32_t kept = 0;
    VisitRow([&](int j, float score) {
      const int left = Rest(score, row_start, j) - row_move - moves_[base_ + j];
      kept |= (left > 0) | ((left == 0) & (lines.row_kept >> j & 1)) ? 1u << j : 0;
    });
    __syncwarp();  // before others use the memory
    kept = wanted ? kept & all : 0;
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
  // What is left of a score after the potentials of before. Exact where it is small.
  __device__ int Rest(float score, float row_start, int j) const {
    constexpr float kFar = 0x1p30f;
    const float rest = score - (row_start + column_starts_[j]);
    return __float2int_rn(fminf(fmaxf(rest, -kFar), kFar));
  }
  // Of this lane's entries near tight those that tie: with one of its two most common scores (by
  // the votes of Misra and Gries), if more than one entry has it. Others are near by chance.
  __device__ uint32_t TiedEntries(float row_start) const {
    uint32_t near = 0;
    float first = 0, second = -1;
    int first_votes = 0, second_votes = 0;
    VisitRow([&](int j, float score) {
      if (!(fabsf(score - (row_start + column_starts_[j])) <= reach_) || j >= m_) return;
      near |= 1u << j;
      const bool is_first = score == first, is_second = score == second;
      const bool takes_first = !is_second && first_votes == 0;
      const bool takes_second = !is_first && !takes_first && second_votes == 0;
      const bool against = !is_first && !is_second && !takes_first && !takes_second;
      if (takes_first) first = score;
      if (takes_second) second = score;
      first_votes += (is_first | takes_first) - against;
      second_votes += (is_second | takes_second) - against;
    });
    uint32_t firsts = 0, seconds = 0;
    VisitRow([&](int j, float score) {
      firsts |= score == first ? 1u << j : 0;
      seconds |= score == second ? 1u << j : 0;
    });
    firsts &= near;
    seconds &= near;
    return (__popc(firsts) > 1 ? firsts : 0) | (__popc(seconds) > 1 ? seconds : 0);
  }
  // Of the rows of bits that the lanes of a group have, this lane's column.
  __device__ uint32_t ColumnOf(uint32_t row) const {
    if constexpr (kBlock == 32) return TransposeBits(row);
    const uint32_t columns = TransposeBits(row << column_);
    return __shfl_sync(~0u, columns, column_ + z_) >> row_ & ((1u << kBlock % 32) - 1);
  }
  __device__ uint32_t Group(uint32_t ballot) const {
    return kBlock == 32 ? ballot : ballot >> base_ & ((1u << kBlock % 32) - 1);
  }
  template <typename T>
  __device__ T From(T value, int line) const {
    return __shfl_sync(~0u, value, base_ + line);
  }

  const PatchScores scores_;
  const int row_, column_, m_;
  const float* const column_starts_;
  const float reach_;
  int* const moves_;
  const int z_, base_;
};

}  // namespace tsenor::cuda
