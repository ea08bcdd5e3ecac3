#include "server/piece_returner.h"

#include <algorithm>
#include <utility>

#include "server/brief_lock.h"

namespace tsenor::server {
namespace {

// Few: each of them takes cores from gRPC's threads, which have more to do for a tensor. (An H200
// with 16 cores, 256 clients with 64 x 64 each, masks/s with none / 8 of them, 2026-11-30: a solver
// that takes no time 26,000 / 38,000; METHOD_TSENOR, on two workers, 35,500 / 29,100.)
unsigned Threads() { return std::clamp(std::thread::hardware_concurrency() / 8, 1u, 4u); }

}  // namespace

void HandBack(std::unique_ptr<Piece> piece, absl::Status status) {
  const std::shared_ptr<PieceOwner> owner = std::move(piece->owner);
  owner->OnPieceDone(std::move(piece), std::move(status));
}

PieceReturner::PieceReturner() {
  for (unsigned k = 0; k < Threads(); ++k) threads_.emplace_back([this] { Work(); });
}

PieceReturner::~PieceReturner() { Stop(); }

void PieceReturner::Return(std::vector<std::unique_ptr<Piece>> pieces, const absl::Status& status) {
  if (pieces.size() == 1) return HandBack(std::move(pieces.front()), status);
  {
    const auto lock = LockBriefly(mutex_);
    for (std::unique_ptr<Piece>& piece : pieces) solved_.push_back({std::move(piece), status});
  }
  for (size_t k = 0; k < std::min(pieces.size(), threads_.size()); ++k) changed_.notify_one();
}

void PieceReturner::Stop() {
  {
    const auto lock = LockBriefly(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : std::exchange(threads_, {})) thread.join();
}

void PieceReturner::Work() {
  std::unique_lock lock = LockBriefly(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !solved_.empty(); });
    if (solved_.empty()) return;
    Solved next = std::move(solved_.front());
    solved_.pop_front();
    lock.unlock();
    HandBack(std::move(next.piece), std::move(next.status));
    lock.lock();
  }
}

}  // namespace tsenor::server
