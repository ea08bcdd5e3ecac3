#include "server/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/fake_clock.h"
#include "tests/support/fake_solver.h"

namespace tsenor::server {
namespace {

using testing::FakeClock;
using testing::FakeSolver;
using ::testing::UnorderedElementsAre;

// A client with all of its tensor at hand. It answers from the session's own threads, as a
// transport would. Thread-safe.
class WholeTensorPeer final : public SessionPeer {
 public:
  WholeTensorPeer(TensorSpec spec, std::vector<float> weights, size_t chunk_bytes)
      : spec_(std::move(spec)), weights_(std::move(weights)), chunk_bytes_(chunk_bytes) {}

  void Run(std::shared_ptr<Session> session) {
    session_ = std::move(session);
    session_->Start();
  }

  void Read() override {
    if (!header_sent_) {
      header_sent_ = true;
      return session_->OnHeader(spec_);
    }
    const auto bytes = std::as_bytes(std::span(weights_));
    if (sent_ == bytes.size()) return session_->OnHalfClose();
    const size_t offset = sent_;
    const size_t count = std::min(chunk_bytes_, bytes.size() - offset);
    sent_ += count;
    session_->OnChunk({offset, bytes.subspan(offset, count), std::nullopt});
  }
  void Write(const MaskRows& rows) override {
    mask_.insert(mask_.end(), rows.bytes.begin(), rows.bytes.end());
    session_->OnWriteDone();
  }
  void Finish(const Summary& summary) override {
    std::lock_guard lock(mutex_);
    summary_ = summary;
    done_.notify_all();
  }
  void Fail(const absl::Status& status) override {
    std::lock_guard lock(mutex_);
    failure_ = status;
    done_.notify_all();
  }
  void Abandon() override {}

  // False: it did not end within ten seconds.
  bool Wait() {
    std::unique_lock lock(mutex_);
    return done_.wait_for(lock, std::chrono::seconds(10),
                          [this] { return summary_.has_value() || failure_.has_value(); });
  }
  // REQUIRES: Wait() returned true.
  const std::vector<std::byte>& mask() const { return mask_; }
  const std::optional<Summary>& summary() const { return summary_; }
  const std::optional<absl::Status>& failure() const { return failure_; }

 private:
  const TensorSpec spec_;
  const std::vector<float> weights_;
  const size_t chunk_bytes_;
  std::shared_ptr<Session> session_;
  bool header_sent_ = false;
  size_t sent_ = 0;
  std::vector<std::byte> mask_;
  std::mutex mutex_;
  std::condition_variable done_;
  std::optional<Summary> summary_;       // guarded by mutex_
  std::optional<absl::Status> failure_;  // guarded by mutex_
};

TensorSpec MakeSpec(int64_t rows, int64_t columns) {
  TensorSpec spec;
  spec.rows = rows;
  spec.columns = columns;
  spec.problem.pattern = {1, 2};
  return spec;
}

std::vector<float> Weights(int64_t count) {
  std::vector<float> weights(static_cast<size_t>(count));
  for (size_t k = 0; k < weights.size(); ++k) {
    weights[k] = static_cast<float>((k * 2654435761u) % 1001) - 500.0f;
  }
  return weights;
}

class EngineTest : public ::testing::Test {
 protected:
  void Start() {
    engine_ = std::make_unique<Engine>(limits_, BatchConfig(), std::vector<Solver*>{&solver_},
                                       clock_, observer_);
  }
  std::unique_ptr<WholeTensorPeer> Run(int64_t rows, int64_t columns, size_t chunk_bytes = 1000,
                                       const std::string& client = "client") {
    auto peer = std::make_unique<WholeTensorPeer>(MakeSpec(rows, columns), Weights(rows * columns),
                                                  chunk_bytes);
    auto session = engine_->Admit(*peer, client, Time::max());
    EXPECT_TRUE(session.ok()) << session.status();
    peer->Run(*std::move(session));
    return peer;
  }

