// Batches in device memory: on the caller's stream, the bits of the same batch in host memory.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/gpu/cuda_test.h"
#include "tests/gpu/on_device.h"
#include "tests/support/generators.h"

namespace tsenor {
namespace {

class DeviceMemoryTest : public CudaTest {
 protected:
  void JudgeSameBits(Pattern pattern, int64_t rows, int64_t columns) {
    Problem problem;
    problem.pattern = pattern;
    const auto weights = GenerateWeights(WeightKind::kGaussian, rows, columns, 3);
    const auto expected = SolveWholeMatrix(cuda(), problem, weights.data(), rows, columns);
    SolvedMatrix solved = expected;
    const OnDevice on_device(weights);
    const OnDevice mask(std::vector<uint8_t>(expected.mask.size(), 0xa5));
    const OnDevice stats(std::vector<SolveStats>(expected.block_rows.size()));
    const OnDevice potentials(std::vector<double>(expected.potentials.size(), -1));
    const Tile tile = {.weights = on_device.data(),
                       .row_stride = columns,
                       .rows = rows,
                       .columns = columns,
                       .mask = mask.data(),
                       .mask_row_stride = MaskRowBytes(columns),
                       .stats = stats.data(),
                       .potentials = potentials.data()};
    cudaStream_t stream = nullptr;
    ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
    const absl::Status status = cuda().Solve({.problem = problem,
                                              .tiles = {&tile, 1},
                                              .memory = MemorySpace::kDevice,
                                              .stream = stream});
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    cudaStreamDestroy(stream);
    solved.mask = mask.Get();
    solved.block_rows = stats.Get();
    solved.potentials = potentials.Get();
    ExpectSameAnswer(solved, expected);
  }
};

TEST_F(DeviceMemoryTest, BitsAreThoseOfTheSameMatrixInHostMemory) {
  JudgeSameBits({16, 32}, 256, 512);
  JudgeSameBits({3, 7}, 100, 333);
  JudgeSameBits({64, 128}, 256, 300);
}

// 2.1 million blocks: passes end inside block rows and inside bytes of the mask. From host memory
// the same matrix is solved in pieces of whole block rows.
TEST_F(DeviceMemoryTest, PassesThatEndInsideBlockRowsContinueThem) {
  JudgeSameBits({1, 2}, 64, 131071);
  JudgeSameBits({1, 3}, 9, 6300001);
}

// More tiles than a kernel's parameters hold: rows of 16 of one matrix.
TEST_F(DeviceMemoryTest, LongListsOfTilesAreSolvedButNotCaptured) {
  constexpr int64_t kRows = 1600, kColumns = 72, kTileRows = 16;
  Problem problem;
  problem.pattern = {4, 8};
  const auto weights = GenerateWeights(WeightKind::kGaussian, kRows, kColumns, 5);
  const auto expected = SolveWholeMatrix(cuda(), problem, weights.data(), kRows, kColumns);
  const OnDevice on_device(weights);
  const OnDevice mask(std::vector<uint8_t>(expected.mask.size(), 0xa5));
  const OnDevice stats(std::vector<SolveStats>(expected.block_rows.size()));
  std::vector<Tile> tiles;
  for (int64_t row = 0; row < kRows; row += kTileRows) {
    tiles.push_back({.weights = on_device.data() + row * kColumns,
                     .row_stride = kColumns,
                     .rows = kTileRows,
                     .columns = kColumns,
                     .mask = mask.data() + row * MaskRowBytes(kColumns),
                     .mask_row_stride = MaskRowBytes(kColumns),
                     .stats = stats.data() + row / 8});
  }
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  const Batch batch = {
      .problem = problem, .tiles = tiles, .memory = MemorySpace::kDevice, .stream = stream};
  EXPECT_TRUE(cuda().Solve(batch).ok());
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(mask.Get(), expected.mask);

  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_EQ(cuda().Solve(batch).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

}  // namespace
}  // namespace tsenor
