#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "tests/server/session_fixture.h"

namespace tsenor::server {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

// Positive and negative numbers in an irregular order.
std::vector<float> Weights(int64_t rows, int64_t columns) {
  std::vector<float> weights(static_cast<size_t>(rows * columns));
  uint32_t state = 1;
  for (float& weight : weights) {
    state = state * 1664525 + 1013904223;
    weight = static_cast<float>(static_cast<int32_t>(state >> 8) - (1 << 23));
  }
  return weights;
}

// What FakeSolver makes of `weights`.
std::vector<std::byte> ExpectedMask(const std::vector<float>& weights, int64_t columns) {
  const int64_t rows = static_cast<int64_t>(weights.size()) / columns;
  std::vector<std::byte> mask(static_cast<size_t>(rows * MaskRowBytes(columns)));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      if (weights[row * columns + column] > 0) {
        mask[row * MaskRowBytes(columns) + column / 8] |= std::byte(1 << (column % 8));
      }
    }
  }
  return mask;
}

TEST_F(SessionTest, AnswersOnePieceAndTheSummary) {
  const std::vector<float> weights = {1, -2, 3, -4, 5, 6, 7, 8};
  Start(MakeSpec(4, 2));
  SendAll(weights, 7);
  ASSERT_EQ(scheduler_.queue.size(), 1u);
  SolveAll();
  EXPECT_THAT(peer_.written, ElementsAre(Pair(0, 4)));
  EXPECT_FALSE(peer_.ended());
  FinishWrites();
  ASSERT_TRUE(peer_.summary.has_value());
  EXPECT_EQ(peer_.mask, ExpectedMask(weights, 2));
  EXPECT_EQ(peer_.summary->name, "layer");
  EXPECT_EQ(peer_.summary->stats.value, 30);
  EXPECT_EQ(peer_.summary->stats.blocks, 2);
  EXPECT_EQ(peer_.summary->backend, "fake");
  session_.reset();
  EXPECT_EQ(budget_->used(), 0);
}

// (rows, columns, chunk bytes)
class SessionShapeTest : public SessionTest,
                         public ::testing::WithParamInterface<std::tuple<int, int, int>> {};

TEST_P(SessionShapeTest, EveryCutIntoChunksGivesTheSameMaskAndSummary) {
  const auto [rows, columns, chunk_bytes] = GetParam();
  const std::vector<float> weights = Weights(rows, columns);
  limits_.stream_pieces = 1 << 20;
  limits_.memory_budget_bytes = 16 << 20;
  TensorSpec spec = MakeSpec(rows, columns);
  spec.edge = Edge::kPad;
  Start(spec);
  SendAll(weights, static_cast<size_t>(chunk_bytes));
  SolveAll();
  FinishWrites();
  ASSERT_TRUE(peer_.summary.has_value()) << *peer_.failure;
  EXPECT_EQ(peer_.mask, ExpectedMask(weights, columns));
  double value = 0;  // summed block row by block row, as if the tensor were one piece
  for (int row = 0; row < rows; row += 2) {
    double block_row = 0;
    for (int k = row * columns; k < std::min(row + 2, rows) * columns; ++k) {
      block_row += std::max(0.0f, weights[static_cast<size_t>(k)]);
    }
    value += block_row;
  }
  EXPECT_EQ(peer_.summary->stats.value, value);
}

INSTANTIATE_TEST_SUITE_P(Cuts, SessionShapeTest,
                         ::testing::Combine(::testing::Values(1, 2, 101, 128),
                                            ::testing::Values(1, 8, 77),
                                            ::testing::Values(1, 3, 4096, 5000, 1 << 20)));

