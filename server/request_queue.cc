#include "server/request_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace tsenor::server {

void RequestQueue::Push(std::unique_ptr<Piece> piece) {
  Lane& lane = lanes_[piece->problem];
  lane.elements += piece->elements();
  lane.pieces.push_back(std::move(piece));
}

std::vector<std::unique_ptr<Piece>> RequestQueue::Take(size_t index, int64_t max_elements) {
  auto entry = std::next(lanes_.begin(), static_cast<std::ptrdiff_t>(index));
  Lane& lane = entry->second;
  std::vector<std::unique_ptr<Piece>> taken;
  int64_t elements = 0;
  while (!lane.pieces.empty()) {
    const int64_t more = lane.pieces.front()->elements();
    if (!taken.empty() && elements + more > max_elements) break;
    elements += more;
    taken.push_back(std::move(lane.pieces.front()));
    lane.pieces.pop_front();
  }
  lane.elements -= elements;
  if (lane.pieces.empty()) lanes_.erase(entry);
  return taken;
}

std::vector<std::unique_ptr<Piece>> RequestQueue::TakeDead(Time now) {
  const auto is_dead = [now](const std::unique_ptr<Piece>& piece) {
    return piece->owner->dead() || piece->deadline <= now;
  };
  std::vector<std::unique_ptr<Piece>> dead;
  for (auto entry = lanes_.begin(); entry != lanes_.end();) {
    Lane& lane = entry->second;
    // The living keep their order, and in the usual case nothing moves.
    auto living_end = std::find_if(lane.pieces.begin(), lane.pieces.end(), is_dead);
    for (auto piece = living_end; piece != lane.pieces.end(); ++piece) {
      if (is_dead(*piece)) {
        lane.elements -= (*piece)->elements();
        dead.push_back(std::move(*piece));
      } else {
        *living_end++ = std::move(*piece);
      }
    }
    lane.pieces.erase(living_end, lane.pieces.end());
    entry = lane.pieces.empty() ? lanes_.erase(entry) : std::next(entry);
  }
  return dead;
}

std::vector<std::unique_ptr<Piece>> RequestQueue::TakeAll() {
  std::vector<std::unique_ptr<Piece>> all;
  for (auto& [problem, lane] : lanes_) {
    for (std::unique_ptr<Piece>& piece : lane.pieces) all.push_back(std::move(piece));
  }
  lanes_.clear();
  return all;
}

std::vector<QueueState> RequestQueue::states() const {
  std::vector<QueueState> states;
  states.reserve(lanes_.size());
  for (const auto& [problem, lane] : lanes_) {
    states.push_back(
        {lane.elements, static_cast<int64_t>(lane.pieces.size()), lane.pieces.front()->completed});
  }
  return states;
}

int64_t RequestQueue::pieces() const {
  int64_t count = 0;
  for (const auto& [problem, lane] : lanes_) count += static_cast<int64_t>(lane.pieces.size());
  return count;
}

}  // namespace tsenor::server
