#include "server/memory_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "tests/support/fake_clock.h"

namespace tsenor::server {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using Grant = MemoryBudget::Grant;

class MemoryBudgetTest : public ::testing::Test {
 protected:
  // Asks for `bytes`; the grant lands in grants_ and `id` in order_.
  void Ask(int id, int64_t bytes, Origin origin = {}) {
    budget_.Acquire(origin, bytes, [this, id](Grant grant) {
      order_.push_back(id);
      grants_.push_back(std::move(grant));
    });
  }

  // Gives back the first grant. What that frees may come to others, whose grants are added.
  void FreeFirst() {
    const Grant freed = std::move(grants_.front());
    grants_.erase(grants_.begin());
  }

  Observer observer_;
  testing::FakeClock clock_;
  MemoryBudget budget_{100, observer_, clock_, seconds(5)};
  std::vector<int> order_;
  std::vector<Grant> grants_;
};

TEST_F(MemoryBudgetTest, TryAcquireTakesWhatIsFreeOrNothing) {
  auto most = budget_.TryAcquire(60);
  ASSERT_TRUE(most.has_value());
  EXPECT_FALSE(budget_.TryAcquire(41).has_value());
  EXPECT_TRUE(budget_.TryAcquire(40).has_value());
  EXPECT_EQ(budget_.used(), 60);  // the second grant is gone already
  most.reset();
  EXPECT_EQ(budget_.used(), 0);
}

TEST_F(MemoryBudgetTest, GrantsAtOnceWhatIsFree) {
  Ask(1, 60);
  Ask(2, 40);
  EXPECT_THAT(order_, ElementsAre(1, 2));
  EXPECT_EQ(budget_.used(), 100);
  grants_.clear();
  EXPECT_EQ(budget_.used(), 0);
}

TEST_F(MemoryBudgetTest, ServesInOrderOfArrivalEvenIfALaterOneWouldFit) {
  Ask(1, 60);
  Ask(2, 70);
  Ask(3, 10);
  EXPECT_THAT(order_, ElementsAre(1));
  grants_.erase(grants_.begin());
  EXPECT_THAT(order_, ElementsAre(1, 2, 3));
  EXPECT_EQ(budget_.used(), 80);
}

TEST_F(MemoryBudgetTest, ClientsThatWaitTakeTurns) {
  Ask(0, 100);
  for (int k = 0; k < 3; ++k) Ask(10 + k, 50, {.client = "many"});
  for (int k = 0; k < 2; ++k) Ask(20 + k, 50, {.client = "one"});
  while (!grants_.empty()) FreeFirst();
  EXPECT_THAT(order_, ElementsAre(0, 10, 20, 11, 21, 12));
}

TEST_F(MemoryBudgetTest, HigherPrioritiesGoFirstUntilTheOthersHaveAged) {
  Ask(0, 100);
  Ask(1, 100, {.client = "low", .priority = -1});
  Ask(2, 100);
  Ask(3, 100, {.client = "high", .priority = 4});
  FreeFirst();
  EXPECT_THAT(order_, ElementsAre(0, 3));
  clock_.Advance(seconds(25));  // both are at the top now
  Ask(4, 100, {.client = "high", .priority = 4});
  while (!grants_.empty()) FreeFirst();
  EXPECT_THAT(order_, ElementsAre(0, 3, 1, 2, 4));
}

TEST_F(MemoryBudgetTest, ShrinkingFreesAndWakes) {
  Ask(1, 90);
  Ask(2, 20);
  EXPECT_THAT(order_, ElementsAre(1));
  grants_[0].Shrink(80);
  EXPECT_THAT(order_, ElementsAre(1, 2));
  EXPECT_EQ(budget_.used(), 100);
}

TEST_F(MemoryBudgetTest, GrantsMoveWithoutBeingCountedTwice) {
  Ask(1, 30);
  Grant moved = std::move(grants_[0]);
  EXPECT_EQ(moved.bytes(), 30);
  EXPECT_EQ(budget_.used(), 30);
  moved = Grant();
  EXPECT_EQ(budget_.used(), 0);
}

TEST_F(MemoryBudgetTest, ManyWaitersThatGiveBackAtOnceDoNotRecurse) {
  constexpr int kWaiters = 200000;  // as many nested calls would overflow the stack
  Ask(1, 100);
  int served = 0;
  for (int k = 0; k < kWaiters; ++k) {
    budget_.Acquire({}, 100, [&served](Grant) { ++served; });
  }
  EXPECT_EQ(served, 0);
  grants_.clear();
  EXPECT_EQ(served, kWaiters);
  EXPECT_EQ(budget_.used(), 0);
}

TEST_F(MemoryBudgetTest, NeverExceedsItsTotalFromManyThreads) {
  std::atomic<int> served = 0;
  std::atomic<bool> exceeded = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int k = 0; k < 2000; ++k) {
        budget_.Acquire({}, 1 + (k * 7 + t) % 100, [&](Grant grant) {
          if (budget_.used() > budget_.total()) exceeded = true;
          grant.Shrink(grant.bytes() / 2);
          ++served;
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(served, 8000);
  EXPECT_FALSE(exceeded);
  EXPECT_EQ(budget_.used(), 0);
}

}  // namespace
}  // namespace tsenor::server
