// Thousands of tensors of which half are given up at any moment of their lives.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/engine.h"
#include "tests/support/fake_solver.h"

namespace tsenor::server {
namespace {

using testing::FakeSolver;

constexpr int kThreads = 4;
constexpr int kRequestsPerThread = 2500;
constexpr size_t kInFlightPerThread = 16;

// Counts what comes to nothing. Thread-safe.
class StormObserver final : public Observer {
 public:
  void OnQueueChange(int64_t elements, int64_t /*bytes*/) override { queued_elements += elements; }
  void OnBatch(const BatchReport& report) override {
    if (report.wasted_seconds > 0) ++wasteful_batches;
  }
  void OnDropped(DropReason reason) override {
    ++(reason == DropReason::kDeadline ? late_pieces : cancelled_pieces);
  }

  std::atomic<int64_t> queued_elements = 0;
  std::atomic<int> wasteful_batches = 0;
  std::atomic<int> cancelled_pieces = 0;
  std::atomic<int> late_pieces = 0;
};

// A client with its tensor at hand that gives up at its `patience`-th event, if it has so many: a
// message asked for, or a mask that arrived. Thread-safe.
class StormPeer final : public SessionPeer {
 public:
  StormPeer(int64_t rows, int patience) : weights_(static_cast<size_t>(rows) * 8, 1.0f) {
    spec_.rows = rows;
    spec_.columns = 8;
    spec_.problem.pattern = {1, 2};
    patience_ = patience;
  }

  void Run(std::shared_ptr<Session> session) {
    session_ = std::move(session);
    session_->Start();
  }
  void GiveUp() { session_->OnCancel(absl::CancelledError("storm")); }

  void Read() override {
    if (Event()) return;
    if (!header_sent_) {
      header_sent_ = true;
      return session_->OnHeader(spec_);
    }
    const auto bytes = std::as_bytes(std::span(weights_));
    const auto chunk = bytes.subspan(sent_, std::min<size_t>(1000, bytes.size() - sent_));
    const uint64_t offset = std::exchange(sent_, sent_ + chunk.size());
    chunk.empty() ? session_->OnHalfClose() : session_->OnChunk({offset, chunk, std::nullopt});
  }
  void Write(const MaskRows&) override {
    if (!Event()) session_->OnWriteDone();
  }
  void Finish(const Summary&) override { End(absl::StatusCode::kOk); }
  void Fail(const absl::Status& status) override { End(status.code()); }
  void Abandon() override {}

  // What the stream ended with; Unknown if it has not within twenty seconds.
  absl::StatusCode Wait() {
    std::unique_lock lock(mutex_);
    ended_.wait_for(lock, std::chrono::seconds(20), [this] { return end_.has_value(); });
    return end_.value_or(absl::StatusCode::kUnknown);
  }

 private:
  bool Event() {
    if (--patience_ != 0) return false;
    GiveUp();
    return true;
  }
  void End(absl::StatusCode code) {
    std::lock_guard lock(mutex_);
    EXPECT_FALSE(end_.has_value()) << "ended twice";
    end_ = code;
    ended_.notify_all();
  }

  TensorSpec spec_;
  const std::vector<float> weights_;
  std::shared_ptr<Session> session_;
  bool header_sent_ = false;
  size_t sent_ = 0;
  std::atomic<int> patience_;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::optional<absl::StatusCode> end_;  // guarded by mutex_
};

class StormTest : public ::testing::Test {
 protected:
  StormTest() {
    limits_.memory_budget_bytes = 1 << 20;
    limits_.piece_bytes = 8 << 10;
    limits_.stream_pieces = 4;
    solver_.mutable_info().batches_in_flight = 2;
    engine_.emplace(limits_, BatchConfig{.max_batch_elements = 8 << 10},
                    std::vector<Solver*>{&solver_}, clock_, observer_);
  }

  // Of ten tensors, four are given up at an event of theirs, one may be from outside at any time,
  // one has a deadline that may come before it is solved; four are to be solved.
  void Storm(int thread) {
    std::mt19937 random(static_cast<unsigned>(thread));
    std::deque<std::pair<std::unique_ptr<StormPeer>, int>> in_flight;
    for (int k = 0; k < kRequestsPerThread; ++k) {
      const int kind = k % 10;
      const int64_t rows = 2 * (1 + static_cast<int64_t>(random() % 400));
      // As many events as there are messages to ask for: header, chunks, half-close.
      const int events = 2 + static_cast<int>(rows * 32 + 999) / 1000;
      const int patience =
          kind < 4 ? 1 + static_cast<int>(random() % static_cast<unsigned>(events)) : 1 << 30;
      auto peer = std::make_unique<StormPeer>(rows, patience);
      const Time deadline =
          kind == 5 ? clock_.Now() + std::chrono::microseconds(random() % 500) : Time::max();
      auto session = engine_->Admit(*peer, "client" + std::to_string(thread), deadline);
      ASSERT_TRUE(session.ok()) << session.status();
      peer->Run(*std::move(session));
      in_flight.emplace_back(std::move(peer), kind);
      const auto& [other, other_kind] = in_flight[random() % in_flight.size()];
      if (other_kind == 4) other->GiveUp();
      if (in_flight.size() == kInFlightPerThread) Check(in_flight);
    }
    while (!in_flight.empty()) Check(in_flight);
  }

  // Waits for the first of them, which is gone then.
  template <typename InFlight>
  void Check(InFlight& in_flight) {
    auto [peer, kind] = std::move(in_flight.front());
    in_flight.pop_front();
    const absl::StatusCode code = peer->Wait();
    const bool may_be_cancelled = kind < 5;
    EXPECT_TRUE(code == absl::StatusCode::kOk ||
                (may_be_cancelled && code == absl::StatusCode::kCancelled) ||
                (kind == 5 && code == absl::StatusCode::kDeadlineExceeded))
        << absl::StatusCodeToString(code);
    if (code != absl::StatusCode::kOk) ++given_up_;
  }

  const SteadyClock clock_;
  StormObserver observer_;
  FakeSolver solver_;
  Limits limits_;
  std::optional<Engine> engine_;
  std::atomic<int> given_up_ = 0;
};

TEST_F(StormTest, TenThousandTensorsOfWhichHalfAreGivenUpLeaveNothingBehind) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread)
    threads.emplace_back([=, this] { Storm(thread); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(engine_->WaitUntilQuiet(std::chrono::seconds(10)));
  engine_->Stop();
  EXPECT_EQ(engine_->budget().used(), 0);
  EXPECT_EQ(observer_.queued_elements, 0);
  // The storm was one, and the work that it cost is counted.
  EXPECT_GE(given_up_, kThreads * kRequestsPerThread * 4 / 10);
  EXPECT_GT(observer_.cancelled_pieces, 0);
  EXPECT_GT(observer_.late_pieces, 0);
  EXPECT_GT(observer_.wasteful_batches, 0);
}

}  // namespace
}  // namespace tsenor::server