TEST_F(SessionTest, SendsMasksWhileTheUploadRuns) {
  // 16 rows of 64 floats and their masks just fit into a piece of 8 block rows.
  limits_.piece_bytes = 16 * (256 + 8) + 8 * static_cast<int64_t>(sizeof(SolveStats));
  const std::vector<float> weights = Weights(48, 64);
  Start(MakeSpec(48, 64));
  Send(0, std::span(weights).first(20 * 64));
  ASSERT_EQ(scheduler_.queue.size(), 1u);
  SolveAll();
  EXPECT_THAT(peer_.written, ElementsAre(Pair(0, 16)));
  FinishWrites();
  Send(20 * 256, std::span(weights).subspan(20 * 64));
  SolveAll();
  FinishWrites();
  session_->OnHalfClose();
  EXPECT_TRUE(peer_.summary.has_value());
  EXPECT_EQ(peer_.mask, ExpectedMask(weights, 64));
}

TEST_F(SessionTest, PiecesAreNoLargerThanTheirSolverShouldHaveAtOnce) {
  const std::vector<float> weights = Weights(16, 2);
  scheduler_.piece_elements = 8;  // two block rows of 2 x 2
  Start(MakeSpec(16, 2));
  Send(0, std::span(weights).first(8));
  scheduler_.piece_elements = 1;  // a block row at least; that of the next piece is settled
  Send(32, std::span(weights).subspan(8, 12));
  scheduler_.piece_elements = 1000;
  Send(80, std::span(weights).subspan(20));
  session_->OnHalfClose();
  SolveAll();
  FinishWrites();
  EXPECT_THAT(peer_.written,
              ElementsAre(Pair(0, 4), Pair(4, 4), Pair(8, 2), Pair(10, 2), Pair(12, 4)));
  ASSERT_TRUE(peer_.summary.has_value());
  EXPECT_EQ(peer_.mask, ExpectedMask(weights, 2));
  session_.reset();
  EXPECT_EQ(budget_->used(), 0);
}

TEST_F(SessionTest, SendsMasksInOrderThoughSolvedOutOfOrder) {
  const std::vector<float> weights = Weights(64, 64);
  Start(MakeSpec(64, 64));
  SendAll(weights, 1 << 20);
  ASSERT_GE(scheduler_.queue.size(), 3u);
  while (scheduler_.queue.size() > 1) scheduler_.Solve(scheduler_.queue.size() - 1);
  EXPECT_TRUE(peer_.written.empty());
  scheduler_.Solve();
  EXPECT_EQ(peer_.written.size(), 1u);
  FinishWrites();
  ASSERT_TRUE(peer_.summary.has_value());
  EXPECT_EQ(peer_.mask, ExpectedMask(weights, 64));
}

TEST_F(SessionTest, ASlowReaderStopsTheReadingAndBoundsTheMemory) {
  limits_.stream_pieces = 3;
  const std::vector<float> weights = Weights(1024, 64);  // 64 pieces and more
  Start(MakeSpec(1024, 64));
  const int64_t offered = 10 * 4096;
  int64_t sent = 0;
  // The client sends whenever it is asked; the solver is quick; masks are never read.
  for (int reads = 0; reads < peer_.reads && sent < offered; ++reads) {
    if (reads == 0) continue;  // the header
    Send(static_cast<uint64_t>(sent), std::span(weights).subspan(sent / 4, 256));
    sent += 1024;
    SolveAll();
  }
  EXPECT_LT(sent, 4 * 4096);  // three pieces and what was in flight
  EXPECT_EQ(peer_.written.size(), 1u);
  EXPECT_LE(budget_->used(), 3 * limits_.piece_bytes);
  const int reads = peer_.reads;
  FinishWrite();  // the client reads one mask: there is room again
  EXPECT_GT(peer_.reads + static_cast<int>(scheduler_.queue.size()), reads);
}

TEST_F(SessionTest, ReadsOnlyWhenThereIsMemory) {
  limits_.piece_bytes = 100 * 1024;
  limits_.memory_budget_bytes = 160 * 1024;
  Start();
  std::optional<MemoryBudget::Grant> other;
  budget_->Acquire({}, 100 * 1024, [&](MemoryBudget::Grant grant) { other = std::move(grant); });
  EXPECT_EQ(peer_.reads, 1);
  session_->OnHeader(MakeSpec(1024, 64));
  EXPECT_EQ(peer_.reads, 1);
  other.reset();
  EXPECT_EQ(peer_.reads, 2);
}

