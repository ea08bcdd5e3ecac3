// The figures of the TSENOR paper (arXiv 2505.23949) come out again: errors against the proven
// optimum on Gaussian weights, and the order of the methods.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>

#include "tests/solver/backends.h"
#include "tests/support/generators.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {
namespace {

constexpr struct {
  Method method;
  const char* name;
} kMethods[] = {{Method::kOptimal, "OPTIMAL"},
                {Method::kTsenor, "TSENOR"},
                {Method::kTwoApprox, "TWO_APPROX"},
                {Method::kBiNm, "BI_NM"},
                {Method::kMaxRandom, "MAX_RANDOM"}};

// Relative errors by method: T = 300, tau max = 200, L = 10; 1000 samples. Prints them, and the
// share of blocks in which some line keeps fewer than n.
std::map<Method, double> Errors(Pattern pattern) {
  constexpr int kEdge = 512;  // 256 blocks of 32 x 32: errors within some percent of their mean
  const auto weights = GenerateWeights(WeightKind::kGaussian, kEdge, kEdge, 42);
  const auto solver = MakeCpuSolverWithThreads(2);
  std::map<Method, double> errors;
  for (const auto& [method, name] : kMethods) {
    Problem problem;
    problem.pattern = pattern;
    problem.options.method = method;
    const SolveStats stats =
        SolveWholeMatrix(*solver, problem, weights.data(), kEdge, kEdge).Total();
    errors[method] = stats.relative_gap();
    std::printf("%2d:%d  %-10s  error %6.3f %%  blocks short %5.1f %%\n", pattern.n, pattern.m,
                name, 100 * stats.relative_gap(),
                100 * static_cast<double>(stats.blocks_short) / static_cast<double>(stats.blocks));
  }
  return errors;
}

void ExpectThePapersOrder(std::map<Method, double> errors) {
  EXPECT_LT(errors[Method::kOptimal], 1e-9);
  EXPECT_LT(errors[Method::kTsenor], errors[Method::kTwoApprox]);
  EXPECT_LT(errors[Method::kTwoApprox], errors[Method::kBiNm]);
  EXPECT_LT(errors[Method::kBiNm], errors[Method::kMaxRandom]);
}

TEST(PaperTest, TsenorIsAboutATenthOfAPercentOffAt16Of32) {
  const auto errors = Errors({16, 32});
  ExpectThePapersOrder(errors);
  EXPECT_GT(errors.at(Method::kTsenor), 0.0007);
  EXPECT_LT(errors.at(Method::kTsenor), 0.0014);
}

TEST(PaperTest, TsenorIsAboutASixthOfAPercentOffAt8Of32) {
  const auto errors = Errors({8, 32});
  ExpectThePapersOrder(errors);
  EXPECT_GT(errors.at(Method::kTsenor), 0.0012);
  EXPECT_LT(errors.at(Method::kTsenor), 0.0023);
}

TEST(PaperTest, TheMethodsKeepTheirOrderAt8Of16) { ExpectThePapersOrder(Errors({8, 16})); }

}  // namespace
}  // namespace tsenor
