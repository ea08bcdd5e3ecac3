// A session between a scripted client and a hand-cranked scheduler: single-threaded.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/wire/crc32c.h"
#include "server/session.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_solver.h"

namespace tsenor::server {

// Records what the session asks of its client. Not thread-safe: for one thread.
class FakePeer final : public SessionPeer {
 public:
  void Read() override { ++reads; }
  void Write(const MaskRows& rows) override {
    EXPECT_FALSE(writing) << "two writes in flight";
    writing = true;
    EXPECT_EQ(rows.crc32c, wire::Crc32c(rows.bytes.data(), rows.bytes.size()));
    written.push_back({rows.first_row, rows.row_count});
    mask.insert(mask.end(), rows.bytes.begin(), rows.bytes.end());
  }
  void Finish(const Summary& done) override {
    EXPECT_FALSE(ended()) << "finished twice";
    summary = done;
  }
  void Fail(const absl::Status& status) override {
    EXPECT_FALSE(ended()) << "finished twice";
    EXPECT_FALSE(status.ok());
    failure = status;
  }
  void Abandon() override {
    EXPECT_TRUE(ended());
    ++abandoned;
  }
  bool ended() const { return summary.has_value() || failure.has_value(); }

  int reads = 0;
  int abandoned = 0;
  bool writing = false;
  std::vector<std::pair<int64_t, int64_t>> written;  // first row, rows
  std::vector<std::byte> mask;
  std::optional<Summary> summary;
  std::optional<absl::Status> failure;
};

// Keeps pieces until the test solves them. Not thread-safe: for one thread.
class FakeScheduler final : public PieceScheduler {
 public:
  void Submit(std::unique_ptr<Piece> piece) override { queue.push_back(std::move(piece)); }
  void DropDead() override {
    std::deque<std::unique_ptr<Piece>> living;
    for (auto& piece : std::exchange(queue, {})) {
      if (piece->owner->dead()) {
        GiveBack(std::move(piece), absl::CancelledError("dropped"));
      } else {
        living.push_back(std::move(piece));
      }
    }
    queue = std::move(living);
  }

  // Solves the `index`-th piece of the queue.
  void Solve(size_t index = 0, absl::Status status = absl::OkStatus()) {
    std::unique_ptr<Piece> piece = std::move(queue.at(index));
    queue.erase(queue.begin() + static_cast<std::ptrdiff_t>(index));
    const Tile tile = piece->tile();
    EXPECT_TRUE(solver.Solve({piece->problem, {&tile, 1}}).ok());
    piece->backend = "fake";
    piece->ReleaseWeights();
    GiveBack(std::move(piece), std::move(status));
  }

  int64_t MaxPieceElements(const Problem& /*problem*/) const override { return piece_elements; }

  std::deque<std::unique_ptr<Piece>> queue;
  int64_t piece_elements = std::numeric_limits<int64_t>::max();
  testing::FakeSolver solver;

 private:
  static void GiveBack(std::unique_ptr<Piece> piece, absl::Status status) {
    const std::shared_ptr<PieceOwner> owner = std::move(piece->owner);
    owner->OnPieceDone(std::move(piece), std::move(status));
  }
};

// Keeps pieces until the test reads them. Not thread-safe: for one thread.
class FakeReader final : public PieceReader {
 public:
  void Submit(std::unique_ptr<Piece> piece) override { queue.push_back(std::move(piece)); }
  void DropDead() override {
    std::deque<std::unique_ptr<Piece>> dead;  // gone last: their memory may bring new pieces
    for (auto& piece : std::exchange(queue, {})) {
      (piece->owner->dead() ? dead : queue).push_back(std::move(piece));
    }
  }

  // Reads the first piece of the queue and hands it back.
  void Read() {
    std::unique_ptr<Piece> piece = std::move(queue.front());
    queue.pop_front();
    absl::Status status = piece->file->Read(piece->weight_offset(), piece->weights.bytes());
    const std::shared_ptr<PieceOwner> owner = std::move(piece->owner);
    owner->OnPieceRead(std::move(piece), std::move(status));
  }

  std::deque<std::unique_ptr<Piece>> queue;
};

// A tensor of `rows` x `columns`, n:m = 1:2 unless changed.
inline TensorSpec MakeSpec(int64_t rows, int64_t columns) {
  TensorSpec spec;
  spec.name = "layer";
  spec.rows = rows;
  spec.columns = columns;
  spec.problem.pattern = {1, 2};
  return spec;
}

class SessionTest : public ::testing::Test {
 protected:
  SessionTest() {
    limits_.memory_budget_bytes = 1 << 20;
    limits_.piece_bytes = 4096;
  }

  void Start(const FileServices* files = nullptr) {
    budget_.emplace(limits_.memory_budget_bytes, observer_, clock_, Duration::zero());
    norms_budget_.emplace(limits_.norms_budget_bytes(), observer_, clock_, Duration::zero());
    session_ = std::make_shared<Session>(
        SessionServices{limits_, clock_, *budget_, *norms_budget_, scheduler_, observer_, files},
        peer_, "client", Time::max());
    session_->Start();
  }
  void Start(TensorSpec spec) {
    Start();
    session_->OnHeader(std::move(spec));
  }

  void Send(uint64_t offset, std::span<const float> weights) {
    session_->OnChunk({offset, std::as_bytes(weights), std::nullopt});
  }
  // Sends `weights` in chunks of `size` bytes and half-closes. REQUIRES: memory for all of it.
  void SendAll(const std::vector<float>& weights, size_t size) {
    const auto bytes = std::as_bytes(std::span(weights));
    for (size_t at = 0; at < bytes.size() && !peer_.ended(); at += size) {
      const auto chunk = bytes.subspan(at, std::min(size, bytes.size() - at));
      session_->OnChunk({at, chunk, wire::Crc32c(chunk.data(), chunk.size())});
    }
    session_->OnHalfClose();
  }
  void SolveAll() {
    while (!scheduler_.queue.empty()) scheduler_.Solve();
  }
  void FinishWrite() {
    peer_.writing = false;
    session_->OnWriteDone();
  }
  void FinishWrites() {
    while (peer_.writing) FinishWrite();
  }

  void ExpectRefused(std::initializer_list<const char*> words) {
    ASSERT_TRUE(peer_.failure.has_value());
    EXPECT_EQ(peer_.failure->code(), absl::StatusCode::kInvalidArgument);
    for (const char* word : words) {
      EXPECT_NE(peer_.failure->message().find(word), absl::string_view::npos)
          << "no \"" << word << "\" in: " << peer_.failure->message();
    }
    session_.reset();
    EXPECT_EQ(budget_->used(), 0);
    EXPECT_TRUE(scheduler_.queue.empty());
  }

  testing::FakeClock clock_;
  Observer observer_;
  Limits limits_;
  std::optional<MemoryBudget> budget_;
  std::optional<MemoryBudget> norms_budget_;
  FakeScheduler scheduler_;
  FakePeer peer_;
  std::shared_ptr<Session> session_;
};

}  // namespace tsenor::server