TEST_F(SessionTest, AStreamThatEndsWhileItWaitsForMemoryFreesWhatItHolds) {
  limits_.memory_budget_bytes = 160 * 1024;
  Start(MakeSpec(64, 64));
  std::optional<MemoryBudget::Grant> other;
  budget_->Acquire({}, limits_.memory_budget_bytes - budget_->used(),
                   [&](MemoryBudget::Grant grant) { other = std::move(grant); });
  ASSERT_TRUE(other.has_value());
  // The first piece is complete, there is no memory for the next, and the first mask is never read.
  Send(0, Weights(12, 64));
  ASSERT_EQ(scheduler_.queue.size(), 1u);
  scheduler_.Solve();
  ASSERT_TRUE(peer_.writing);
  const int64_t others = other->bytes();
  EXPECT_GT(budget_->used(), others);
  session_->OnCancel(absl::CancelledError("gone"));
  session_.reset();
  EXPECT_EQ(budget_->used(), others);
}

TEST_F(SessionTest, CancellationDropsQueuedWorkAndFreesItsMemory) {
  Start(MakeSpec(64, 64));
  Send(0, Weights(32, 64));
  EXPECT_FALSE(scheduler_.queue.empty());
  session_->OnCancel(absl::CancelledError("gone"));
  EXPECT_EQ(*peer_.failure, absl::CancelledError("gone"));
  EXPECT_TRUE(scheduler_.queue.empty());
  EXPECT_TRUE(session_->dead());
  session_.reset();
  EXPECT_EQ(budget_->used(), 0);
}

TEST_F(SessionTest, EventsAfterTheEndAreIgnored) {
  Start(MakeSpec(64, 64));
  Send(0, Weights(32, 64));
  std::unique_ptr<Piece> with_worker = std::move(scheduler_.queue.front());
  scheduler_.queue.pop_front();
  session_->OnCancel(absl::CancelledError("gone"));
  const std::shared_ptr<PieceOwner> owner = std::move(with_worker->owner);
  owner->OnPieceDone(std::move(with_worker), absl::OkStatus());
  session_->OnHalfClose();
  session_->OnCancel(absl::CancelledError("again"));
  EXPECT_TRUE(peer_.written.empty());
  EXPECT_EQ(*peer_.failure, absl::CancelledError("gone"));
}

TEST_F(SessionTest, AFailedBatchFailsTheStreamWithItsStatus) {
  Start(MakeSpec(2, 2));
  SendAll({1, 2, 3, 4}, 16);
  scheduler_.Solve(0, absl::UnavailableError("device lost"));
  EXPECT_EQ(*peer_.failure, absl::UnavailableError("device lost"));
}

TEST_F(SessionTest, ASilentClientIsGivenUp) {
  limits_.min_stream_rate = 0;
  Start(MakeSpec(2, 2));
  clock_.Advance(std::chrono::seconds(59));
  session_->CheckIdle();
  EXPECT_FALSE(peer_.ended());
  Send(0, std::vector<float>{1, 2});  // any sign of life counts
  clock_.Advance(std::chrono::seconds(59));
  session_->CheckIdle();
  EXPECT_FALSE(peer_.ended());
  clock_.Advance(std::chrono::seconds(1));
  session_->CheckIdle();
  ASSERT_TRUE(peer_.failure.has_value());
  EXPECT_TRUE(absl::IsDeadlineExceeded(*peer_.failure));
  EXPECT_NE(peer_.failure->message().find("60"), absl::string_view::npos);
}
// Its transport may still hold messages that the client does not read.
TEST_F(SessionTest, AStreamThatEndedLongAgoIsAbandonedUntilItsPeerGoes) {
  for (const bool fails : {false, true}) {
    peer_ = FakePeer();
    Start(MakeSpec(2, 8));
    SendAll(std::vector<float>(16, 1.0f), 64);
    SolveAll();
    fails ? session_->OnCancel(absl::CancelledError("gone")) : FinishWrites();
    ASSERT_TRUE(peer_.ended());
    clock_.Advance(limits_.idle_timeout - std::chrono::nanoseconds(1));
    session_->CheckIdle();
    EXPECT_EQ(peer_.abandoned, 0);
    clock_.Advance(std::chrono::nanoseconds(1));
    session_->CheckIdle();
    session_->CheckIdle();
    EXPECT_EQ(peer_.abandoned, 1);
    clock_.Advance(limits_.idle_timeout);
    session_->CheckIdle();
    EXPECT_EQ(peer_.abandoned, 2);
    session_->Detach();
    clock_.Advance(2 * limits_.idle_timeout);
    session_->CheckIdle();
    EXPECT_EQ(peer_.abandoned, 2);
  }
}

