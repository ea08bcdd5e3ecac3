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
  int64_t blocks_per_row;  // in one block row
  int64_t first_patch;     // number of its first patch (kernels/patch.h) among the pass's
  int64_t patches_per_row;
  int64_t first_segment;  // the same for an exhaustive search (kernels/exhaustive.h)
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

// Sums over a part of a block row: the blocks of one patch, but for those that are listed.
struct PartResult {
  double value;
  double bound;
  double score_sum;
  int32_t kept;
  int32_t sweeps;
  int32_t augmentations;
  uint16_t proven;
  uint16_t listed;  // bit h: the part's block h is on the list
};

// Solves `blocks` blocks, from number `first_block` on, of a list of tiles: those of whole tiles.
// Blocks, block rows and patches are numbered tile after tile, row after row.
struct Pass {
  Problem problem;
  float quantile_factor;  // QuantileFactor(n, m) (solver/cpu/quantile.h)
  int tiles;
  int64_t first_block;
  int64_t blocks;
  int64_t first_row;    // number of the block row of the first block
  int64_t rows;         // block rows
  int64_t first_patch;  // of the patches that the blocks lie in
  int64_t patches;
  int64_t segments;                   // of an exhaustive search: of all its tiles
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
  // Of the patch kernel or the wide one; null without them.
  PartResult* parts;      // see PartIndex()
  uint32_t* hard_blocks;  // blocks that it leaves to the general kernel: numbers less first_block,
                          // in any order
  uint32_t* hard_count;
  uint32_t* odd_patches;  // patches that it leaves to kernels/odd_patches.h: less first_patch
  uint32_t* odd_count;    // right after hard_count

  // Whether the kernels that solve write the tiles' masks themselves, instead of `masks`.
  constexpr bool WritesMasks() const { return parts != nullptr && problem.pattern.m % 8 == 0; }

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
static_assert(sizeof(Pass) <= 4092);  // and one int

// Lines that the patch kernel gives a block of m lines: the least power of two from 8 on. A patch
// has kPatchLines rows and columns of these. Of the wide kernel (kernels/wide_patch.h), which
// solves blocks of up to kWideLines lines, a patch is one block.
inline constexpr int kPatchLines = 32, kWideLines = 64;
constexpr int PatchBlock(int m) { return m <= 8 ? 8 : m <= 16 ? 16 : 32; }
constexpr int PatchBlocks(int m) { return kPatchLines / PatchBlock(m); }  // along a side of a patch

// Index in Pass::parts of the part of block row `block_row` of a tile in its patch number
// `patch_column` from the left.
constexpr int64_t PartIndex(const Pass& pass, const PassTile& tile, int64_t block_row,
                            int64_t patch_column) {
  const int64_t first = (tile.first_patch - pass.first_patch) * PatchBlocks(pass.problem.pattern.m);
  return first + block_row * tile.patches_per_row + patch_column;
}

// 32-bit words of a line of a mask.
constexpr int MaskWords(int m) { return (m + 31) / 32; }

// Workspace that a block takes at most.
constexpr int64_t WorkspaceBytesPerBlock(int m) {
  const size_t general = sizeof(BlockResult) + sizeof(uint32_t) * m * MaskWords(m);
  const size_t patch =
      m > kWideLines ? 0 : sizeof(PartResult) / PatchBlocks(m) + 2 * sizeof(uint32_t);
  return static_cast<int64_t>(general + patch);
}

}  // namespace tsenor::cuda
