// How a batch is cut for the device: pure functions of problem, tiles and limits, testable without
// a GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "solver/cuda/kernels/pass.h"
#include "solver/problem.h"

namespace tsenor::cuda {

// Memory that the results and masks of one pass take on the device, before they are collected,
// unless a single row of patches takes more. An 8192 x 8192 matrix fits into one pass from M = 8
// on.
inline constexpr int64_t kWorkspaceBytes = int64_t{128} << 20;

// The same for the plans of TSENOR, 4 bytes a weight: so many that the blocks of a pass take their
// turns on a large GPU a few times.
inline constexpr int64_t kPlanBytes = int64_t{64} << 20;

// Weights of a batch in host memory that are staged at a time: long enough copies to reach the
// bus's bandwidth, short enough to overlap with the kernels of the piece before.
inline constexpr int64_t kStagingBytes = int64_t{16} << 20;

// How the kernels for a batch are launched.
struct LaunchConfig {
  // M = 4: kernels/exhaustive.h, after kernels/general.h if some tile wants potentials.
  bool exhaustive = false;
  // M <= 64: kernels/patch.h or, for M > 32 (`wide`), kernels/wide_patch.h; kernels/general.h for
  // the blocks that they leave.
  bool patches = false, wide = false;
  bool general = true;
  bool other_method = false;  // the kernels of methods.h; the general kernel finds the bound before
  // The general kernel.
  int threads = 0;          // a CTA
  size_t shared_bytes = 0;  // a CTA
  int64_t blocks_per_pass = 0;
  int64_t workspace_bytes = 0;  // of a pass, in which lie:
  int64_t search_place = 0;
  int64_t results_place = 0;
  int64_t masks_place = 0;
  int64_t plans_place = 0;
  int64_t random_masks_place = 0, random_masks_bytes = 0;
  int64_t parts_place = 0;
  int64_t hard_place = 0;  // two counts, hard blocks, odd patches

  // Whether a kernel may leave blocks without an optimum, and counts them.
  bool counts_unsolved() const { return general || !exhaustive; }

  // In one line, for logs and tests.
  std::string ToString() const;
};

// REQUIRES: ValidateProblem() accepts the problem; at least one tile.
LaunchConfig ConfigFor(const Problem& problem, std::span<const Tile> tiles);

// Number of blocks of the tiles.
int64_t CountBlocks(const Problem& problem, std::span<const Tile> tiles);

// The tiles, cut such that each fits into a pass, with their numbers of blocks, rows and patches.
std::vector<PassTile> NumberTiles(const Problem& problem, std::span<const Tile> tiles);

// Bytes that a list of so many tiles takes on the device; 0 if they fit into a kernel's parameters.
constexpr int64_t ListBytes(size_t tiles) {
  return tiles <= kTilesInParameters ? 0 : static_cast<int64_t>(tiles * sizeof(PassTile));
}

// Passes over tiles in device memory: as many tiles each as have at most `blocks_per_pass` blocks
// (0: the default), or one; without workspace. More than kTilesInParameters tiles are not part of
// the passes: Pass::list is to be set.
std::vector<Pass> CutIntoPasses(const Problem& problem, std::span<const PassTile> tiles,
                                int64_t blocks_per_pass = 0);

// `bytes` rounded up, so that arrays one after another are aligned as by cudaMalloc().
constexpr int64_t Aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

// Pieces of tiles in host memory, in order: whole block rows of at most `bytes` of weights in all,
// or one block row.
std::vector<std::vector<Tile>> CutIntoPieces(const Problem& problem, std::span<const Tile> tiles,
                                             int64_t bytes = kStagingBytes);

}  // namespace tsenor::cuda
