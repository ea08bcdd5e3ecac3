// Pieces that wait for a worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "server/batch_policy.h"
#include "server/clock.h"
#include "server/fair_queue.h"
#include "server/fair_share.h"
#include "server/piece.h"
#include "solver/problem.h"

namespace tsenor::server {

// Queues of pieces, one per problem, because only equal problems share a batch. Within each, and
// between them, clients have equal shares of bytes and priorities count (fair_share.h). Owns its
// pieces.
//
// Thread-compatible: the dispatcher guards it.
class RequestQueue {
 public:
  // `priority_ageing`: BatchConfig::priority_ageing.
  explicit RequestQueue(Duration priority_ageing) : priority_ageing_(priority_ageing) {}

  RequestQueue(const RequestQueue&) = delete;
  RequestQueue& operator=(const RequestQueue&) = delete;

  void Push(std::unique_ptr<Piece> piece);

  // A batch, and what was found on the way to it: pieces whose owner is dead or whose deadline has
  // come.
  struct Taken {
    std::vector<std::unique_ptr<Piece>> pieces;
    std::vector<std::unique_ptr<Piece>> dead;
  };
  // Takes from the `index`-th queue of states() the pieces whose turn it is: as many as
  // `max_elements` allows, at least one; none if all are dead.
  Taken Take(size_t index, int64_t max_elements, Time now);

  // Takes every piece whose owner is dead or whose deadline has come. Looks at all of them.
  std::vector<std::unique_ptr<Piece>> TakeDead(Time now);

  // Takes everything.
  std::vector<std::unique_ptr<Piece>> TakeAll();

  // One entry per problem, in the order of problems; no queue is empty.
  std::vector<QueueState> states(Time now) const;

  // Those of states(), in the same order; valid until the queue changes.
  std::vector<const Problem*> problems() const;

  int64_t pieces() const;

 private:
  // What waits for one problem. Never empty.
  struct Lane {
    explicit Lane(FairShare& share) : queue(share) {}

    FairQueue<std::unique_ptr<Piece>> queue;
    int64_t elements = 0;
    int64_t pieces = 0;
  };
  using Lanes = std::map<Problem, Lane>;

  // Takes every piece for which `is_unwanted` holds.
  template <typename Predicate>
  std::vector<std::unique_ptr<Piece>> TakeIf(Predicate is_unwanted);

  const Duration priority_ageing_;
  FairShare share_;  // of all lanes
  Lanes lanes_;
};

}  // namespace tsenor::server
