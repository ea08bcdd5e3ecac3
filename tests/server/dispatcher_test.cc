#include "server/dispatcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "tests/server/piece_fixture.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_solver.h"

namespace tsenor::server {
namespace {

using ::testing::ElementsAre;
using testing::FakeClock;
using testing::FakeSolver;

constexpr Duration kOneSecond = std::chrono::seconds(1);

// Thread-safe.
class CountingObserver final : public Observer {
 public:
  void OnQueueChange(int64_t elements, int64_t bytes) override {
    std::lock_guard lock(mutex_);
    queued_elements_ += elements;
    queued_bytes_ += bytes;
  }
  void OnStages(Stage stage, std::span<const double> seconds) override {
    std::lock_guard lock(mutex_);
    for (const double piece : seconds) {
      if (stage == Stage::kQueue) queue_seconds_ += piece;
      if (stage == Stage::kSolve) solve_seconds_ += piece;
    }
  }
  void OnDropped(DropReason reason) override {
    std::lock_guard lock(mutex_);
    dropped_.push_back(reason);
  }
  void OnBatch(const BatchReport& report) override {
    std::lock_guard lock(mutex_);
    batches_.push_back(report);
  }
  void OnSolverLost(const std::string& backend) override {
    std::lock_guard lock(mutex_);
    lost_.push_back(backend);
  }

  std::mutex mutex_;
  int64_t queued_elements_ = 0;
  int64_t queued_bytes_ = 0;
  double queue_seconds_ = 0;
  double solve_seconds_ = 0;
  std::vector<DropReason> dropped_;
  std::vector<BatchReport> batches_;
  std::vector<std::string> lost_;
};

// Takes its pieces back one by one, and its time. Thread-safe.
class BusyOwner final : public PieceOwner {
 public:
  bool dead() const override { return false; }
  void OnPieceRead(std::unique_ptr<Piece> /*piece*/, absl::Status /*status*/) override {}
  void OnPieceDone(std::unique_ptr<Piece> /*piece*/, absl::Status /*status*/) override {
    std::unique_lock lock(mutex_);
    busy_ = true;
    changed_.notify_all();
    changed_.wait_for(lock, std::chrono::seconds(10), [this] { return goes_on_; });
    ++count_;
  }
  void OnSolverLost(absl::Status /*why*/) override {}

  // False: it was not within ten seconds.
  bool WaitUntilBusy() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [this] { return busy_; });
  }
  void GoOn() {
    const std::lock_guard lock(mutex_);
    goes_on_ = true;
    changed_.notify_all();
  }
  int count() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool busy_ = false;
  bool goes_on_ = false;
  int count_ = 0;
};

class DispatcherTest : public ::testing::Test {
 protected:
  void Start(int64_t max_batch_elements = 1 << 20) {
    Solver* const solvers[] = {&solver_};
    dispatcher_.emplace(solvers, BatchConfig{.max_batch_elements = max_batch_elements}, clock_,
                        observer_);
  }
  std::unique_ptr<Piece> Make(int64_t columns) {
    return MakePiece(owner_, budget_, columns, clock_.Now());
  }
  // Keeps the one worker busy until solver_.Unblock().
  void Occupy() {
    solver_.Block();
    dispatcher_->Submit(Make(1));
    ASSERT_TRUE(solver_.WaitForCalls(1));
  }

  FakeClock clock_;
  CountingObserver observer_;
  MemoryBudget budget_{1 << 20, observer_, clock_, Duration::zero()};
  FakeSolver solver_;
  std::shared_ptr<FakeOwner> owner_ = std::make_shared<FakeOwner>();
  std::optional<Dispatcher> dispatcher_;
};

TEST_F(DispatcherTest, AnIdleWorkerSolvesAtOnce) {
  Start();
  dispatcher_->Submit(Make(8));
  ASSERT_TRUE(owner_->WaitForPieces(1));
  const Piece& piece = *owner_->pieces()[0];
  EXPECT_TRUE(owner_->statuses()[0].ok());
  EXPECT_EQ(piece.mask.bytes()[0], std::byte{0xff});
  EXPECT_EQ(piece.stats[0].kept, 16);
  EXPECT_EQ(piece.backend, "fake");
  EXPECT_EQ(piece.owner, nullptr);
  // The weights are gone, and so is their share of the budget.
  EXPECT_TRUE(piece.weights.bytes().empty());
  EXPECT_EQ(budget_.used(), piece.mask_bytes());
}

