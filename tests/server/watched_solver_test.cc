#include "server/watched_solver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "solver/cpu/cpu_solver.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_solver.h"

namespace tsenor::server {
namespace {

using testing::FakeClock;
using testing::FakeSolver;
using ::testing::HasSubstr;

// Solves as the cpu backend does, or fails as told. Thread-safe.
class UnreliableSolver final : public Solver {
 public:
  const SolverInfo& info() const override { return solver_->info(); }
  absl::Status Solve(const Batch& batch) override {
    ++calls_;
    return fails_ ? absl::ResourceExhaustedError("no memory") : solver_->Solve(batch);
  }
  void Fail(bool fails) { fails_ = fails; }
  int calls() const { return calls_; }

 private:
  const std::unique_ptr<Solver> solver_ = *MakeCpuSolver({.threads = 1});
  std::atomic<bool> fails_ = false;
  std::atomic<int> calls_ = 0;
};

class CanaryObserver final : public Observer {
 public:
  void OnCanary(const std::string& /*backend*/) override { ++canaries; }
  std::atomic<int> canaries = 0;
};

class WatchedSolverTest : public ::testing::Test {
 protected:
  // Whether `condition` comes true within ten seconds.
  template <typename Condition>
  static bool Becomes(Condition condition) {
    for (int k = 0; k < 10'000 && !condition(); ++k) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return condition();
  }

  FakeClock clock_;
  CanaryObserver observer_;
  const CanaryConfig config_ = {.interval = std::chrono::milliseconds(1),
                                .timeout = std::chrono::seconds(60)};
};

TEST_F(WatchedSolverTest, ASolverThatAnswersIsAlive) {
  UnreliableSolver solver;
  const WatchedSolver watched(solver, config_, clock_, observer_);
  EXPECT_TRUE(Becomes([&] { return observer_.canaries >= 3; }));
  EXPECT_TRUE(watched.health().ok());
}

TEST_F(WatchedSolverTest, IsAskedNothingWithoutAnInterval) {
  UnreliableSolver solver;
  const WatchedSolver watched(solver, {.interval = Duration::zero()}, clock_, observer_);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(solver.calls(), 0);
  EXPECT_TRUE(watched.health().ok());
}

TEST_F(WatchedSolverTest, AWrongAnswerIsTheLast) {
  FakeSolver solver;  // keeps all
  const WatchedSolver watched(solver, config_, clock_, observer_);
  EXPECT_TRUE(Becomes([&] { return !watched.health().ok(); }));
  EXPECT_TRUE(absl::IsUnavailable(watched.health()));
  EXPECT_THAT(std::string(watched.health().message()),
              HasSubstr("fake: a wrong answer to a canary: its mask is wrong at row 0, column "));
  EXPECT_EQ(solver.calls().size(), 1u);
  EXPECT_EQ(observer_.canaries, 0);
}

TEST_F(WatchedSolverTest, ASolverThatHangsIsLostAfterTheTimeout) {
  FakeSolver solver;
  solver.Block();
  const WatchedSolver watched(solver, config_, clock_, observer_);
  ASSERT_TRUE(solver.WaitForCalls(1));
  clock_.Advance(std::chrono::seconds(60));
  EXPECT_TRUE(watched.health().ok());
  clock_.Advance(std::chrono::milliseconds(1));
  EXPECT_EQ(watched.health(),
            absl::UnavailableError("fake: no good answer to a canary for 60 s: it hangs"));
  solver.Unblock();
}

TEST_F(WatchedSolverTest, ErrorsAreForgivenUntilTheTimeout) {
  UnreliableSolver solver;
  solver.Fail(true);
  const WatchedSolver watched(solver, config_, clock_, observer_);
  EXPECT_TRUE(Becomes([&] { return solver.calls() >= 3; }));
  clock_.Advance(std::chrono::seconds(59));
  EXPECT_TRUE(watched.health().ok());
  solver.Fail(false);
  EXPECT_TRUE(Becomes([&] { return observer_.canaries >= 2; }));
  clock_.Advance(std::chrono::seconds(2));
  solver.Fail(true);
  const int calls = solver.calls();
  EXPECT_TRUE(Becomes([&] { return solver.calls() >= calls + 3; }));
  EXPECT_TRUE(watched.health().ok());
  clock_.Advance(std::chrono::seconds(61));
  EXPECT_EQ(watched.health(),
            absl::UnavailableError("cpu: no good answer to a canary for 60 s: no memory"));
  solver.Fail(false);
  const int canaries = observer_.canaries;
  EXPECT_TRUE(Becomes([&] { return !watched.health().ok(); }));
  EXPECT_LE(observer_.canaries, canaries + 1);  // once lost, always lost
}

TEST_F(WatchedSolverTest, TheSolversOwnWordCounts) {
  FakeSolver solver;
  const WatchedSolver watched(solver, {.interval = Duration::zero()}, clock_, observer_);
  solver.LoseDevice(absl::UnavailableError("device lost"));
  EXPECT_EQ(watched.health(), absl::UnavailableError("device lost"));
}

}  // namespace
}  // namespace tsenor::server