  FakeClock clock_;
  Observer observer_;
  FakeSolver solver_;
  Limits limits_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, BlocksOfThreeClientsShareABatch) {
  Start();
  solver_.Block();
  auto first = Run(2, 2);
  ASSERT_TRUE(solver_.WaitForCalls(1));
  auto a = Run(4, 8);
  auto b = Run(6, 8);
  auto c = Run(8, 8);
  solver_.Unblock();
  for (auto* peer : {&first, &a, &b, &c}) ASSERT_TRUE((*peer)->Wait());
  const auto calls = solver_.calls();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_THAT(calls[1].tile_rows, UnorderedElementsAre(4, 6, 8));
}

TEST_F(EngineTest, ConcurrentClientsGetTheAnswersTheyGetAlone) {
  limits_.memory_budget_bytes = 1 << 20;  // far less than all of them together
  limits_.piece_bytes = 16 << 10;
  solver_.mutable_info().batches_in_flight = 2;
  Start();
  auto alone = Run(1000, 100, 1 << 20);
  ASSERT_TRUE(alone->Wait());
  ASSERT_TRUE(alone->summary().has_value()) << *alone->failure();
  std::vector<std::unique_ptr<WholeTensorPeer>> peers(8);
  std::vector<std::thread> threads;
  for (size_t k = 0; k < peers.size(); ++k) {
    threads.emplace_back([this, &peers, k] { peers[k] = Run(1000, 100, 1 + 777 * k); });
  }
  for (std::thread& thread : threads) thread.join();
  for (auto& peer : peers) {
    ASSERT_TRUE(peer->Wait());
    ASSERT_TRUE(peer->summary().has_value()) << *peer->failure();
    EXPECT_EQ(peer->mask(), alone->mask());
    EXPECT_EQ(peer->summary()->stats.value, alone->summary()->stats.value);
  }
  peers.clear();
  alone.reset();
  engine_->Stop();
  EXPECT_EQ(engine_->budget().used(), 0);
}

TEST_F(EngineTest, RefusesMoreStreamsThanAllowedUntilOneEnds) {
  limits_.max_streams = 2;
  Start();
  auto a = Run(2, 2);
  auto b = Run(2, 2);
  ASSERT_TRUE(a->Wait() && b->Wait());
  WholeTensorPeer third(MakeSpec(2, 2), Weights(4), 16);
  const auto refused = engine_->Admit(third, "client", Time::max());
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(refused.status().message().find("2 (max-streams)"), absl::string_view::npos);
  a.reset();
  EXPECT_TRUE(engine_->Admit(third, "client", Time::max()).ok());
}

TEST_F(EngineTest, RefusesSessionsOnceItStopsAdmitting) {
  Start();
  solver_.Block();
  auto solving = Run(2, 2);
  ASSERT_TRUE(solver_.WaitForCalls(1));
  EXPECT_TRUE(engine_->CheckAdmitting().ok());
  engine_->StopAdmitting();
  EXPECT_TRUE(absl::IsUnavailable(engine_->CheckAdmitting()));
  WholeTensorPeer late(MakeSpec(2, 2), {}, 1);
  EXPECT_TRUE(absl::IsUnavailable(engine_->Admit(late, "client", Time::max()).status()));
  solver_.Unblock();
  ASSERT_TRUE(solving->Wait());
  EXPECT_TRUE(solving->summary().has_value());
}

TEST_F(EngineTest, WatchesForIdleStreamsByItself) {
  limits_.idle_timeout = std::chrono::milliseconds(40);
  Start();
  // Sends the header and one byte, then nothing.
  class SilentPeer final : public SessionPeer {
   public:
    void Read() override {}
    void Write(const MaskRows&) override {}
    void Finish(const Summary&) override {}
    void Fail(const absl::Status& status) override {
      std::lock_guard lock(mutex);
      failure = status;
      done.notify_all();
    }
    void Abandon() override {
      std::lock_guard lock(mutex);
      abandoned = true;
      done.notify_all();
    }
    std::mutex mutex;
    std::condition_variable done;
    std::optional<absl::Status> failure;
    bool abandoned = false;
  } peer;
  auto session = engine_->Admit(peer, "client", Time::max());
  ASSERT_TRUE(session.ok());
  (*session)->Start();
  (*session)->OnHeader(MakeSpec(2, 2));
  clock_.Advance(std::chrono::seconds(1));
  std::unique_lock lock(peer.mutex);
  ASSERT_TRUE(peer.done.wait_for(lock, std::chrono::seconds(10),
                                 [&peer] { return peer.failure.has_value(); }));
  EXPECT_TRUE(absl::IsDeadlineExceeded(*peer.failure));
  // The peer keeps its place: it is told to give that up, too.
  clock_.Advance(std::chrono::seconds(1));
  ASSERT_TRUE(
      peer.done.wait_for(lock, std::chrono::seconds(10), [&peer] { return peer.abandoned; }));
  lock.unlock();
  session->reset();
  EXPECT_TRUE(engine_->WaitUntilQuiet(Duration::zero()));
}

TEST_F(EngineTest, StopFailsWhatIsQueuedAsUnavailable) {
  Start();
  solver_.Block();
  auto solving = Run(2, 2);
  ASSERT_TRUE(solver_.WaitForCalls(1));
  auto queued = Run(4, 4);
  std::thread stop([this] { engine_->Stop(); });
  ASSERT_TRUE(queued->Wait());
  EXPECT_TRUE(absl::IsUnavailable(*queued->failure()));
  solver_.Unblock();
  stop.join();
  ASSERT_TRUE(solving->Wait());
  EXPECT_TRUE(solving->summary().has_value());
}

}  // namespace
}  // namespace tsenor::server
