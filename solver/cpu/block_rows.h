// The work of one call of Solver::Solve(), as threads share it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "solver/problem.h"

namespace tsenor::cpu {

// One block row of one tile.
struct BlockRow {
  const Tile* tile = nullptr;
  int64_t number = 0;  // within the tile
};

// Blocks that are solved at once if they have a vector lane each, on machines with the widest
// vectors.
inline constexpr int64_t kBlocksAtOnce = 16;

// Whether blocks of the problem have a lane each, and their mask rows whole bytes: then block rows
// of few blocks, of any tiles, are better solved side by side than one after the other.
inline bool SolvesSideBySide(const Problem& problem) {
  constexpr int kGreatestInLanes = 16;  // LaneSolver::kMaxM
  const auto [n, m] = problem.pattern;
  if (n == 0 || n == m || m % 8 != 0) return false;
  const Method method = problem.options.method;
  return method == Method::kTsenor || (method == Method::kOptimal && m <= kGreatestInLanes);
}

// The block rows of a batch in runs, each handed out once, in order, from an atomic counter. A run
// is one block row, or as many consecutive ones as together have at most kBlocksAtOnce blocks: of
// tiles that have at most half as many in a block row, no incomplete ones, and no potentials to
// tell.
//
// Thread-safe, apart from construction.
class BlockRows {
 public:
  explicit BlockRows(const Batch& batch) : batch_(batch) {
    const int m = batch.problem.pattern.m;
    for (const Tile& tile : batch.tiles) {
      first_.push_back(rows_);
      rows_ += BlocksAlong(tile.rows, m);
    }
    if (SolvesSideBySide(batch.problem)) FormRuns(m);
  }

  const Problem& problem() const { return batch_.problem; }
  // Runs.
  int64_t count() const { return runs_.empty() ? rows_ : std::ssize(runs_); }

  // The next run; false if none is left.
  bool Next(std::vector<BlockRow>& run) {
    const int64_t k = next_++;
    run.clear();
    if (k >= count()) return false;
    const int64_t first = runs_.empty() ? k : runs_[k];
    const int64_t end = runs_.empty() ? k + 1 : k + 1 < count() ? runs_[k + 1] : rows_;
    auto tile = std::upper_bound(first_.begin(), first_.end(), first) - first_.begin() - 1;
    for (int64_t row = first; row < end; ++row) {
      while (tile + 1 < std::ssize(first_) && first_[tile + 1] <= row) ++tile;
      run.push_back({&batch_.tiles[tile], row - first_[tile]});
    }
    return true;
  }

  // Some block row could not be solved: the call as a whole fails.
  void SetFailed() { failed_ = true; }
  bool failed() const { return failed_; }

 private:
  void FormRuns(int m) {
    int64_t room = 0;  // for blocks of the run that was begun last
    int64_t row = 0;
    for (const Tile& tile : batch_.tiles) {
      const int64_t blocks = BlocksAlong(tile.columns, m);
      const bool fits = blocks <= kBlocksAtOnce / 2 && tile.columns % m == 0 &&
                        tile.rows % m == 0 && tile.potentials == nullptr;
      for (const int64_t end = row + BlocksAlong(tile.rows, m); row < end; ++row) {
        if (!fits || blocks > room) {
          runs_.push_back(row);
          room = fits ? kBlocksAtOnce : 0;
        }
        room -= fits ? blocks : 0;
      }
    }
  }

  const Batch& batch_;
  std::vector<int64_t> first_;  // of each tile: the number of its first block row in the batch
  int64_t rows_ = 0;
  std::vector<int64_t> runs_;  // the number of each run's first block row; empty: one a run
  std::atomic<int64_t> next_ = 0;
  std::atomic<bool> failed_ = false;
};

}  // namespace tsenor::cpu
