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

// The block rows of a batch, each handed out once, in order, from an atomic counter.
//
// Thread-safe, apart from construction.
class BlockRows {
 public:
  explicit BlockRows(const Batch& batch) : batch_(batch) {
    for (const Tile& tile : batch.tiles) {
      first_.push_back(count_);
      count_ += BlocksAlong(tile.rows, batch.problem.pattern.m);
    }
  }

  const Problem& problem() const { return batch_.problem; }
  int64_t count() const { return count_; }

  // The next block row; false if none is left.
  bool Next(BlockRow& row) {
    const int64_t k = next_++;
    if (k >= count_) return false;
    const auto after = std::upper_bound(first_.begin(), first_.end(), k);
    const size_t tile = after - first_.begin() - 1;
    row = {&batch_.tiles[tile], k - first_[tile]};
    return true;
  }

  // Some block row could not be solved: the call as a whole fails.
  void SetFailed() { failed_ = true; }
  bool failed() const { return failed_; }

 private:
  const Batch& batch_;
  std::vector<int64_t> first_;  // of each tile: the number of its first block row in the batch
  int64_t count_ = 0;
  std::atomic<int64_t> next_ = 0;
  std::atomic<bool> failed_ = false;
};

}  // namespace tsenor::cpu
