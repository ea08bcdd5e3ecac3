#include "solver/cuda/launch_config.h"

#include <algorithm>

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

// Of an exhaustive search: sums of segments, where a block row has more than one.
int64_t SearchBytes(std::span<const Tile> tiles) {
  int64_t segments = 0;
  bool some_cut = false;
  for (const Tile& tile : tiles) {
    segments += BlocksAlong(tile.rows, 4) * SegmentsOfRow(tile.columns);
    some_cut = some_cut || SegmentsOfRow(tile.columns) > 1;
  }
  return some_cut ? Aligned(segments * static_cast<int64_t>(sizeof(SearchSums))) : 0;
}

}  // namespace

std::string LaunchConfig::ToString() const {
  const std::string passes =
      absl::StrCat(blocks_per_pass, " blocks a pass, ", workspace_bytes, " bytes of workspace");
  if (!general)
    return other_method ? absl::StrCat("method's kernels, ", passes) : "exhaustive search";
  return absl::StrCat(exhaustive ? "exhaustive search; for potentials the " : "",
                      "general kernel, ", threads, " threads and ", shared_bytes,
                      " bytes of shared memory a CTA, ", other_method ? "method's kernels, " : "",
                      passes);
}

LaunchConfig ConfigFor(const Problem& problem, std::span<const Tile> tiles) {
  const auto [n, m] = problem.pattern;
  LaunchConfig config;
  const Method method = problem.options.method;
  config.exhaustive = m == 4 && n > 0 && n < m && method == Method::kOptimal;
  config.other_method = HasMethodKernels(problem);
  const bool any_potentials = std::any_of(
      tiles.begin(), tiles.end(), [](const Tile& tile) { return tile.potentials != nullptr; });
  config.general = config.exhaustive ? any_potentials : IsTransposable(method);
  config.threads = GeneralThreads(m);
  config.shared_bytes = GeneralSharedBytes(m);
  config.blocks_per_pass =
      std::min(CountBlocks(problem, tiles), kWorkspaceBytes / WorkspaceBytesPerBlock(m));
  const int64_t plan_bytes =
      config.other_method && method == Method::kTsenor ? m * m * int64_t{sizeof(int32_t)} : 0;
  if (plan_bytes > 0)
    config.blocks_per_pass = std::min(config.blocks_per_pass, kPlanBytes / plan_bytes);
  if (config.exhaustive && !config.general) config.blocks_per_pass = 0;
  const int64_t blocks = config.blocks_per_pass;
  config.results_bytes = Aligned(blocks * static_cast<int64_t>(sizeof(BlockResult)));
  config.masks_bytes = Aligned(blocks * m * MaskWords(m) * static_cast<int64_t>(sizeof(uint32_t)));
  config.plans_bytes = Aligned(blocks * plan_bytes);
  config.random_masks_bytes = Aligned(RandomMaskBytes(problem));
  config.workspace_bytes =
      config.results_bytes + config.masks_bytes + config.plans_bytes + config.random_masks_bytes;
  if (config.exhaustive) {
    config.workspace_bytes = std::max(config.workspace_bytes, SearchBytes(tiles));
  }
  return config;
}

int64_t CountBlocks(const Problem& problem, std::span<const Tile> tiles) {
  const int m = problem.pattern.m;
  int64_t blocks = 0;
  for (const Tile& tile : tiles) blocks += BlocksAlong(tile.rows, m) * BlocksAlong(tile.columns, m);
  return blocks;
}

std::vector<PassTile> NumberTiles(const Problem& problem, std::span<const Tile> tiles) {
  const int m = problem.pattern.m;
  std::vector<PassTile> numbered;
  numbered.reserve(tiles.size());
  int64_t blocks = 0, rows = 0, segments = 0;
  for (const Tile& tile : tiles) {
    const int64_t tile_rows = BlocksAlong(tile.rows, m);
    const int64_t blocks_per_row = BlocksAlong(tile.columns, m);
    numbered.push_back({tile, blocks, rows, segments, blocks_per_row});
    rows += tile_rows;
    segments += tile_rows * SegmentsOfRow(tile.columns);
    blocks += tile_rows * blocks_per_row;
  }
  return numbered;
}

std::vector<Pass> CutIntoPasses(const Problem& problem, std::span<const PassTile> tiles,
                                int64_t blocks_per_pass) {
  std::vector<Pass> passes;
  if (tiles.empty()) return passes;
  const auto [n, m] = problem.pattern;
  const PassTile& last = tiles.back();
  const int64_t last_rows = BlocksAlong(last.tile.rows, m);
  const int64_t blocks = last.first_block + last_rows * last.blocks_per_row;
  Pass pass = {};
  pass.problem = problem;
  pass.quantile_factor = n > 0 && n < m ? cpu::QuantileFactor(n, m) : 0.0f;
  pass.tiles = static_cast<int>(tiles.size());
  pass.segments = last.first_segment + last_rows * SegmentsOfRow(last.tile.columns);
  for (const PassTile& tile : tiles) pass.columns = std::max(pass.columns, tile.tile.columns);
  if (tiles.size() <= kTilesInParameters) std::copy(tiles.begin(), tiles.end(), pass.tile);
  pass.list = tiles.data();  // where TileOf() finds them here, in host memory
  const auto row_of = [&pass](int64_t block) {
    const PassTile& tile = pass.TileOf(block, &PassTile::first_block);
    return tile.first_row + (block - tile.first_block) / tile.blocks_per_row;
  };
  for (int64_t first = 0; first < blocks; first += blocks_per_pass) {
    pass.first_block = first;
    pass.blocks = std::min(blocks_per_pass, blocks - first);
    pass.first_row = row_of(first);
    pass.rows = row_of(first + pass.blocks - 1) + 1 - pass.first_row;
    passes.push_back(pass);
    passes.back().list = nullptr;
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
