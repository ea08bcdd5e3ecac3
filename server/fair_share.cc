#include "server/fair_share.h"

#include <algorithm>

namespace tsenor::server {

int AgedPriority(int priority, Duration waited, Duration ageing) {
  const int64_t to_top = kMaxPriority - priority;
  if (ageing <= Duration::zero()) return kMaxPriority;
  return priority + static_cast<int>(std::clamp<int64_t>(waited / ageing, 0, to_top));
}

bool Turn::Precedes(const Turn& other) const {
  if (level != other.level) return level > other.level;
  if (last_served != other.last_served) return last_served < other.last_served;
  if (tag != other.tag) return tag < other.tag;
  return arrived < other.arrived;
}

double FairShare::Enter(const Origin& origin, int64_t bytes) {
  Class& line = classes_[origin.priority];
  Client& client = line.clients[origin.client];
  ++client.in_line;
  client.last_tag = std::max(client.last_tag, line.present) + static_cast<double>(bytes);
  return client.last_tag;
}

void FairShare::Serve(const Origin& origin, int64_t bytes) {
  Class& line = classes_.at(origin.priority);
  line.present += static_cast<double>(bytes) / static_cast<double>(line.clients.size());
  line.last_served = ++served_;
  Leave(origin);
}

void FairShare::Leave(const Origin& origin) {
  const auto line = classes_.find(origin.priority);
  const auto client = line->second.clients.find(origin.client);
  if (--client->second.in_line > 0) return;
  line->second.clients.erase(client);
  if (line->second.clients.empty()) classes_.erase(line);
}

int64_t FairShare::last_served(int priority) const {
  const auto line = classes_.find(priority);
  return line == classes_.end() ? 0 : line->second.last_served;
}

}  // namespace tsenor::server
