// Plans, passes and pieces: needs no GPU.
#include "solver/cuda/launch_config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>

#include "solver/cuda/kernels/general.h"

namespace tsenor::cuda {
namespace {

Problem ProblemOf(int n, int m) {
  Problem problem;
  problem.pattern = {n, m};
  return problem;
}

Tile TileOf(int64_t rows, int64_t columns) {
  return {.row_stride = columns,
          .rows = rows,
          .columns = columns,
          .mask_row_stride = MaskRowBytes(columns)};
}

TEST(LaunchConfigTest, EveryPatternFitsTheSmallestSharedMemoryOfTheGpusItIsFor) {
  constexpr size_t kLeastSharedBytes = 99 << 10;  // compute capability 8.6, 8.9, 12.0
  for (int m = 1; m <= 128; ++m) {
    const Tile tile = TileOf(4096, 4096);
    const LaunchConfig config = ConfigFor(ProblemOf(m / 2, m), {&tile, 1});
    EXPECT_LE(config.shared_bytes, kLeastSharedBytes) << m;
    EXPECT_GE(config.threads, m);
    EXPECT_EQ(config.threads % 32, 0);
    EXPECT_LE(config.workspace_bytes, kWorkspaceBytes + 4 * 256);
  }
}

TEST(LaunchConfigTest, IsPrintable) {
  const Tile tile = TileOf(64, 64);
  EXPECT_EQ(ConfigFor(ProblemOf(16, 32), {&tile, 1}).ToString().substr(0, 48),
            "patch kernel; for hard blocks the general kernel");
  EXPECT_EQ(ConfigFor(ProblemOf(32, 64), {&tile, 1}).ToString().substr(0, 47),
            "wide kernel; for hard blocks the general kernel");
}

TEST(LaunchConfigTest, BlocksOfUpTo64LinesGoToAKernelOfTheirSizeFirst) {
  const Tile tile = TileOf(256, 256);
  for (int m = 2; m <= 128; ++m) {
    const LaunchConfig config = ConfigFor(ProblemOf(m / 2, m), {&tile, 1});
    EXPECT_EQ(config.patches, m <= 64 && m != 4) << m;
    EXPECT_EQ(config.wide, 32 < m && m <= 64) << m;
    EXPECT_FALSE(ConfigFor(ProblemOf(m, m), {&tile, 1}).patches) << m;
  }
}

TEST(LaunchConfigTest, SmallBatchesTakeNoMoreWorkspaceThanTheyNeed) {
  const Tile tile = TileOf(32, 96);
  const LaunchConfig config = ConfigFor(ProblemOf(16, 32), {&tile, 1});
  EXPECT_EQ(config.blocks_per_pass, 3);
  EXPECT_LE(config.workspace_bytes, 1536);
}

TEST(LaunchConfigTest, OtherMethodsTakeWhatTheyReadAndTheOptimumIfItBoundsThem) {
  const Tile tile = TileOf(8192, 8192);
  for (const Method method : kAllMethods) {
    SCOPED_TRACE(static_cast<int>(method));
    Problem problem = ProblemOf(16, 32);
    problem.options.method = method;
    const LaunchConfig config = ConfigFor(problem, {&tile, 1});
    EXPECT_EQ(config.other_method, method != Method::kOptimal);
    EXPECT_EQ(config.general, IsTransposable(method));
    EXPECT_EQ(config.patches, method == Method::kOptimal);
    EXPECT_EQ(config.random_masks_place - config.plans_place,
              method == Method::kTsenor ? kPlanBytes : 0);
    EXPECT_EQ(config.random_masks_bytes, method == Method::kMaxRandom ? Aligned(1000 * 128) : 0);
    if (config.other_method) {
      EXPECT_EQ(config.workspace_bytes, config.random_masks_place + config.random_masks_bytes);
    }
    const bool named = config.ToString().find("method's kernels") != std::string::npos;
    EXPECT_EQ(named, config.other_method);
    problem.pattern = {2, 4};
    EXPECT_EQ(ConfigFor(problem, {&tile, 1}).exhaustive, method == Method::kOptimal);
    problem.pattern = {4, 4};  // no choice, but for one side's potentials
    EXPECT_EQ(ConfigFor(problem, {&tile, 1}).other_method, !IsTransposable(method));
  }
}

TEST(LaunchConfigTest, ExhaustiveSearchTakesTheGeneralKernelTooIfPotentialsAreWanted) {
  double potentials[2 * 4 * 2];
  Tile tiles[] = {TileOf(400, 400), TileOf(4, 8)};
  EXPECT_EQ(ConfigFor(ProblemOf(2, 4), tiles).workspace_bytes, 0);
  EXPECT_FALSE(ConfigFor(ProblemOf(2, 4), tiles).general);
  tiles[1].potentials = potentials;
  const LaunchConfig config = ConfigFor(ProblemOf(2, 4), tiles);
  EXPECT_TRUE(config.exhaustive);
  EXPECT_TRUE(config.general);
  EXPECT_EQ(config.blocks_per_pass, 10002);
  EXPECT_FALSE(ConfigFor(ProblemOf(0, 4), tiles).exhaustive);
  EXPECT_FALSE(ConfigFor(ProblemOf(2, 8), tiles).exhaustive);
}

// Each pass has whole rows of patches, whose numbers and parts follow each other; parts and lists
// of all blocks fit into the workspace.
TEST(LaunchConfigTest, AnExhaustiveSearchTakesMemoryOnlyForRowsOfMoreThanOneSegment) {
  Tile tiles[] = {TileOf(400, 8192), TileOf(4, 8)};
  EXPECT_EQ(ConfigFor(ProblemOf(2, 4), tiles).workspace_bytes, 0);
  EXPECT_FALSE(ConfigFor(ProblemOf(2, 4), tiles).counts_unsolved());
  tiles[0].columns = 8193;
  EXPECT_EQ(ConfigFor(ProblemOf(2, 4), tiles).workspace_bytes,
            Aligned(201 * int64_t{sizeof(SearchSums)}));
  const auto numbered = NumberTiles(ProblemOf(2, 4), tiles);
  EXPECT_EQ(numbered.back().first_segment, 200);
  EXPECT_EQ(CutIntoPasses(ProblemOf(2, 4), numbered, 1 << 30).at(0).segments, 201);
}

TEST(CutIntoPassesTest, LargeTilesAreCutIntoPassesOfWholePatches) {
  for (const Pattern pattern :
       {Pattern{4, 8}, {3, 7}, {8, 16}, {10, 20}, {16, 32}, {32, 64}, {64, 128}}) {
    SCOPED_TRACE(pattern.m);
    const Problem problem = ProblemOf(pattern.n, pattern.m);
    const Tile tiles[] = {TileOf(40000, 12000), TileOf(3, 5), TileOf(33, 1 << 20)};
    const LaunchConfig config = ConfigFor(problem, tiles);
    const auto numbered = NumberTiles(problem, tiles);
    int64_t blocks = 0, rows = 0, patches = 0;
    for (const Pass& pass : CutIntoPasses(problem, numbered)) {
      EXPECT_EQ(pass.first_block, blocks);
      EXPECT_EQ(pass.first_row, rows);
      EXPECT_EQ(pass.first_patch, patches);
      EXPECT_LE(pass.blocks, config.blocks_per_pass);
      const PassTile& first = pass.TileOf(pass.first_patch, &PassTile::first_patch);
      EXPECT_EQ(first.first_block, pass.first_block);
      EXPECT_EQ(PartIndex(pass, first, 0, 0), 0);
      const PassTile& last =
          pass.TileOf(pass.first_patch + pass.patches - 1, &PassTile::first_patch);
      const int64_t last_row = BlocksAlong(last.tile.rows, pattern.m) - 1;
      const int64_t parts = PartIndex(pass, last, last_row, last.patches_per_row - 1) + 1;
      EXPECT_LE(parts, pass.patches * PatchBlocks(pattern.m));
      if (config.patches) {
        EXPECT_LE(config.parts_place + parts * int64_t{sizeof(PartResult)}, config.hard_place);
        EXPECT_LE(config.hard_place + 4 * (2 + pass.blocks + pass.patches), config.workspace_bytes);
      }
      blocks += pass.blocks;
      rows += pass.rows;
      patches += pass.patches;
    }
    EXPECT_EQ(blocks, CountBlocks(problem, tiles));
  }
}

// Block by block: the tile that TileOf() finds, and the block row in it.
TEST(CutIntoPassesTest, EveryBlockIsInOnePassAndFoundInItsTile) {
  const Problem problem = ProblemOf(2, 4);
  for (const int count : {1, 5, kTilesInParameters, kTilesInParameters + 1, 101}) {
    std::vector<Tile> tiles;
    for (int k = 0; k < count; ++k) tiles.push_back(TileOf(1 + k, 9 + 4 * (k % 7)));
    const auto numbered = NumberTiles(problem, tiles);
    int64_t blocks = 0;
    size_t t = 0;
    for (Pass& pass : CutIntoPasses(problem, numbered, 100)) {
      EXPECT_EQ(pass.first_block, blocks);
      EXPECT_EQ(pass.columns, 9 + 4 * std::min(count - 1, 6));
      ASSERT_EQ(pass.list, nullptr);
      if (count > kTilesInParameters) pass.list = numbered.data();
      for (int64_t k = 0; k < pass.blocks; ++k, ++blocks) {
        if (t + 1 < tiles.size() && numbered[t + 1].first_block == blocks) ++t;
        const PassTile& tile = pass.TileOf(blocks, &PassTile::first_block);
        ASSERT_EQ(tile.first_block, numbered[t].first_block);
        ASSERT_EQ(tile.tile.rows, tiles[t].rows);
        const int64_t row = tile.first_row + (blocks - tile.first_block) / tile.blocks_per_row;
        ASSERT_EQ(pass.TileOf(row, &PassTile::first_row).first_row, tile.first_row);
        ASSERT_GE(row, pass.first_row);
        ASSERT_LT(row, pass.first_row + pass.rows);
        ASSERT_TRUE(k > 0 || row == pass.first_row);
        ASSERT_TRUE(k + 1 < pass.blocks || row + 1 == pass.first_row + pass.rows);
      }
    }
    EXPECT_EQ(blocks, CountBlocks(problem, tiles));
  }
  EXPECT_TRUE(CutIntoPasses(problem, {}, 100).empty());
}

TEST(LaunchConfigTest, OnlyLongListsOfTilesTakeMemory) {
  const std::vector<Tile> tiles(4096, TileOf(64, 64));
  const std::span all(tiles);
  const Problem problem = ProblemOf(16, 32);
  EXPECT_EQ(ListBytes(kTilesInParameters), 0);
  EXPECT_EQ(ListBytes(4096), 4096 * int64_t{sizeof(PassTile)});
  EXPECT_EQ(CutIntoPasses(problem, NumberTiles(problem, all), 1 << 20).size(), 1u);
}

TEST(CutIntoPassesTest, TilesAreNumberedOneAfterAnother) {
  const Problem problem = ProblemOf(2, 4);
  const Tile tiles[] = {TileOf(8, 12), TileOf(5, 4)};
  const auto passes = CutIntoPasses(problem, NumberTiles(problem, tiles), 8);
  ASSERT_EQ(passes.size(), 1u);
  EXPECT_EQ(passes[0].blocks, 8);
  EXPECT_EQ(passes[0].tile[0].blocks_per_row, 3);
  EXPECT_EQ(passes[0].tile[1].first_block, 6);
  EXPECT_EQ(passes[0].tile[1].first_row, 2);
}

TEST(CutIntoPiecesTest, PiecesAreWholeBlockRowsInOrder) {
  const Problem problem = ProblemOf(2, 4);
  std::vector<float> weights(30 * 20);
  std::vector<uint8_t> mask(30 * 3);
  std::vector<SolveStats> stats(8);
  Tile tile = TileOf(30, 20);
  tile.weights = weights.data();
  tile.mask = mask.data();
  tile.stats = stats.data();
  const auto pieces = CutIntoPieces(problem, {&tile, 1}, 2 * 4 * 20 * 4);  // two block rows
  ASSERT_EQ(pieces.size(), 4u);
  int64_t rows = 0;
  for (const auto& piece : pieces) {
    for (const Tile& part : piece) {
      EXPECT_EQ(part.weights, weights.data() + rows * 20);
      EXPECT_EQ(part.mask, mask.data() + rows * 3);
      EXPECT_EQ(part.stats, stats.data() + rows / 4);
      EXPECT_EQ(part.potentials, nullptr);
      rows += part.rows;
    }
  }
  EXPECT_EQ(rows, 30);
}

TEST(CutIntoPiecesTest, ABlockRowThatExceedsAPieceIsOneByItself) {
  const Problem problem = ProblemOf(2, 4);
  const Tile tiles[] = {TileOf(8, 1000), TileOf(4, 8)};
  const auto pieces = CutIntoPieces(problem, tiles, 100);
  ASSERT_EQ(pieces.size(), 3u);
  for (const auto& piece : pieces) EXPECT_EQ(piece.size(), 1u);
}

TEST(CutIntoPiecesTest, SmallTilesShareAPiece) {
  const Problem problem = ProblemOf(2, 4);
  const std::vector<Tile> tiles(50, TileOf(8, 8));
  ASSERT_EQ(CutIntoPieces(problem, tiles).size(), 1u);
  EXPECT_EQ(CutIntoPieces(problem, tiles)[0].size(), 50u);
  EXPECT_TRUE(CutIntoPieces(problem, {}).empty());
}

}  // namespace
}  // namespace tsenor::cuda