TEST_F(DispatcherTest, WhatArrivesWhileTheWorkerIsBusyIsOneBatch) {
  Start();
  Occupy();
  auto second = std::make_shared<FakeOwner>();
  auto third = std::make_shared<FakeOwner>();
  dispatcher_->Submit(Make(4));
  dispatcher_->Submit(MakePiece(second, budget_, 6, clock_.Now()));
  dispatcher_->Submit(MakePiece(third, budget_, 8, clock_.Now()));
  EXPECT_EQ(observer_.queued_elements_, 36);
  solver_.Unblock();
  ASSERT_TRUE(owner_->WaitForPieces(2));
  ASSERT_TRUE(second->WaitForPieces(1));
  ASSERT_TRUE(third->WaitForPieces(1));
  const auto calls = solver_.calls();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_THAT(calls[1].tile_columns, ElementsAre(4, 6, 8));
  dispatcher_->Stop();
  EXPECT_EQ(observer_.queued_elements_, 0);
  EXPECT_EQ(observer_.queued_bytes_, 0);
  EXPECT_EQ(observer_.batches_[1].pieces, 3);
  EXPECT_EQ(observer_.batches_[1].elements, 36);
}

// Sending masks takes longer than solving small tensors.
TEST_F(DispatcherTest, TheNextBatchIsSolvedWhileTheLastOneIsOnItsWayBack) {
  Start();
  Occupy();
  auto busy = std::make_shared<BusyOwner>();
  for (int k = 0; k < 2; ++k) {
    dispatcher_->Submit(MakePiece(busy, budget_, 4, clock_.Now()));
  }
  solver_.Unblock();
  ASSERT_TRUE(busy->WaitUntilBusy());
  dispatcher_->Submit(Make(8));
  EXPECT_TRUE(owner_->WaitForPieces(2));
  busy->GoOn();
  dispatcher_->Stop();  // waits for them
  EXPECT_EQ(busy->count(), 2);
}

TEST_F(DispatcherTest, BatchesAreNoLargerThanConfigured) {
  Start(/*max_batch_elements=*/20);
  Occupy();
  for (int k = 0; k < 3; ++k) dispatcher_->Submit(Make(4));
  solver_.Unblock();
  ASSERT_TRUE(owner_->WaitForPieces(4));
  const auto calls = solver_.calls();
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_THAT(calls[1].tile_columns, ElementsAre(4, 4));
  EXPECT_THAT(calls[2].tile_columns, ElementsAre(4));
}

TEST_F(DispatcherTest, BatchesTakeNoLongerThanConfiguredByWhatTheLastOnesTook) {
  Solver* const solvers[] = {&solver_};
  dispatcher_.emplace(solvers,
                      BatchConfig{.max_batch_elements = 1 << 20, .max_batch_time = kOneSecond},
                      clock_, observer_);
  solver_.Block();
  dispatcher_->Submit(Make(8));
  ASSERT_TRUE(solver_.WaitForCalls(1));
  for (int k = 0; k < 5; ++k) dispatcher_->Submit(Make(4));
  clock_.Advance(kOneSecond);  // for 16 weights
  solver_.Unblock();
  ASSERT_TRUE(owner_->WaitForPieces(6));
  dispatcher_->Stop();
  const auto calls = solver_.calls();
  ASSERT_GE(calls.size(), 2u);
  EXPECT_THAT(calls[1].tile_columns, ElementsAre(4, 4));  // 16 weights again
  // Batches of 16, 16 and 24 took 1, 0 and 0 s, of which the last counts most: 80 a second.
  EXPECT_EQ(dispatcher_->MaxPieceElements(Make(4)->problem), 8 * 80);
  EXPECT_EQ(observer_.batches_[1].full_elements, 16);
}

TEST_F(DispatcherTest, DropsDeadWorkBeforeTheSolverSeesIt) {
  Start();
  Occupy();
  auto doomed = std::make_shared<FakeOwner>();
  dispatcher_->Submit(MakePiece(doomed, budget_, 6, clock_.Now()));
  dispatcher_->DropDead();
  EXPECT_EQ(doomed->count(), 0u);
  doomed->Die();
  dispatcher_->DropDead();  // while the worker is busy
  ASSERT_EQ(doomed->count(), 1u);
  EXPECT_TRUE(absl::IsCancelled(doomed->statuses()[0]));
  solver_.Unblock();
  dispatcher_->Stop();
  EXPECT_EQ(solver_.calls().size(), 1u);
  EXPECT_THAT(observer_.dropped_, ElementsAre(DropReason::kCancelled));
}

