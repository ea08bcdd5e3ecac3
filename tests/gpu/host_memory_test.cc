// Batches in host memory: pinned or not, the same bits; and what becomes of a device that fails.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/gpu/cuda_test.h"
#include "tests/support/generators.h"

namespace tsenor {
namespace {

class HostMemoryTest : public CudaTest {};

TEST_F(HostMemoryTest, PinnedArraysOfAnySizeGiveTheBitsOfPageableOnes) {
  constexpr Pattern kPattern = {4, 8};
  Problem problem;
  problem.pattern = kPattern;
  // Tiles above and below the size from which arrays skip the staging; pieces of 16 MB end within
  // the last one.
  for (const int64_t rows : {8, 256, 5000}) {
    constexpr int64_t kColumns = 1024;
    const int64_t elements = rows * kColumns;
    const auto weights = GenerateWeights(WeightKind::kGaussian, rows, kColumns, 9);
    const auto expected = SolveWholeMatrix(cuda(), problem, weights.data(), rows, kColumns);
    void* pinned_weights = nullptr;
    void* pinned_mask = nullptr;
    ASSERT_EQ(cudaMallocHost(&pinned_weights, elements * 4), cudaSuccess);
    ASSERT_EQ(cudaMallocHost(&pinned_mask, elements / 8), cudaSuccess);
    std::memcpy(pinned_weights, weights.data(), elements * 4);
    std::memset(pinned_mask, 0xa5, elements / 8);
    SolvedMatrix solved = expected;
    const Tile tile = {.weights = pinned_weights,
                       .row_stride = kColumns,
                       .rows = rows,
                       .columns = kColumns,
                       .mask = static_cast<uint8_t*>(pinned_mask),
                       .mask_row_stride = kColumns / 8,
                       .stats = solved.block_rows.data(),
                       .potentials = solved.potentials.data()};
    const absl::Status status = cuda().Solve({.problem = problem, .tiles = {&tile, 1}});
    EXPECT_TRUE(status.ok()) << status.ToString();
    std::memcpy(solved.mask.data(), pinned_mask, elements / 8);
    ExpectSameAnswer(solved, expected);
    cudaFreeHost(pinned_weights);
    cudaFreeHost(pinned_mask);
  }
}

// In a process of its own, because the device is lost to it: a kernel reads an address that is not
// there, and the next call finds out.
void LoseTheDevice() {
  auto solver = MakeCudaSolver(0);
  if (!solver.ok() || !(*solver)->health().ok()) std::exit(1);
  Problem problem;
  problem.pattern = {16, 32};
  std::vector<float> weights(32 * 32, 1.0f);
  std::vector<uint8_t> mask(32 * 4);
  SolveStats stats;
  const Tile tile = {.weights = reinterpret_cast<const void*>(256),
                     .row_stride = 32,
                     .rows = 32,
                     .columns = 32,
                     .mask = mask.data(),
                     .mask_row_stride = 4,
                     .stats = &stats};
  Tile good = tile;
  good.weights = weights.data();
  // Enqueued without error, or found out at once.
  (void)(*solver)->Solve({.problem = problem, .tiles = {&tile, 1}, .memory = MemorySpace::kDevice});
  for (int k = 0; k < 2; ++k) {
    const absl::Status status = (*solver)->Solve({.problem = problem, .tiles = {&good, 1}});
    if (!absl::IsUnavailable(status)) std::exit(2);
    if (!absl::IsUnavailable((*solver)->health())) std::exit(3);
  }
  std::exit(0);
}

TEST_F(HostMemoryTest, ADeviceThatFailedForGoodIsUnavailableAndSaysSo) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(LoseTheDevice(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace tsenor
