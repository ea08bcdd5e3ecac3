// Pieces without a session, for tests of queue and dispatcher.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "server/memory_budget.h"
#include "server/piece.h"

namespace tsenor::server {

// Collects what comes back. Thread-safe.
class FakeOwner final : public PieceOwner {
 public:
  bool dead() const override { return dead_; }
  void Die() { dead_ = true; }

  void OnPieceRead(std::unique_ptr<Piece> piece, absl::Status status) override {
    OnPieceDone(std::move(piece), std::move(status));
  }
  void OnPieceDone(std::unique_ptr<Piece> piece, absl::Status status) override {
    std::lock_guard lock(mutex_);
    pieces_.push_back(std::move(piece));
    statuses_.push_back(std::move(status));
    changed_.notify_all();
  }

  void OnSolverLost(absl::Status why) override {
    std::lock_guard lock(mutex_);
    losses_.push_back(std::move(why));
  }

  // Waits until `count` pieces are back. False: they were not within ten seconds.
  bool WaitForPieces(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10),
                             [&] { return pieces_.size() >= count; });
  }

  size_t count() const {
    std::lock_guard lock(mutex_);
    return pieces_.size();
  }
  // What it was told of solvers that have its pieces.
  std::vector<absl::Status> losses() const {
    std::lock_guard lock(mutex_);
    return losses_;
  }
  // REQUIRES: nothing comes back any more.
  const std::vector<std::unique_ptr<Piece>>& pieces() const { return pieces_; }
  const std::vector<absl::Status>& statuses() const { return statuses_; }

 private:
  std::atomic<bool> dead_ = false;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Piece>> pieces_;  // guarded by mutex_
  std::vector<absl::Status> statuses_;          // guarded by mutex_
  std::vector<absl::Status> losses_;            // guarded by mutex_
};

// A 2-row piece of 1:2 with `columns` columns of ones.
inline std::unique_ptr<Piece> MakePiece(std::shared_ptr<PieceOwner> owner, MemoryBudget& budget,
                                        int64_t columns, Time completed = Time()) {
  auto piece = std::make_unique<Piece>();
  piece->problem.pattern = {1, 2};
  piece->rows = 2;
  piece->columns = columns;
  piece->weights = Buffer::Allocate(static_cast<size_t>(piece->weight_bytes()));
  const std::vector<float> ones(static_cast<size_t>(piece->elements()), 1.0f);
  std::memcpy(piece->weights.bytes().data(), ones.data(), ones.size() * sizeof(float));
  piece->mask = Buffer::Allocate(static_cast<size_t>(piece->mask_bytes()));
  piece->stats.resize(1);
  piece->completed = completed;
  piece->owner = std::move(owner);
  Piece* raw = piece.get();
  budget.Acquire({}, piece->weight_bytes() + piece->mask_bytes(),
                 [raw](MemoryBudget::Grant grant) { raw->grant = std::move(grant); });
  return piece;
}

}  // namespace tsenor::server
