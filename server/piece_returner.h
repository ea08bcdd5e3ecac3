// The way back from solver to sessions.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "server/piece.h"

namespace tsenor::server {

// Hands `piece` to its owner, and breaks the tie between them first.
void HandBack(std::unique_ptr<Piece> piece, absl::Status status);

// Hands pieces back to their owners on threads of its own: an owner checks its mask and sends it,
// which takes longer than solving a small tensor, while the solver could have the next batch.
//
// Thread-safe.
class PieceReturner {
 public:
  // Starts the threads.
  PieceReturner();
  // Stops.
  ~PieceReturner();

  // Hands the pieces of one batch back, sooner or later; a piece alone at once, on this thread.
  void Return(std::vector<std::unique_ptr<Piece>> pieces, const absl::Status& status);

  // Waits until all are back, and ends the threads. REQUIRES: nothing is returned from now on.
  void Stop();

 private:
  struct Solved {
    std::unique_ptr<Piece> piece;
    absl::Status status;
  };

  void Work();

  std::mutex mutex_;
  std::condition_variable changed_;  // solved_ or stopping_
  std::deque<Solved> solved_;        // guarded by mutex_
  bool stopping_ = false;            // guarded by mutex_

  std::vector<std::thread> threads_;  // set by the constructor, emptied by Stop()
};

}  // namespace tsenor::server
