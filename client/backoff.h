// When to try again: exponential backoff with jitter, bounded in attempts.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

#include "absl/status/status.h"

namespace tsenor::client {

// How often and how fast a failed request is repeated.
struct RetryPolicy {
  int max_attempts = 6;                        // the first included; >= 1
  std::chrono::milliseconds first_delay{200};  // before the second attempt
  std::chrono::milliseconds max_delay{10'000};
};

// True for the codes by which the service says "the same request may succeed later": UNAVAILABLE
// and RESOURCE_EXHAUSTED. Solving is idempotent, so repeating it is safe.
bool IsRetryable(const absl::Status& status);

// The delays between the attempts of one request. Not thread-safe: belongs to one request.
class Backoff {
 public:
  // `seed` spreads clients that failed together.
  Backoff(const RetryPolicy& policy, uint64_t seed);

  // True if another attempt is allowed after those counted so far.
  bool MayRetry() const { return attempts_ < policy_.max_attempts; }

  // Counts one attempt and answers how long to wait before it: first_delay * 2^(k - 1) before
  // attempt k + 1, at most max_delay, times a random factor in [0.5, 1).
  std::chrono::milliseconds NextDelay();

  // Attempts so far, the first included.
  int attempts() const { return attempts_; }

 private:
  RetryPolicy policy_;
  std::mt19937_64 random_;
  std::chrono::milliseconds delay_;
  int attempts_ = 1;
};

}  // namespace tsenor::client