TEST_F(DispatcherTest, CountsTheTimeThatWasSpentOnDeadWork) {
  Start(/*max_batch_elements=*/20);
  Occupy();
  auto alive = std::make_shared<FakeOwner>();
  dispatcher_->Submit(MakePiece(alive, budget_, 6, clock_.Now()));
  owner_->Die();  // too late: a solver has its piece
  clock_.Advance(std::chrono::seconds(2));
  solver_.Unblock();
  ASSERT_TRUE(alive->WaitForPieces(1));
  dispatcher_->Stop();
  ASSERT_EQ(observer_.batches_.size(), 2u);
  EXPECT_EQ(observer_.batches_[0].seconds, 2);
  EXPECT_EQ(observer_.batches_[0].wasted_seconds, 2);
  EXPECT_EQ(observer_.batches_[0].full_elements, 20);
  EXPECT_EQ(observer_.batches_[1].wasted_seconds, 0);
}

TEST_F(DispatcherTest, DropsWorkWhoseDeadlineCameWhileItWaited) {
  Start();
  Occupy();
  auto piece = Make(6);
  piece->deadline = clock_.Now() + std::chrono::seconds(1);
  dispatcher_->Submit(std::move(piece));
  clock_.Advance(std::chrono::seconds(2));
  solver_.Unblock();
  ASSERT_TRUE(owner_->WaitForPieces(2));
  dispatcher_->Stop();
  EXPECT_EQ(solver_.calls().size(), 1u);
  EXPECT_TRUE(absl::IsDeadlineExceeded(owner_->statuses()[1]));
  EXPECT_THAT(observer_.dropped_, ElementsAre(DropReason::kDeadline));
}

TEST_F(DispatcherTest, AFailedBatchFailsEachOfItsPieces) {
  Start();
  Occupy();
  solver_.FailWith(absl::UnavailableError("device lost"));
  dispatcher_->Submit(Make(4));
  dispatcher_->Submit(Make(6));
  solver_.Unblock();
  ASSERT_TRUE(owner_->WaitForPieces(3));
  dispatcher_->Stop();
  for (const absl::Status& status : owner_->statuses()) {
    EXPECT_EQ(status, absl::UnavailableError("device lost"));
  }
}

TEST_F(DispatcherTest, StopHandsBackWhatIsQueuedAndWhatComesLater) {
  Start();
  Occupy();
  dispatcher_->Submit(Make(4));
  std::thread stop([this] { dispatcher_->Stop(); });
  ASSERT_TRUE(owner_->WaitForPieces(1));
  EXPECT_TRUE(absl::IsUnavailable(owner_->statuses()[0]));
  solver_.Unblock();
  stop.join();
  dispatcher_->Submit(Make(4));
  ASSERT_EQ(owner_->count(), 3u);
  EXPECT_TRUE(owner_->statuses()[1].ok());  // what was being solved is finished
  EXPECT_TRUE(absl::IsUnavailable(owner_->statuses()[2]));
  EXPECT_THAT(observer_.dropped_, ElementsAre(DropReason::kShutdown, DropReason::kShutdown));
}

TEST_F(DispatcherTest, ASolverThatIsLostLeavesTheWorkToTheOthers) {
  FakeSolver other;
  other.mutable_info().name = "other";
  Solver* const solvers[] = {&solver_, &other};
  dispatcher_.emplace(solvers, BatchConfig{.max_batch_elements = 1}, clock_, observer_);
  solver_.Block();
  other.Block();
  dispatcher_->Submit(Make(4));
  dispatcher_->Submit(Make(4));
  ASSERT_TRUE(solver_.WaitForCalls(1));
  ASSERT_TRUE(other.WaitForCalls(1));
  for (int k = 0; k < 3; ++k) dispatcher_->Submit(Make(4));
  solver_.LoseDevice(absl::UnavailableError("device lost"));
  solver_.Unblock();
  other.Unblock();
  ASSERT_TRUE(owner_->WaitForPieces(5));
  dispatcher_->Stop();
  EXPECT_EQ(solver_.calls().size(), 1u);
  EXPECT_EQ(other.calls().size(), 4u);
  EXPECT_EQ(std::count(owner_->statuses().begin(), owner_->statuses().end(), absl::OkStatus()), 4);
  EXPECT_THAT(observer_.lost_, ElementsAre("fake"));
}

