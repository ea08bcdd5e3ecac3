// The CPU backend computes the same bits on every instruction set that this machine has.

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <string>
#include <vector>

#include "solver/limits.h"
#include "solver/options.h"
#include "solver/problem.h"
#include "tests/solver/backends.h"
#include "tests/solver/forced_target.h"
#include "tests/support/generators.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {
namespace {

class InstructionSetTest : public testing::TestWithParam<Pattern> {
 protected:
  // All instruction sets answer the same bits on `count` blocks of every kind of weights.
  void ExpectSameBits(const SolveOptions& options, int64_t count) {
    const std::vector<int64_t> targets = Targets();
    ASSERT_GE(targets.size(), 2) << "this machine has no vectors to compare with";
    const Problem problem = {.pattern = GetParam(), .options = options};
    const int m = problem.pattern.m;
    for (const WeightKind kind : kAllWeightKinds) {
      const std::vector<float> weights = GenerateBlocks(kind, m, count, 11);
      std::vector<SolvedMatrix> answers;
      for (const int64_t target : targets) {
        const ForcedTarget forced(target);
        answers.push_back(
            SolveWholeMatrix(*MakeCpuSolverWithThreads(1), problem, weights.data(), m, m * count));
      }
      for (size_t k = 1; k < answers.size(); ++k) {
        const std::string what = Name(kind) + ", " + hwy::TargetName(targets[k]);
        EXPECT_EQ(answers[k].mask, answers[0].mask) << what;
        EXPECT_EQ(answers[k].potentials, answers[0].potentials) << what;
        EXPECT_EQ(answers[k].Total().value, answers[0].Total().value) << what;
        EXPECT_EQ(answers[k].Total().bound, answers[0].Total().bound) << what;
        EXPECT_EQ(answers[k].Total().augmentations, answers[0].Total().augmentations) << what;
      }
    }
  }
};

TEST_P(InstructionSetTest, EveryMethodAnswersTheSameBits) {
  for (const Method method : kAllMethods) {
    SolveOptions options;
    options.method = method;
    options.tsenor.iterations = 20;  // enough to differ, if anything did
    ExpectSameBits(options, 6);
  }
}

TEST_P(InstructionSetTest, ThePublishedMethodAnswersTheSameBits) {
  SolveOptions options;
  options.method = Method::kTsenor;
  for (const TsenorOptions& tsenor : {
           TsenorOptions{.iterations = 1, .swaps = 0},
           TsenorOptions{.tau = 0.5, .iterations = 2, .swaps = kMaxSwaps},
           TsenorOptions{.tau = kMaxTau, .iterations = 35},
       }) {
    SCOPED_TRACE(tsenor.tau);
    options.tsenor = tsenor;
    ExpectSameBits(options, 2);
  }
}

INSTANTIATE_TEST_SUITE_P(Patterns, InstructionSetTest,
                         testing::Values(Pattern{0, 1}, Pattern{1, 2}, Pattern{1, 3}, Pattern{2, 4},
                                         Pattern{2, 5}, Pattern{5, 6}, Pattern{3, 7}, Pattern{4, 8},
                                         Pattern{5, 12}, Pattern{8, 16}, Pattern{10, 20},
                                         Pattern{16, 32}, Pattern{1, 32}, Pattern{40, 64},
                                         Pattern{30, 96}, Pattern{64, 128}),
                         [](const auto& test) {
                           return std::to_string(test.param.n) + "of" +
                                  std::to_string(test.param.m);
                         });

}  // namespace
}  // namespace tsenor
