// What the kernels of one pass share. Plain structs: a pass travels as a kernel's parameter.
#pragma once

#include <cstdint>

#include "solver/problem.h"

namespace tsenor::cuda {

// So many tiles fit into a kernel's parameters (4 KB); a longer list lies in device memory.
inline constexpr int kTilesInParameters = 32;

struct PassTile {
  Tile tile;               // in device memory
  int64_t first_block;     // number of its first block among those of the pass's tiles
  int64_t first_row;       // the same for its first block row
  int64_t first_segment;   // of an exhaustive search (kernels/exhaustive.h)
  int64_t blocks_per_row;  // in one block row
};

// What is found out about one block; sums over the block as in SolveStats.
struct BlockResult {
  double value;
  double bound;
  double score_sum;
  int32_t kept;
  int32_t sweeps;
  int32_t augmentations;
  bool proven;
  bool unsolved;     // no optimum was found: the mask is feasible, and no more
  bool falls_short;  // some line that the method constrains keeps fewer than n entries
};

// What an exhaustive search found in a segment of a block row.
struct SearchSums {
  double value;
  double score_sum;
  int64_t kept;
};

// Solves `blocks` blocks, from number `first_block` on, of a list of tiles. Blocks and block rows
// are numbered tile after tile, block row after block row.
struct Pass {
  Problem problem;
  float quantile_factor;  // QuantileFactor(n, m) (solver/cpu/quantile.h)
  int tiles;
  int64_t first_block;
  int64_t blocks;
  int64_t first_row;                  // number of the block row of the first block
  int64_t rows;                       // block rows from there on that the pass's blocks lie in
  int64_t segments;                   // of an exhaustive search: of all tiles
  int64_t columns;                    // of the widest tile
  const PassTile* list;               // in device memory; null: the tiles are those of `tile`
  PassTile tile[kTilesInParameters];  // unused if there is a list

  // Workspace in device memory, from block `first_block` on, or, for an exhaustive search, from the
  // first segment on.
  SearchSums* search_sums;
  BlockResult* results;
  uint32_t* masks;    // [block][row][MaskWords(m)]: column j is bit j % 32 of word j / 32
  int32_t* unsolved;  // number of blocks that have no optimum; the passes of a call add up
  int32_t* plans;     // kTsenor: [block][row][column] (kernels/entropic_plans.h)
  const uint8_t* random_masks;  // kMaxRandom: RandomMasks::Row() of all rows, one after another

  // The tile that number `number` lies in, where `first` is what tiles begin with:
  // &PassTile::first_block for blocks, &PassTile::first_row for block rows, and so on.
  constexpr const PassTile& TileOf(int64_t number, int64_t PassTile::*first) const {
    const PassTile* const all = list != nullptr ? list : tile;
    int begin = 0, end = tiles;
    while (end - begin > 1) {
      const int middle = (begin + end) / 2;
      (all[middle].*first <= number ? begin : end) = middle;
    }
    return all[begin];
  }
};
static_assert(sizeof(Pass) <= 4096);

// 32-bit words of a line of a mask.
constexpr int MaskWords(int m) { return (m + 31) / 32; }

// Workspace that a block takes.
constexpr int64_t WorkspaceBytesPerBlock(int m) {
  return static_cast<int64_t>(sizeof(BlockResult) + sizeof(uint32_t) * m * MaskWords(m));
}

}  // namespace tsenor::cuda