TEST_F(DispatcherTest, OwnersOfABatchInWhichALostSolverHangsAreTold) {
  FakeSolver other;
  Solver* const solvers[] = {&solver_, &other};
  dispatcher_.emplace(solvers, BatchConfig{.max_batch_elements = 1}, clock_, observer_);
  solver_.Block();
  other.Block();
  auto second = std::make_shared<FakeOwner>();
  dispatcher_->Submit(Make(4));
  dispatcher_->Submit(MakePiece(second, budget_, 4, clock_.Now()));
  ASSERT_TRUE(solver_.WaitForCalls(1));
  ASSERT_TRUE(other.WaitForCalls(1));
  solver_.LoseDevice(absl::UnavailableError("it hangs"));
  for (int k = 0; k < 2; ++k) dispatcher_->CheckSolvers();
  std::vector<absl::Status> losses = owner_->losses();
  for (const absl::Status& loss : second->losses()) losses.push_back(loss);
  EXPECT_THAT(losses, ElementsAre(absl::UnavailableError("it hangs")));
  // The other one carries on until it is lost, too.
  other.Unblock();
  dispatcher_->Submit(Make(4));
  EXPECT_TRUE(other.WaitForCalls(2));
  other.Block();
  dispatcher_->Submit(Make(4));
  ASSERT_TRUE(other.WaitForCalls(3));
  dispatcher_->Submit(MakePiece(second, budget_, 4, clock_.Now()));
  other.LoseDevice(absl::UnavailableError("it hangs, too"));
  dispatcher_->CheckSolvers();
  ASSERT_TRUE(second->WaitForPieces(1));  // out of the queue
  EXPECT_THAT(std::string(second->statuses().back().message()),
              ::testing::StartsWith("every device of this server has failed"));
  EXPECT_EQ(observer_.lost_.size(), 2u);
  solver_.Unblock();
  other.Unblock();
  dispatcher_->Stop();
}

TEST_F(DispatcherTest, WithoutAnySolverLeftAllWorkIsUnavailable) {
  Start();
  Occupy();
  dispatcher_->Submit(Make(4));
  solver_.LoseDevice(absl::UnavailableError("device lost"));
  solver_.Unblock();
  ASSERT_TRUE(owner_->WaitForPieces(2));
  dispatcher_->Submit(Make(4));
  ASSERT_TRUE(owner_->WaitForPieces(3));
  EXPECT_EQ(owner_->statuses()[0], absl::UnavailableError("device lost"));
  for (const int k : {1, 2}) {
    EXPECT_EQ(owner_->statuses()[k],
              absl::UnavailableError("every device of this server has failed; retry elsewhere"));
  }
  dispatcher_->Stop();
  EXPECT_EQ(solver_.calls().size(), 1u);
  EXPECT_EQ(observer_.queued_elements_, 0);
}

TEST_F(DispatcherTest, KeepsAsManyBatchesInFlightAsTheSolverWants) {
  solver_.mutable_info().batches_in_flight = 2;
  Start();
  solver_.Block();
  dispatcher_->Submit(Make(4));
  ASSERT_TRUE(solver_.WaitForCalls(1));
  dispatcher_->Submit(Make(6));
  EXPECT_TRUE(solver_.WaitForCalls(2));
  solver_.Unblock();
  EXPECT_TRUE(owner_->WaitForPieces(2));
}

TEST_F(DispatcherTest, ABatchThatWaitsForItsDeviceIsQueuedAndNotSolved) {
  solver_.mutable_info().batches_in_flight = 2;
  Start();
  solver_.Block();
  dispatcher_->Submit(Make(4));
  ASSERT_TRUE(solver_.WaitForCalls(1));
  dispatcher_->Submit(Make(6));
  ASSERT_TRUE(solver_.WaitForCalls(2));
  clock_.Advance(std::chrono::seconds(1));
  solver_.Unblock();
  ASSERT_TRUE(owner_->WaitForPieces(2));
  dispatcher_->Stop();
  // Two batches in one second: the device was busy for one, the other waited for it.
  EXPECT_DOUBLE_EQ(observer_.batches_[0].seconds + observer_.batches_[1].seconds, 1);
  EXPECT_DOUBLE_EQ(observer_.solve_seconds_, 1);
  EXPECT_DOUBLE_EQ(observer_.queue_seconds_, 1);
}

}  // namespace
}  // namespace tsenor::server
