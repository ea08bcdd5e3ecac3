#include "server/solve_cost.h"

#include <gtest/gtest.h>

namespace tsenor::server {
namespace {

Problem Of(int n, int m) {
  Problem problem;
  problem.pattern = {n, m};
  return problem;
}

TEST(SolveCost, IsNotKnownBeforeTheFirstBatch) {
  SolveCost cost;
  EXPECT_EQ(cost.seconds_per_element(Of(2, 4)), 0);
  cost.Record(Of(2, 4), 100, 2.0);
  EXPECT_DOUBLE_EQ(cost.seconds_per_element(Of(2, 4)), 0.02);
  EXPECT_EQ(cost.seconds_per_element(Of(4, 8)), 0);
}

TEST(SolveCost, LargeBatchesCountMost) {
  SolveCost cost;
  cost.Record(Of(2, 4), 1'000'000, 1e-2);
  cost.Record(Of(2, 4), 10, 1e-4);  // a thousand times dearer, for want of weights
  EXPECT_NEAR(cost.seconds_per_element(Of(2, 4)), 1e-8, 2e-10);
}

TEST(SolveCost, FollowsAChangeWithinAFewBatches) {
  SolveCost cost;
  for (int k = 0; k < 20; ++k) cost.Record(Of(2, 4), 1000, 1.0);
  for (int k = 0; k < 8; ++k) cost.Record(Of(2, 4), 1000, 5.0);
  EXPECT_NEAR(cost.seconds_per_element(Of(2, 4)), 5e-3, 5e-4);
}

TEST(SolveCost, KnowsABoundedNumberOfProblems) {
  SolveCost cost;
  Problem problem = Of(2, 4);
  problem.options.method = Method::kTsenor;
  for (size_t k = 0; k <= SolveCost::kMaxProblems; ++k) {
    problem.options.tsenor.tau = 1.0 + static_cast<double>(k);
    cost.Record(problem, 1, 1.0);
  }
  EXPECT_EQ(cost.seconds_per_element(problem), 1.0);
  problem.options.tsenor.tau = 1.0;
  EXPECT_EQ(cost.seconds_per_element(problem), 0);  // forgotten
}

}  // namespace
}  // namespace tsenor::server
