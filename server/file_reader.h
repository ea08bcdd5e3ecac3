// The threads that wait for storage, so that no others need to.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "server/observer.h"
#include "server/piece.h"

namespace tsenor::server {

// Reads pieces from their files, first come, first served, on threads of its own: a file system
// that is slow or hangs holds up neither gRPC's threads nor the solvers'.
//
// Does not own the observer, which outlives it. Thread-safe.
class FileReader final : public PieceReader {
 public:
  // Starts the threads.
  explicit FileReader(Observer& observer);
  // Stops.
  ~FileReader() override;

  // PieceReader. After Stop(), pieces come back as Unavailable.
  void Submit(std::unique_ptr<Piece> piece) override;
  void DropDead() override;

  // Hands back as Unavailable what is queued, and waits for the reads that have begun. Call from
  // one thread.
  void Stop();

 private:
  void Work();
  // Reads one piece and hands it back.
  void ReadPiece(std::unique_ptr<Piece> piece);

  Observer& observer_;

  std::mutex mutex_;
  std::condition_variable changed_;           // queue_ or stopping_
  std::deque<std::unique_ptr<Piece>> queue_;  // guarded by mutex_
  bool stopping_ = false;                     // guarded by mutex_

  std::vector<std::thread> threads_;  // set by the constructor, emptied by Stop()
};

}  // namespace tsenor::server
