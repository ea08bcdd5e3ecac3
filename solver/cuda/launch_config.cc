#include "solver/cuda/launch_config.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "solver/cpu/quantile.h"
#include "solver/cuda/kernels/exhaustive.h"
#include "solver/cuda/kernels/general.h"
#include "solver/cuda/methods.h"

namespace tsenor::cuda {
namespace {

// Rows `first` .. `first` + `rows` - 1 of a tile in host memory; `first` begins a block row.
Tile RowsOf(const Problem& problem, const Tile& tile, int64_t first, int64_t rows) {
  const int m = problem.pattern.m;
  const int64_t block_row = first / m;
  Tile part = tile;
  part.weights = static_cast<const std::byte*>(tile.weights) +
                 first * tile.row_stride * static_cast<int64_t>(SizeOf(problem.dtype));
  part.rows = rows;
  part.mask += first * tile.mask_row_stride;
  part.stats += block_row;
  if (part.potentials) part.potentials += block_row * BlocksAlong(tile.columns, m) * 2 * m;
  return part;
}

// Of a block's plan.
int64_t PlanBytes(const Problem& problem) {
  if (problem.options.method != Method::kTsenor) return 0;
  return int64_t{4} * problem.pattern.m * problem.pattern.m;
}

int64_t BlocksPerPass(const Problem& problem) {
  const int64_t blocks = kWorkspaceBytes / WorkspaceBytesPerBlock(problem.pattern.m);
  const int64_t plan_bytes = PlanBytes(problem);
  return plan_bytes > 0 ? std::min(blocks, kPlanBytes / plan_bytes) : blocks;
}

// Of an exhaustive search: sums of segments, where a block row has more than one.
int64_t SearchBytes(std::span<const Tile> tiles) {
  int64_t segments = 0;
  bool some_cut = false;
  for (const Tile& tile : tiles) {
    segments += BlocksAlong(tile.rows, 4) * SegmentsOfRow(tile.columns);
    some_cut = some_cut || SegmentsOfRow(tile.columns) > 1;
  }
  return some_cut ? segments * static_cast<int64_t>(sizeof(SearchSums)) : 0;
}

}  // namespace

std::string LaunchConfig::ToString() const {
  const std::string passes =
      absl::StrCat(blocks_per_pass, " blocks a pass, ", workspace_bytes, " bytes of workspace");
  if (!general)
    return other_method ? absl::StrCat("method's kernels, ", passes) : "exhaustive search";
  return absl::StrCat(exhaustive ? "exhaustive search; for potentials the "
                      : wide     ? "wide kernel; for hard blocks the "
                      : patches  ? "patch kernel; for hard blocks the "
                                 : "",
                      "general kernel, ", threads, " threads and ", shared_bytes,
                      " bytes of shared memory a CTA, ", other_method ? "method's kernels, " : "",
                      passes);
}

LaunchConfig ConfigFor(const Problem& problem, std::span<const Tile> tiles) {
  const auto [n, m] = problem.pattern;
  LaunchConfig config;
  const Method method = problem.options.method;
  config.exhaustive = m == 4 && n > 0 && n < m && method == Method::kOptimal;
  config.patches =
      !config.exhaustive && n > 0 && n < m && m <= kWideLines && method == Method::kOptimal;
  config.wide = config.patches && m > kPatchLines;
  config.other_method = HasMethodKernels(problem);
  const bool any_potentials = std::any_of(
      tiles.begin(), tiles.end(), [](const Tile& tile) { return tile.potentials != nullptr; });
  config.general = config.exhaustive ? any_potentials : IsTransposable(method);
  config.threads = GeneralThreads(m);
  config.shared_bytes = GeneralSharedBytes(m);
  const auto take = [&](int64_t size) {
    return std::exchange(config.workspace_bytes, config.workspace_bytes + Aligned(size));
  };
  config.search_place = take(config.exhaustive ? SearchBytes(tiles) : 0);
  if (config.exhaustive && !config.general) return config;
  int64_t parts = 0, patches = 0;
  for (const Pass& pass : CutIntoPasses(problem, NumberTiles(problem, tiles))) {
    config.blocks_per_pass = std::max(config.blocks_per_pass, pass.blocks);
    patches = std::max(patches, pass.patches);
    parts = std::max(parts, pass.patches * PatchBlocks(m));
  }
  const int64_t blocks = config.blocks_per_pass;
  config.results_place = take(blocks * static_cast<int64_t>(sizeof(BlockResult)));
  config.masks_place = take(blocks * m * MaskWords(m) * static_cast<int64_t>(sizeof(uint32_t)));
  config.plans_place = take(config.other_method ? blocks * PlanBytes(problem) : 0);
  config.random_masks_bytes = RandomMaskBytes(problem);
  config.random_masks_place = take(config.random_masks_bytes);
  if (!config.patches) return config;
  config.parts_place = take(parts * static_cast<int64_t>(sizeof(PartResult)));
  config.hard_place = take((2 + blocks + patches) * static_cast<int64_t>(sizeof(uint32_t)));
  return config;
}

int64_t CountBlocks(const Problem& problem, std::span<const Tile> tiles) {
  const int m = problem.pattern.m;
  int64_t blocks = 0;
  for (const Tile& tile : tiles) blocks += BlocksAlong(tile.rows, m) * BlocksAlong(tile.columns, m);
  return blocks;
}

std::vector<PassTile> NumberTiles(const Problem& problem, std::span<const Tile> tiles) {
  const int m = problem.pattern.m, patch_blocks = PatchBlocks(m);
  std::vector<PassTile> numbered;
  numbered.reserve(tiles.size());
  int64_t blocks = 0, rows = 0, patches = 0, segments = 0;
  for (const Tile& whole : tiles) {
    const int64_t blocks_per_row = BlocksAlong(whole.columns, m);
    const int64_t patches_per_row = BlocksAlong(blocks_per_row, patch_blocks);
    const int64_t patch_rows =
        std::max<int64_t>(1, BlocksPerPass(problem) / (patch_blocks * blocks_per_row));
    const int64_t step = patch_rows * patch_blocks * m;
    for (int64_t first = 0; first < whole.rows; first += step) {
      const Tile tile = RowsOf(problem, whole, first, std::min(step, whole.rows - first));
      const int64_t block_rows = BlocksAlong(tile.rows, m);
      numbered.push_back({tile, blocks, rows, blocks_per_row, patches, patches_per_row, segments});
      rows += block_rows;
      segments += block_rows * SegmentsOfRow(tile.columns);
      blocks += block_rows * blocks_per_row;
      patches += BlocksAlong(block_rows, patch_blocks) * patches_per_row;
    }
  }
  return numbered;
}

std::vector<Pass> CutIntoPasses(const Problem& problem, std::span<const PassTile> tiles,
                                int64_t blocks_per_pass) {
  std::vector<Pass> passes;
  const auto [n, m] = problem.pattern;
  if (blocks_per_pass == 0) blocks_per_pass = BlocksPerPass(problem);
  Pass pass = {};
  pass.problem = problem;
  pass.quantile_factor = n > 0 && n < m ? cpu::QuantileFactor(n, m) : 0.0f;
  pass.tiles = static_cast<int>(tiles.size());
  for (const PassTile& tile : tiles) pass.columns = std::max(pass.columns, tile.tile.columns);
  if (tiles.size() <= kTilesInParameters) std::copy(tiles.begin(), tiles.end(), pass.tile);
  for (const PassTile& tile : tiles) {
    const int64_t rows = BlocksAlong(tile.tile.rows, m), blocks = rows * tile.blocks_per_row;
    if (passes.empty() || passes.back().blocks + blocks > blocks_per_pass) {
      pass.first_block = tile.first_block;
      pass.first_row = tile.first_row;
      pass.first_patch = tile.first_patch;
      passes.push_back(pass);
    }
    passes.back().blocks += blocks;
    passes.back().rows += rows;
    passes.back().segments += rows * SegmentsOfRow(tile.tile.columns);
    passes.back().patches += BlocksAlong(rows, PatchBlocks(m)) * tile.patches_per_row;
  }
  return passes;
}

std::vector<std::vector<Tile>> CutIntoPieces(const Problem& problem, std::span<const Tile> tiles,
                                             int64_t bytes) {
  const int m = problem.pattern.m;
  std::vector<std::vector<Tile>> pieces(1);
  int64_t left = bytes;
  for (const Tile& tile : tiles) {
    const int64_t block_row_bytes = m * tile.columns * static_cast<int64_t>(SizeOf(problem.dtype));
    for (int64_t first = 0; first < tile.rows;) {
      if (left < block_row_bytes && !pieces.back().empty()) {
        pieces.emplace_back();
        left = bytes;
      }
      const int64_t block_rows = std::max<int64_t>(1, left / block_row_bytes);
      const int64_t rows = std::min(block_rows * m, tile.rows - first);
      pieces.back().push_back(RowsOf(problem, tile, first, rows));
      left -= BlocksAlong(rows, m) * block_row_bytes;
      first += rows;
    }
  }
  if (pieces.back().empty()) pieces.pop_back();
  return pieces;
}

}  // namespace tsenor::cuda
