#include "server/batch_policy.h"

#include <algorithm>

namespace tsenor::server {

BatchDecision DecideBatch(std::span<const QueueState> queues, int idle_workers, Time now,
                          const BatchConfig& config) {
  BatchDecision decision;
  if (idle_workers == 0) return decision;

  const QueueState* chosen = nullptr;
  Time until = Time::max();
  for (const QueueState& queue : queues) {
    const Time due = queue.oldest + config.max_batch_delay;
    if (queue.elements < config.max_batch_elements && due > now) {
      until = std::min(until, due);
    } else if (chosen == nullptr || queue.first.Precedes(chosen->first)) {
      chosen = &queue;
    }
  }

  if (chosen != nullptr) {
    decision.action = BatchDecision::kLaunch;
    decision.queue = static_cast<size_t>(chosen - queues.data());
    decision.max_elements = config.max_batch_elements;
  } else if (until != Time::max()) {
    decision.action = BatchDecision::kWait;
    decision.until = until;
  }
  return decision;
}

}  // namespace tsenor::server
