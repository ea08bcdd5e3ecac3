// The general kernel on a list of blocks: the bits that it finds for all of them.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <vector>

#include "solver/cuda/kernels/general.h"
#include "solver/cuda/launch_config.h"
#include "tests/gpu/cuda_test.h"
#include "tests/gpu/on_device.h"
#include "tests/support/generators.h"

namespace tsenor::cuda {
namespace {

struct Workspace {
  std::vector<BlockResult> results;
  std::vector<uint32_t> masks;
};

class BlockListTest : public CudaTest {
 protected:
  // Solves the blocks of `list`, or all if it is null, into a workspace full of kUnwritten.
  static Workspace Solve(const Pass& pass, const std::vector<uint32_t>* list) {
    const int m = pass.problem.pattern.m;
    const OnDevice results(std::vector<BlockResult>(pass.blocks, kUnwritten));
    const OnDevice masks(std::vector<uint32_t>(pass.blocks * m * MaskWords(m), 0xa5a5a5a5));
    Pass placed = pass;
    placed.results = results.data();
    placed.masks = masks.data();
    if (list == nullptr) {
      EXPECT_EQ(LaunchGeneral(placed, nullptr), cudaSuccess);
    } else {
      // What follows the list is no block of it.
      std::vector<uint32_t> padded = *list;
      padded.resize(pass.blocks + 1, 0);
      const OnDevice blocks(padded);
      const OnDevice count(std::vector<uint32_t>{static_cast<uint32_t>(list->size())});
      EXPECT_EQ(LaunchGeneralOnList(placed, {blocks.data(), count.data()}, nullptr), cudaSuccess);
    }
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    return {results.Get(), masks.Get()};
  }

  static void ExpectSameBlock(const Workspace& x, const Workspace& y, int64_t block, int words) {
    const BlockResult& a = x.results[block];
    const BlockResult& b = y.results[block];
    EXPECT_EQ(a.value, b.value) << block;
    EXPECT_EQ(a.bound, b.bound) << block;
    EXPECT_EQ(a.score_sum, b.score_sum) << block;
    EXPECT_EQ(a.kept, b.kept) << block;
    EXPECT_EQ(a.augmentations, b.augmentations) << block;
    EXPECT_EQ(a.proven, b.proven) << block;
    for (int64_t word = block * words; word < (block + 1) * words; ++word) {
      EXPECT_EQ(x.masks[word], y.masks[word]) << block;
    }
  }

  // Of every third block only, in descending order.
  static void Judge(Pattern pattern, WeightKind kind, int64_t rows, int64_t columns) {
    Problem problem;
    problem.pattern = pattern;
    const OnDevice weights(GenerateWeights(kind, rows, columns, 8));
    const Tile tile = {
        .weights = weights.data(), .row_stride = columns, .rows = rows, .columns = columns};
    const int64_t blocks = CountBlocks(problem, {&tile, 1});
    const std::vector<Pass> passes =
        CutIntoPasses(problem, NumberTiles(problem, {&tile, 1}), blocks);
    ASSERT_EQ(passes.size(), 1u);
    const Workspace all = Solve(passes[0], nullptr);
    std::vector<uint32_t> list;
    for (int64_t block = blocks - 1; block >= 0; block -= 3) list.push_back(block);
    const Workspace some = Solve(passes[0], &list);
    const Workspace none = {std::vector<BlockResult>(blocks, kUnwritten),
                            std::vector<uint32_t>(all.masks.size(), 0xa5a5a5a5)};
    const int words = pattern.m * MaskWords(pattern.m);
    for (int64_t block = 0; block < blocks; ++block) {
      const bool listed = (blocks - 1 - block) % 3 == 0;
      ExpectSameBlock(some, listed ? all : none, block, words);
    }
  }

  static constexpr BlockResult kUnwritten = {-1, -1, -1, -1, -1, -1, false, false, false};
};

TEST_F(BlockListTest, BitsAreThoseOfAllBlocksAndOthersStayUntouched) {
  for (const WeightKind kind : {WeightKind::kGaussian, WeightKind::kInt2}) {
    Judge({4, 8}, kind, 240, 320);
    Judge({8, 16}, kind, 160, 480);
    Judge({16, 32}, kind, 640, 3200);
    Judge({32, 64}, kind, 640, 640);
    Judge({5, 11}, kind, 100, 333);
    Judge({64, 128}, kind, 256, 512);
  }
}

TEST_F(BlockListTest, AnEmptyListLeavesEverythingUntouched) {
  Problem problem;
  problem.pattern = {16, 32};
  const OnDevice weights(GenerateWeights(WeightKind::kGaussian, 32, 64, 8));
  const Tile tile = {.weights = weights.data(), .row_stride = 64, .rows = 32, .columns = 64};
  const std::vector<uint32_t> empty;
  const Workspace some =
      Solve(CutIntoPasses(problem, NumberTiles(problem, {&tile, 1}), 2)[0], &empty);
  for (const uint32_t word : some.masks) EXPECT_EQ(word, 0xa5a5a5a5);
  EXPECT_EQ(some.results[1].kept, -1);
}

}  // namespace
}  // namespace tsenor::cuda
