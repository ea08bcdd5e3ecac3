#include "client/backoff.h"

#include <algorithm>

namespace tsenor::client {

bool IsRetryable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
}

Backoff::Backoff(const RetryPolicy& policy, uint64_t seed)
    : policy_(policy), random_(seed), delay_(std::min(policy.first_delay, policy.max_delay)) {}

std::chrono::milliseconds Backoff::NextDelay() {
  ++attempts_;
  const double factor = std::uniform_real_distribution<double>(0.5, 1.0)(random_);
  const auto jittered = std::chrono::duration_cast<std::chrono::milliseconds>(delay_ * factor);
  delay_ = std::min(delay_ * 2, policy_.max_delay);
  return jittered;
}

}  // namespace tsenor::client
