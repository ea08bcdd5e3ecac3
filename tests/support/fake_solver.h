// A solver whose masks a test can predict, and which it can hold up.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "solver/scores.h"
#include "solver/solver.h"

namespace tsenor::testing {

// Keeps exactly the elements above zero. A block row's value and score_sum are the sum of those,
// its bound twice as much, and each block counts as proven.
//
// Thread-safe.
class FakeSolver final : public Solver {
 public:
  // One call of Solve().
  struct Call {
    Problem problem;
    std::vector<int64_t> tile_rows;
    std::vector<int64_t> tile_columns;
  };

  FakeSolver() {
    info_.name = "fake";
    info_.device = "none";
    info_.threads = 1;
    info_.batches_in_flight = 1;
  }

  const SolverInfo& info() const override { return info_; }
  // REQUIRES: nothing solves yet.
  SolverInfo& mutable_info() { return info_; }

  absl::Status Solve(const Batch& batch) override {
    Call call;
    call.problem = batch.problem;
    for (const Tile& tile : batch.tiles) {
      call.tile_rows.push_back(tile.rows);
      call.tile_columns.push_back(tile.columns);
    }
    std::unique_lock lock(mutex_);
    calls_.push_back(std::move(call));
    changed_.notify_all();
    changed_.wait(lock, [this] { return !blocked_; });
    if (!status_.ok()) return status_;
    lock.unlock();
    for (const Tile& tile : batch.tiles) SolveTile(batch.problem, tile);
    return absl::OkStatus();
  }

  // From now on calls of Solve() wait ...
  void Block() { SetBlocked(true); }
  // ... until now.
  void Unblock() { SetBlocked(false); }

  // Every call from now on ends with `status`.
  void FailWith(absl::Status status) {
    std::lock_guard lock(mutex_);
    status_ = std::move(status);
  }

  // From now on every call ends with `status`, and so does health().
  void LoseDevice(absl::Status status) {
    FailWith(status);
    std::lock_guard lock(mutex_);
    health_ = std::move(status);
  }
  absl::Status health() const override {
    std::lock_guard lock(mutex_);
    return health_;
  }

  // Waits until `count` calls have begun. False: they did not within ten seconds.
  bool WaitForCalls(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10),
                             [&] { return calls_.size() >= count; });
  }

  std::vector<Call> calls() const {
    std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  void SetBlocked(bool blocked) {
    std::lock_guard lock(mutex_);
    blocked_ = blocked;
    changed_.notify_all();
  }

  static void SolveTile(const Problem& problem, const Tile& tile) {
    const int m = problem.pattern.m;
    for (int64_t row = 0; row < tile.rows; ++row) {
      uint8_t* mask = tile.mask + row * tile.mask_row_stride;
      std::memset(mask, 0, static_cast<size_t>(MaskRowBytes(tile.columns)));
      SolveStats& stats = tile.stats[row / m];
      if (row % m == 0) {
        stats = SolveStats();
        stats.blocks = stats.blocks_proven = BlocksAlong(tile.columns, m);
      }
      for (int64_t column = 0; column < tile.columns; ++column) {
        float weight = 0;
        LoadElements(problem.dtype, tile.weights, row * tile.row_stride + column, 1, &weight);
        if (!(weight > 0)) continue;
        mask[column / 8] |= static_cast<uint8_t>(1 << (column % 8));
        ++stats.kept;
        stats.value += weight;
        stats.score_sum += weight;
        stats.bound += 2.0 * weight;
      }
    }
  }

  SolverInfo info_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;  // calls_ or blocked_
  std::vector<Call> calls_;          // guarded by mutex_
  bool blocked_ = false;             // guarded by mutex_
  absl::Status status_, health_;     // guarded by mutex_
};

}  // namespace tsenor::testing
