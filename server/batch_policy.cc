#include "server/batch_policy.h"

#include <algorithm>
#include <limits>

namespace tsenor::server {
namespace {

// Weights of which the cost is not known: enough to see it, not many where they turn out to be
// dear.
constexpr int64_t kFirstElements = int64_t{256} << 10;

// Weights of a full batch from `queue`, at least 1.
int64_t FullBatch(const QueueState& queue, const BatchConfig& config) {
  return std::min(config.max_batch_elements,
                  ElementsInTime(queue.seconds_per_element, config.max_batch_time));
}

}  // namespace

int64_t ElementsInTime(double seconds_per_element, Duration time) {
  constexpr int64_t kAnyNumber = std::numeric_limits<int64_t>::max();
  if (time == Duration::zero()) return kAnyNumber;
  if (seconds_per_element == 0) return kFirstElements;
  const double elements = Seconds(time) / seconds_per_element;
  if (elements >= static_cast<double>(kAnyNumber)) return kAnyNumber;
  return std::max(static_cast<int64_t>(elements), int64_t{1});
}

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
