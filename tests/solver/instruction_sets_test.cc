// The CPU backend computes the same bits on every instruction set that this machine has.

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <string>
#include <vector>

#include "solver/problem.h"
#include "tests/solver/backends.h"
#include "tests/solver/forced_target.h"
#include "tests/support/generators.h"
#include "tests/support/solved_matrix.h"

namespace tsenor {
namespace {

class InstructionSetTest : public testing::TestWithParam<Pattern> {};

TEST_P(InstructionSetTest, AnswersTheSameBits) {
  const Pattern pattern = GetParam();
  const std::vector<int64_t> targets = Targets();
  ASSERT_GE(targets.size(), 2) << "this machine has no vectors to compare with";
  for (const WeightKind kind : kAllWeightKinds) {
    const int64_t count = 6;
    const std::vector<float> weights = GenerateBlocks(kind, pattern.m, count, 11);
    for (const Method method : kAllMethods) {
      Problem problem;
      problem.pattern = pattern;
      problem.options.method = method;
      problem.options.tsenor.iterations = 20;  // enough to differ, if anything did
      std::vector<SolvedMatrix> answers;
      for (const int64_t target : targets) {
        const ForcedTarget forced(target);
        answers.push_back(SolveWholeMatrix(*MakeCpuSolverWithThreads(1), problem, weights.data(),
                                           pattern.m, pattern.m * count));
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
}

INSTANTIATE_TEST_SUITE_P(Patterns, InstructionSetTest,
                         testing::Values(Pattern{2, 4}, Pattern{3, 7}, Pattern{4, 8},
                                         Pattern{8, 16}, Pattern{10, 20}, Pattern{16, 32},
                                         Pattern{1, 32}, Pattern{40, 64}, Pattern{64, 128}),
                         [](const auto& test) {
                           return std::to_string(test.param.n) + "of" +
                                  std::to_string(test.param.m);
                         });

}  // namespace
}  // namespace tsenor
