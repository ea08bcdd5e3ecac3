#include "server/request_queue.h"

#include <iterator>
#include <utility>

namespace tsenor::server {
namespace {

bool IsDead(const Piece& piece, Time now) { return piece.owner->dead() || piece.deadline <= now; }

}  // namespace

void RequestQueue::Push(std::unique_ptr<Piece> piece) {
  Lane& lane = lanes_.try_emplace(piece->problem, share_).first->second;
  lane.elements += piece->elements();
  ++lane.pieces;
  const Time arrived = piece->completed;
  const int64_t bytes = piece->weight_bytes();
  Origin origin = {piece->client, piece->priority};
  lane.queue.Push(std::move(origin), bytes, arrived, std::move(piece));
}

RequestQueue::Taken RequestQueue::Take(size_t index, int64_t max_elements, Time now) {
  const auto entry = std::next(lanes_.begin(), static_cast<std::ptrdiff_t>(index));
  Lane& lane = entry->second;
  Taken taken;
  int64_t elements = 0;
  while (!lane.queue.empty()) {
    const Piece& next = *lane.queue.first(now, priority_ageing_);
    const bool dead = IsDead(next, now);
    const int64_t more = next.elements();
    if (!dead && !taken.pieces.empty() && elements + more > max_elements) break;
    if (!dead) elements += more;
    lane.elements -= more;
    --lane.pieces;
    auto& pieces = dead ? taken.dead : taken.pieces;
    pieces.push_back(lane.queue.TakeFirst(now, priority_ageing_, /*served=*/!dead));
  }
  if (lane.queue.empty()) lanes_.erase(entry);
  return taken;
}

template <typename Predicate>
std::vector<std::unique_ptr<Piece>> RequestQueue::TakeIf(Predicate is_unwanted) {
  std::vector<std::unique_ptr<Piece>> all;
  for (auto entry = lanes_.begin(); entry != lanes_.end();) {
    Lane& lane = entry->second;
    for (std::unique_ptr<Piece>& piece : lane.queue.TakeIf(is_unwanted)) {
      lane.elements -= piece->elements();
      --lane.pieces;
      all.push_back(std::move(piece));
    }
    entry = lane.queue.empty() ? lanes_.erase(entry) : std::next(entry);
  }
  return all;
}

std::vector<std::unique_ptr<Piece>> RequestQueue::TakeDead(Time now) {
  return TakeIf([now](const std::unique_ptr<Piece>& piece) { return IsDead(*piece, now); });
}

std::vector<std::unique_ptr<Piece>> RequestQueue::TakeAll() {
  return TakeIf([](const std::unique_ptr<Piece>&) { return true; });
}

std::vector<QueueState> RequestQueue::states(Time now) const {
  std::vector<QueueState> states;
  states.reserve(lanes_.size());
  for (const auto& [problem, lane] : lanes_) {
    states.push_back({lane.elements, lane.pieces, lane.queue.oldest(),
                      lane.queue.first_turn(now, priority_ageing_)});
  }
  return states;
}

std::vector<const Problem*> RequestQueue::problems() const {
  std::vector<const Problem*> problems;
  problems.reserve(lanes_.size());
  for (const auto& [problem, lane] : lanes_) problems.push_back(&problem);
  return problems;
}

int64_t RequestQueue::pieces() const {
  int64_t count = 0;
  for (const auto& [problem, lane] : lanes_) count += lane.pieces;
  return count;
}

}  // namespace tsenor::server
