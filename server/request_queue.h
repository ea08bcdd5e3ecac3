// Pieces that wait for a worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "server/batch_policy.h"
#include "server/clock.h"
#include "server/piece.h"
#include "solver/problem.h"

namespace tsenor::server {

// Queues of pieces, one per problem, because only equal problems share a batch; first in, first out
// within each. Owns its pieces.
//
// Thread-compatible: the dispatcher guards it.
class RequestQueue {
 public:
  // REQUIRES: piece->completed is not before that of any piece pushed earlier with the same
  // problem.
  void Push(std::unique_ptr<Piece> piece);

  // Takes the first pieces of the `index`-th queue of states(): as many as `max_elements` allows,
  // at least one.
  std::vector<std::unique_ptr<Piece>> Take(size_t index, int64_t max_elements);

  // Takes every piece whose owner is dead or whose deadline has come.
  std::vector<std::unique_ptr<Piece>> TakeDead(Time now);

  // Takes everything.
  std::vector<std::unique_ptr<Piece>> TakeAll();

  // One entry per problem, in the order of problems; no queue is empty.
  std::vector<QueueState> states() const;

  int64_t pieces() const;

 private:
  struct Lane {
    std::deque<std::unique_ptr<Piece>> pieces;
    int64_t elements = 0;
  };

  std::map<Problem, Lane> lanes_;
};

}  // namespace tsenor::server
