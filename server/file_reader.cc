#include "server/file_reader.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace tsenor::server {
namespace {

// Reads at once. One thread keeps up with the page cache; storage behind a network answers several
// reads sooner than one after the other, and one file that hangs must not hold up all others.
constexpr int kThreads = 4;

absl::Status ShuttingDown() {
  return absl::UnavailableError("the server is shutting down; retry elsewhere");
}

// Hands `piece` to its owner, and breaks the tie between them first.
void HandBack(std::unique_ptr<Piece> piece, absl::Status status) {
  const std::shared_ptr<PieceOwner> owner = std::move(piece->owner);
  owner->OnPieceRead(std::move(piece), std::move(status));
}

}  // namespace

FileReader::FileReader(Observer& observer) : observer_(observer) {
  for (int k = 0; k < kThreads; ++k) threads_.emplace_back([this] { Work(); });
}

FileReader::~FileReader() { Stop(); }

void FileReader::Submit(std::unique_ptr<Piece> piece) {
  {
    std::lock_guard lock(mutex_);
    if (!stopping_) queue_.push_back(std::move(piece));
  }
  if (piece != nullptr) return HandBack(std::move(piece), ShuttingDown());
  changed_.notify_one();
}

void FileReader::DropDead() {
  std::vector<std::unique_ptr<Piece>> dead;
  {
    std::lock_guard lock(mutex_);
    const auto first_dead = std::stable_partition(
        queue_.begin(), queue_.end(), [](const auto& piece) { return !piece->owner->dead(); });
    std::move(first_dead, queue_.end(), std::back_inserter(dead));
    queue_.erase(first_dead, queue_.end());
  }
  for (auto& piece : dead) HandBack(std::move(piece), absl::CancelledError("the stream has ended"));
}

void FileReader::Stop() {
  std::deque<std::unique_ptr<Piece>> left;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    left.swap(queue_);
  }
  changed_.notify_all();
  for (auto& piece : left) HandBack(std::move(piece), ShuttingDown());
  for (std::thread& thread : std::exchange(threads_, {})) thread.join();
}

void FileReader::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    std::unique_ptr<Piece> piece = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    ReadPiece(std::move(piece));
    lock.lock();
  }
}

void FileReader::ReadPiece(std::unique_ptr<Piece> piece) {
  absl::Status status = piece->file->Read(piece->weight_offset(), piece->weights.bytes());
  if (status.ok()) observer_.OnFileRead(piece->weight_bytes());
  HandBack(std::move(piece), std::move(status));
}

}  // namespace tsenor::server
