#include "server/batch_policy.h"

#include <algorithm>

namespace tsenor::server {
namespace {

// The first batch of a problem, which tells what it costs, is a full one's part: enough to see the
// cost of weights, not much where they turn out to be dear.
constexpr int64_t kFirstBatch = 16;

// Weights of a full batch from `queue`, at least 1.
int64_t FullBatch(const QueueState& queue, const BatchConfig& config) {
  const int64_t most = config.max_batch_elements;
  if (config.max_batch_time == Duration::zero()) return most;
  if (queue.seconds_per_element == 0) return std::max<int64_t>(most / kFirstBatch, 1);
  const double in_time = Seconds(config.max_batch_time) / queue.seconds_per_element;
  return in_time < static_cast<double>(most) ? std::max(static_cast<int64_t>(in_time), int64_t{1})
                                             : most;
}

}  // namespace

BatchDecision DecideBatch(std::span<const QueueState> queues, int idle_workers, Time now,
                          const BatchConfig& config) {
  BatchDecision decision;
  if (idle_workers == 0) return decision;

  const QueueState* chosen = nullptr;
  Time until = Time::max();
  for (const QueueState& queue : queues) {
    const Time due = queue.oldest + config.max_batch_delay;
    if (queue.elements < FullBatch(queue, config) && due > now) {
      until = std::min(until, due);
    } else if (chosen == nullptr || queue.first.Precedes(chosen->first)) {
      chosen = &queue;
    }
  }

  if (chosen != nullptr) {
    decision.action = BatchDecision::kLaunch;
    decision.queue = static_cast<size_t>(chosen - queues.data());
    decision.max_elements = FullBatch(*chosen, config);
  } else if (until != Time::max()) {
    decision.action = BatchDecision::kWait;
    decision.until = until;
  }
  return decision;
}

}  // namespace tsenor::server
