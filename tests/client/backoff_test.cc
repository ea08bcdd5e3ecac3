#include "client/backoff.h"

#include <gtest/gtest.h>

namespace tsenor::client {
namespace {

using std::chrono::milliseconds;

TEST(Backoff, DoublesUpToItsMaximumWithJitterOfAtMostHalf) {
  Backoff backoff(
      {.max_attempts = 100, .first_delay = milliseconds(100), .max_delay = milliseconds(800)},
      /*seed=*/1);
  for (const int expected : {100, 200, 400, 800, 800, 800}) {
    const int64_t delay = backoff.NextDelay().count();
    EXPECT_GE(delay, expected / 2);
    EXPECT_LE(delay, expected);
  }
}

TEST(Backoff, CountsAttemptsTheFirstIncluded) {
  Backoff backoff({.max_attempts = 2, .first_delay = milliseconds(1)}, 1);
  EXPECT_TRUE(backoff.MayRetry());
  backoff.NextDelay();
  EXPECT_EQ(backoff.attempts(), 2);
  EXPECT_FALSE(backoff.MayRetry());
}

TEST(Backoff, SeedsSpreadClients) {
  const RetryPolicy policy{.first_delay = std::chrono::seconds(10),
                           .max_delay = std::chrono::seconds(10)};
  EXPECT_NE(Backoff(policy, 1).NextDelay(), Backoff(policy, 2).NextDelay());
}

TEST(Backoff, OnlyOverloadAndAbsenceAreRetried) {
  EXPECT_TRUE(IsRetryable(absl::UnavailableError("")));
  EXPECT_TRUE(IsRetryable(absl::ResourceExhaustedError("")));
  EXPECT_FALSE(IsRetryable(absl::OkStatus()));
  EXPECT_FALSE(IsRetryable(absl::InvalidArgumentError("")));
  EXPECT_FALSE(IsRetryable(absl::DeadlineExceededError("")));
  EXPECT_FALSE(IsRetryable(absl::DataLossError("")));
}

}  // namespace
}  // namespace tsenor::client