TEST_F(SessionTest, WithoutAnIdleTimeoutNothingIsAbandoned) {
  limits_.idle_timeout = Duration::zero();
  Start(MakeSpec(2, 8));
  session_->OnCancel(absl::CancelledError("gone"));
  clock_.Advance(std::chrono::hours(1000));
  session_->CheckIdle();
  EXPECT_EQ(peer_.abandoned, 0);
}

TEST_F(SessionTest, AClientThatTricklesIsIdle) {
  limits_.piece_bytes = 400 << 10;
  limits_.min_stream_rate = 1 << 10;  // 60 KiB a minute
  Start(MakeSpec(4096, 64));
  const std::vector<float> quarter(15 << 8, 1.0f);  // of that
  uint64_t offset = 0;
  const auto send_and_wait = [&](int seconds) {
    Send(offset, quarter);
    offset += quarter.size() * sizeof(float);
    clock_.Advance(std::chrono::seconds(seconds));
    session_->CheckIdle();
  };
  for (int k = 0; k < 8; ++k) send_and_wait(14);
  EXPECT_FALSE(peer_.ended());
  for (int k = 0; k < 3; ++k) send_and_wait(20);
  ASSERT_TRUE(peer_.failure.has_value());
  EXPECT_TRUE(absl::IsDeadlineExceeded(*peer_.failure));
  EXPECT_NE(peer_.failure->message().find("min-stream-rate"), absl::string_view::npos);
}

TEST_F(SessionTest, AClientThatWaitsForTheServerIsNotIdle) {
  Start(MakeSpec(2, 2));
  Send(0, std::vector<float>{1, 2, 3, 4});
  clock_.Advance(std::chrono::hours(1));
  session_->CheckIdle();
  EXPECT_FALSE(peer_.ended());
  SolveAll();  // now it is the client's turn to read
  clock_.Advance(std::chrono::minutes(1));
  session_->CheckIdle();
  EXPECT_TRUE(absl::IsDeadlineExceeded(*peer_.failure));
}

TEST_F(SessionTest, ReportsStageTimes) {
  Start(MakeSpec(2, 2));
  clock_.Advance(std::chrono::milliseconds(250));
  SendAll({1, 2, 3, 4}, 16);
  clock_.Advance(std::chrono::milliseconds(500));
  scheduler_.queue[0]->taken = clock_.Now();
  scheduler_.queue[0]->solve_share = std::chrono::milliseconds(125);
  clock_.Advance(std::chrono::milliseconds(125));
  SolveAll();
  FinishWrites();
  ASSERT_TRUE(peer_.summary.has_value());
  EXPECT_DOUBLE_EQ(peer_.summary->receive_seconds, 0.25);
  EXPECT_DOUBLE_EQ(peer_.summary->queue_seconds, 0.5);
  EXPECT_DOUBLE_EQ(peer_.summary->solve_seconds, 0.125);
  EXPECT_DOUBLE_EQ(peer_.summary->total_seconds, 0.875);
}

// Bad input: every refusal names field, value and bound.

