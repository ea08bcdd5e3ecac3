#include "server/memory_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace tsenor::server {
namespace {

using ::testing::ElementsAre;
using Grant = MemoryBudget::Grant;

class MemoryBudgetTest : public ::testing::Test {
 protected:
  // Asks for `bytes`; the grant lands in grants_ and `id` in order_.
  void Ask(int id, int64_t bytes) {
    budget_.Acquire(bytes, [this, id](Grant grant) {
      order_.push_back(id);
      grants_.push_back(std::move(grant));
    });
  }

  Observer observer_;
  MemoryBudget budget_{100, observer_};
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
    budget_.Acquire(100, [&served](Grant) { ++served; });
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
        budget_.Acquire(1 + (k * 7 + t) % 100, [&](Grant grant) {
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
