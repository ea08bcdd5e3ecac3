// The backend keeps the device memory that it has had, and takes no more: 10,000 solves of mixed
// shapes.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "tests/gpu/cuda_test.h"
#include "tests/gpu/on_device.h"
#include "tests/support/generators.h"

namespace tsenor {
namespace {

struct Case {
  Pattern pattern;
  int64_t rows, columns;
  Method method = Method::kOptimal;
};

constexpr Case kCases[] = {
    {{2, 4}, 36, 100},  {{2, 4}, 4, 20000},    {{4, 8}, 40, 72},
    {{8, 16}, 16, 320}, {{16, 32}, 96, 64},    {{16, 32}, 1, 1},
    {{5, 12}, 30, 50},  {{32, 64}, 64, 128},   {{20, 80}, 80, 160},
    {{0, 8}, 16, 16},   {{64, 128}, 128, 128}, {{8, 16}, 64, 64, Method::kTwoApprox},
};

class MemoryGrowthTest : public CudaTest {
 protected:
  // Solve number `k`: every case from host memory, then every case in device memory, and so on.
  void Solve(int64_t k) {
    const int64_t cases = std::size(kCases);
    const Case& test = kCases[k % cases];
    Problem problem;
    problem.pattern = test.pattern;
    problem.options.method = test.method;
    if (k / cases % 2 == 0) {
      SolveWholeMatrix(cuda(), problem, weights_.data(), test.rows, test.columns);
      return;
    }
    const Tile tile = {.weights = weights_on_device_->data(),
                       .row_stride = test.columns,
                       .rows = test.rows,
                       .columns = test.columns,
                       .mask = mask_->data(),
                       .mask_row_stride = MaskRowBytes(test.columns),
                       .stats = stats_->data()};
    const absl::Status status =
        cuda().Solve({.problem = problem, .tiles = {&tile, 1}, .memory = MemorySpace::kDevice});
    ASSERT_TRUE(status.ok()) << status.ToString();
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  }

  static size_t FreeBytes() {
    size_t free = 0, total = 0;
    EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
    return free;
  }

  void SetUp() override {
    CudaTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    int64_t elements = 0;
    for (const Case& test : kCases) elements = std::max(elements, test.rows * test.columns);
    weights_ = GenerateWeights(WeightKind::kGaussian, 1, elements, 1);
    weights_on_device_.emplace(weights_);
    mask_.emplace(std::vector<uint8_t>(elements));
    stats_.emplace(std::vector<SolveStats>(elements));
  }

 private:
  std::vector<float> weights_;
  std::optional<OnDevice<float>> weights_on_device_;
  std::optional<OnDevice<uint8_t>> mask_;
  std::optional<OnDevice<SolveStats>> stats_;
};

TEST_F(MemoryGrowthTest, TenThousandSolvesOfMixedShapesTakeNoMoreDeviceMemoryThanTheFirstOnes) {
  constexpr int64_t kSolves = 10'000, kFirst = 4 * std::size(kCases);
  for (int64_t k = 0; k < kFirst; ++k) ASSERT_NO_FATAL_FAILURE(Solve(k));
  const size_t free = FreeBytes();
  for (int64_t k = kFirst; k < kSolves; ++k) ASSERT_NO_FATAL_FAILURE(Solve(k));
  EXPECT_GE(FreeBytes(), free);
}

}  // namespace
}  // namespace tsenor