TEST_F(SessionTest, RefusesNaNAndSaysWhere) {
  std::vector<float> weights = Weights(64, 64);
  weights[37 * 64 + 5] = std::numeric_limits<float>::quiet_NaN();  // not in the first piece
  Start(MakeSpec(64, 64));
  SendAll(weights, 1000);
  ExpectRefused({"data", "row 37", "column 5", "2373", "NaN", "finite"});
}

TEST_F(SessionTest, RefusesInfinityAndSaysWhere) {
  Start(MakeSpec(2, 2));
  SendAll({1, 2, -INFINITY, 4}, 16);
  ExpectRefused({"data", "row 1", "column 0", "flat index 2", "infinite", "finite"});
}

TEST_F(SessionTest, RefusesNegativeGivenScores) {
  TensorSpec spec = MakeSpec(2, 2);
  spec.problem.score_kind = ScoreKind::kGiven;
  Start(spec);
  SendAll({1, -2, 3, 4}, 16);
  ExpectRefused({"data", "row 0", "column 1", "negative", "-2", ">= 0"});
}

TEST_F(SessionTest, RefusesTooFewBytes) {
  Start(MakeSpec(4, 2));
  SendAll({1, 2, 3, 4, 5, 6, 7}, 28);
  ExpectRefused({"data", "28 bytes", "4 x 2", "float32", "32 bytes"});
}

TEST_F(SessionTest, RefusesTooManyBytes) {
  Start(MakeSpec(2, 2));
  SendAll({1, 2, 3, 4, 5}, 20);
  ExpectRefused({"data", "20 bytes", "2 x 2", "float32", "16 bytes"});
}

TEST_F(SessionTest, RefusesBytesAfterTheLast) {
  Start(MakeSpec(2, 2));
  Send(0, std::vector<float>{1, 2, 3, 4});
  Send(16, std::vector<float>{5});
  ExpectRefused({"data", "20 bytes", "16 bytes"});
}

TEST_F(SessionTest, RefusesOverlappingChunks) {
  Start(MakeSpec(4, 2));
  Send(0, std::vector<float>{1, 2, 3});
  Send(8, std::vector<float>{4});
  ExpectRefused({"offset is 8", "must be 12", "overlaps"});
}

TEST_F(SessionTest, RefusesAGapBetweenChunks) {
  Start(MakeSpec(4, 2));
  Send(0, std::vector<float>{1, 2, 3});
  Send(16, std::vector<float>{4});
  ExpectRefused({"offset is 16", "must be 12", "missing"});
}

TEST_F(SessionTest, RefusesABadCrc) {
  Start(MakeSpec(2, 2));
  const std::vector<float> weights = {1, 2, 3, 4};
  session_->OnChunk({0, std::as_bytes(std::span(weights)), 12345});
  ExpectRefused({"crc32c is 12345", "must be", "offset 0"});
}

TEST_F(SessionTest, RefusesAnEmptyChunk) {
  Start(MakeSpec(2, 2));
  session_->OnChunk({0, {}, std::nullopt});
  ExpectRefused({"data", "0 bytes", "at least 1"});
}

TEST_F(SessionTest, RefusesASecondHeader) {
  Start(MakeSpec(2, 2));
  session_->OnHeader(MakeSpec(2, 2));
  ExpectRefused({"second header", "exactly one"});
}

TEST_F(SessionTest, RefusesAChunkBeforeTheHeader) {
  Start();
  Send(0, std::vector<float>{1});
  ExpectRefused({"chunk before the header", "first message"});
}

TEST_F(SessionTest, RefusesAStreamWithoutAHeader) {
  Start();
  session_->OnHalfClose();
  ExpectRefused({"without a header"});
}

TEST_F(SessionTest, RefusesAMessageThatCannotBeRead) {
  Start();
  session_->OnInvalidMessage(absl::InvalidArgumentError("message is not set"));
  ExpectRefused({"message is not set"});
}

TEST_F(SessionTest, RefusesABadHeaderBeforeItAsksForMemory) {
  Start(MakeSpec(3, 2));
  ExpectRefused({"shape[0]", "3", "multiple of pattern.m = 2"});
}

}  // namespace
}  // namespace tsenor::server
