#include "server/null_solver.h"

#include <gtest/gtest.h>

#include <vector>

namespace tsenor::server {
namespace {

TEST(NullSolver, KeepsNothingAndSaysSo) {
  const auto solver = MakeNullSolver();
  EXPECT_EQ(solver->info().name, "null");
  for (const Method method : kAllMethods) {
    Problem problem;
    problem.pattern = {.n = 2, .m = 4};
    problem.options.method = method;
    const std::vector<float> weights(8 * 12, 3.0e38f);
    const auto result = SolveMatrix(*solver, problem, weights.data(), 8, 12);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->mask, std::vector<uint8_t>(8 * 2));
    const SolveStats& stats = result->stats;
    EXPECT_EQ(stats.value, 0);
    EXPECT_EQ(stats.kept, 0);
    EXPECT_EQ(stats.blocks, 6);
    EXPECT_EQ(stats.blocks_short, 6);
    EXPECT_EQ(stats.blocks_proven, 0);
    EXPECT_EQ(stats.relative_gap(), 1);
    EXPECT_GE(stats.bound, 6 * 8 * 3.0e38) << "a bound holds";
  }
}

}  // namespace
}  // namespace tsenor::server
