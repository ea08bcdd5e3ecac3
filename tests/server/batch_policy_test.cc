#include "server/batch_policy.h"

#include <gtest/gtest.h>

#include <chrono>
#include <vector>

namespace tsenor::server {
namespace {

using std::chrono::milliseconds;

constexpr Time kStart = Time(std::chrono::hours(1));

// A queue whose first piece is its oldest: the older, the earlier its turn.
QueueState Queue(int64_t elements, int64_t pieces, Time oldest) {
  return {elements, pieces, oldest, {.arrived = oldest}};
}

BatchConfig Config(int64_t max_elements, Duration delay = Duration::zero()) {
  return {.max_batch_elements = max_elements, .max_batch_delay = delay};
}

TEST(BatchPolicy, NothingQueuedSleeps) {
  EXPECT_EQ(DecideBatch({}, 1, kStart, Config(100)).action, BatchDecision::kSleep);
}

TEST(BatchPolicy, IdleWorkerLaunchesTheSmallestPieceAtOnce) {
  const std::vector<QueueState> queues = {Queue(1, 1, kStart)};
  const BatchDecision decision = DecideBatch(queues, 1, kStart, Config(100));
  EXPECT_EQ(decision.action, BatchDecision::kLaunch);
  EXPECT_EQ(decision.queue, 0u);
  EXPECT_EQ(decision.max_elements, 100);
}

TEST(BatchPolicy, BusyWorkersLaunchNothingHoweverMuchWaits) {
  const std::vector<QueueState> queues = {Queue(1000000, 99, kStart - milliseconds(500))};
  EXPECT_EQ(DecideBatch(queues, 0, kStart, Config(100)).action, BatchDecision::kSleep);
}

TEST(BatchPolicy, TheOldestQueueGoesFirst) {
  const std::vector<QueueState> queues = {Queue(50, 1, kStart - milliseconds(1)),
                                          Queue(1, 1, kStart - milliseconds(3)),
                                          Queue(500, 5, kStart - milliseconds(2))};
  EXPECT_EQ(DecideBatch(queues, 2, kStart, Config(100)).queue, 1u);
}

TEST(BatchPolicy, TheQueueWhoseTurnItIsGoesFirstHoweverOldTheOthers) {
  std::vector<QueueState> queues(4, Queue(50, 1, kStart - milliseconds(9)));
  queues[1].first = {.level = 1, .last_served = 5, .tag = 7};
  queues[2].first = {.level = 1, .last_served = 3, .tag = 9};
  queues[3].first = {.level = 1, .last_served = 3, .tag = 8, .arrived = kStart};
  EXPECT_EQ(DecideBatch(queues, 1, kStart, Config(100)).queue, 3u);
}

TEST(BatchPolicy, WithADelayAnIdleWorkerWaitsForTheBatchToFill) {
  const BatchConfig config = Config(100, milliseconds(10));
  std::vector<QueueState> queues = {Queue(30, 1, kStart), Queue(30, 1, kStart + milliseconds(2))};
  Time now = kStart + milliseconds(2);
  BatchDecision decision = DecideBatch(queues, 1, now, config);
  EXPECT_EQ(decision.action, BatchDecision::kWait);
  EXPECT_EQ(decision.until, kStart + milliseconds(10));

  queues[1].elements = 100;  // full: goes at once, although the other one is older
  decision = DecideBatch(queues, 1, now, config);
  EXPECT_EQ(decision.action, BatchDecision::kLaunch);
  EXPECT_EQ(decision.queue, 1u);

  queues[1].elements = 30;
  now = kStart + milliseconds(10);  // the first one's time is up
  decision = DecideBatch(queues, 1, now, config);
  EXPECT_EQ(decision.action, BatchDecision::kLaunch);
  EXPECT_EQ(decision.queue, 0u);
}

TEST(BatchPolicy, AFullQueueDoesNotOvertakeAnOlderOneWhoseTimeIsUp) {
  const std::vector<QueueState> queues = {Queue(100, 1, kStart - milliseconds(5)),
                                          Queue(1, 1, kStart - milliseconds(11))};
  EXPECT_EQ(DecideBatch(queues, 1, kStart, Config(100, milliseconds(10))).queue, 1u);
}

TEST(BatchPolicy, ABatchIsFullWhenItsTimeIs) {
  BatchConfig config = Config(1'000'000);
  config.max_batch_time = milliseconds(2);
  std::vector<QueueState> queues = {Queue(500'000, 5, kStart)};
  const auto full = [&] { return DecideBatch(queues, 1, kStart, config).max_elements; };
  EXPECT_EQ(full(), 256 * 1024);  // nobody knows yet what it costs
  queues[0].seconds_per_element = 1e-8;
  EXPECT_EQ(full(), 200'000);
  queues[0].seconds_per_element = 1e-9;
  EXPECT_EQ(full(), 1'000'000);
  queues[0].seconds_per_element = 1;  // a piece is solved whatever it costs
  EXPECT_EQ(full(), 1);
  queues[0].seconds_per_element = 1e-300;
  EXPECT_EQ(full(), 1'000'000);
}

TEST(BatchPolicy, SaysHowManyWeightsTakeATime) {
  EXPECT_EQ(ElementsInTime(1e-8, milliseconds(2)), 200'000);
  EXPECT_EQ(ElementsInTime(1, milliseconds(2)), 1);
  EXPECT_EQ(ElementsInTime(0, milliseconds(2)), 256 * 1024);  // nobody knows
  EXPECT_GT(ElementsInTime(1e-8, Duration::zero()), int64_t{1} << 60);
}

TEST(BatchPolicy, WithADelayABatchThatFillsItsTimeGoesAtOnce) {
  BatchConfig config = Config(1'000'000, milliseconds(10));
  config.max_batch_time = milliseconds(2);
  std::vector<QueueState> queues = {Queue(300'000, 3, kStart)};
  queues[0].seconds_per_element = 1e-8;
  EXPECT_EQ(DecideBatch(queues, 1, kStart, config).action, BatchDecision::kLaunch);
  queues[0].elements = 100'000;
  EXPECT_EQ(DecideBatch(queues, 1, kStart, config).action, BatchDecision::kWait);
}

}  // namespace
}  // namespace tsenor::server
