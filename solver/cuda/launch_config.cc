#include "solver/cuda/launch_config.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "solver/cpu/quantile.h"
#include "solver/cuda/kernels/general.h"

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

}  // namespace

std::string LaunchConfig::ToString() const {
  return absl::StrCat(exhaustive ? "exhaustive search; for potentials the " : "",
                      "general kernel, ", threads, " threads and ", shared_bytes,
                      " bytes of shared memory a CTA, ", blocks_per_pass, " blocks a pass, ",
                      workspace_bytes, " bytes of workspace");
}

LaunchConfig ConfigFor(const Problem& problem, std::span<const Tile> tiles) {
  const auto [n, m] = problem.pattern;
  LaunchConfig config;
  config.exhaustive = m == 4 && n > 0 && n < m;
  config.threads = 32 * MaskWords(m);
  config.shared_bytes = GeneralSharedBytes(m);
  config.blocks_per_pass = std::min(CountBlocks(problem, GeneralTiles(config, tiles)),
                                    kWorkspaceBytes / WorkspaceBytesPerBlock(m));
  config.results_bytes =
      Aligned(config.blocks_per_pass * static_cast<int64_t>(sizeof(BlockResult)));
  const int64_t mask_bytes =
      config.blocks_per_pass * m * MaskWords(m) * static_cast<int64_t>(sizeof(uint32_t));
  config.workspace_bytes = config.results_bytes + Aligned(mask_bytes);
  return config;
}

std::vector<Tile> GeneralTiles(const LaunchConfig& config, std::span<const Tile> tiles) {
  std::vector<Tile> chosen;
  std::copy_if(tiles.begin(), tiles.end(), std::back_inserter(chosen),
               [&](const Tile& tile) { return !config.exhaustive || tile.potentials != nullptr; });
  return chosen;
}

int64_t CountBlocks(const Problem& problem, std::span<const Tile> tiles) {
  const int m = problem.pattern.m;
  int64_t blocks = 0;
  for (const Tile& tile : tiles) blocks += BlocksAlong(tile.rows, m) * BlocksAlong(tile.columns, m);
  return blocks;
}

std::vector<Pass> CutIntoPasses(const Problem& problem, std::span<const Tile> tiles,
                                int64_t blocks_per_pass) {
  const auto [n, m] = problem.pattern;
  std::vector<Pass> passes;
  Pass pass = {};
  pass.problem = problem;
  pass.quantile_factor = n > 0 && n < m ? cpu::QuantileFactor(n, m) : 0.0f;
  for (size_t first = 0; first < tiles.size(); first += kTilesPerPass) {
    pass.tiles = static_cast<int>(std::min<size_t>(kTilesPerPass, tiles.size() - first));
    int64_t blocks = 0, rows = 0;
    for (int t = 0; t < pass.tiles; ++t) {
      const Tile& tile = tiles[first + t];
      const int64_t blocks_per_row = BlocksAlong(tile.columns, m);
      pass.tile[t] = {tile, blocks, rows, blocks_per_row};
      blocks += BlocksAlong(tile.rows, m) * blocks_per_row;
      rows += BlocksAlong(tile.rows, m);
    }
    for (pass.first_block = 0; pass.first_block < blocks; pass.first_block += pass.blocks) {
      pass.blocks = std::min(blocks_per_pass, blocks - pass.first_block);
      passes.push_back(pass);
    }
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
