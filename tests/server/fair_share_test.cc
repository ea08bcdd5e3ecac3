#include "server/fair_share.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "server/fair_queue.h"

namespace tsenor::server {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;

constexpr Time kStart = Time(std::chrono::hours(1));

TEST(AgedPriority, RisesByOneEachAgeingTimeUpToTheTop) {
  EXPECT_EQ(AgedPriority(-4, seconds(0), seconds(5)), -4);
  EXPECT_EQ(AgedPriority(-4, seconds(5) - Duration(1), seconds(5)), -4);
  EXPECT_EQ(AgedPriority(-4, seconds(5), seconds(5)), -3);
  EXPECT_EQ(AgedPriority(0, seconds(11), seconds(5)), 2);
  EXPECT_EQ(AgedPriority(0, seconds(1000), seconds(5)), kMaxPriority);
  EXPECT_EQ(AgedPriority(4, seconds(1000), seconds(5)), kMaxPriority);
}

TEST(AgedPriority, DoesNotCountWithoutAgeing) {
  EXPECT_EQ(AgedPriority(-4, seconds(0), seconds(0)), kMaxPriority);
  EXPECT_EQ(AgedPriority(4, seconds(0), seconds(0)), kMaxPriority);
}

class FairQueueTest : public ::testing::Test {
 protected:
  void Push(const std::string& client, int stream, int64_t bytes, int priority = 0,
            Time arrived = kStart) {
    queue_.Push({client, priority}, bytes, arrived, client + std::to_string(stream));
  }
  std::string Take(Time now = kStart) { return queue_.TakeFirst(now, seconds(5), /*served=*/true); }
  std::vector<std::string> TakeAll(Time now = kStart) {
    std::vector<std::string> all;
    while (!queue_.empty()) all.push_back(Take(now));
    return all;
  }

  FairShare share_;
  FairQueue<std::string> queue_{share_};
};

TEST_F(FairQueueTest, AClientIsServedInOrderOfArrival) {
  queue_.Push({"a", 0}, 100, kStart, "first");
  queue_.Push({"a", 0}, 1, kStart, "second");
  queue_.Push({"a", 0}, 10, kStart, "third");
  EXPECT_THAT(TakeAll(), ElementsAre("first", "second", "third"));
}

TEST_F(FairQueueTest, ClientsTakeTurnsByBytes) {
  for (int k = 0; k < 4; ++k) Push("a", 0, 10);
  for (int k = 0; k < 2; ++k) Push("b", 0, 20);
  EXPECT_THAT(TakeAll(), ElementsAre("a0", "a0", "b0", "a0", "a0", "b0"));
}

TEST_F(FairQueueTest, MoreStreamsAreNotMoreTurns) {
  for (int stream = 0; stream < 3; ++stream) Push("a", stream, 10);
  for (int k = 0; k < 3; ++k) Push("b", 0, 10);
  EXPECT_THAT(TakeAll(), ElementsAre("a0", "b0", "a1", "b0", "a2", "b0"));
}

TEST_F(FairQueueTest, WhoComesBackHasNoClaimToWhatItDidNotUse) {
  for (int k = 0; k < 6; ++k) Push("a", 0, 10);
  for (int k = 0; k < 4; ++k) Take();
  for (int k = 0; k < 3; ++k) Push("b", 0, 10);
  EXPECT_THAT(TakeAll(), ElementsAre("a0", "b0", "a0", "b0", "b0"));
}

TEST_F(FairQueueTest, ASmallOneGoesNextHoweverMuchOthersHaveInLine) {
  for (int k = 0; k < 8; ++k) Push("a", 0, 1000);
  Take();
  Push("b", 0, 1);
  EXPECT_EQ(Take(), "b0");
  EXPECT_EQ(Take(), "a0");
}

TEST_F(FairQueueTest, PrioritiesGoFirstAndTakeTurnsOnceTheyHaveAged) {
  Push("low", 0, 10, 0, kStart);
  Push("low", 1, 10, 0, kStart);
  for (int k = 0; k < 3; ++k) Push("high", 0, 10, 1, kStart + seconds(4));
  EXPECT_EQ(Take(kStart + seconds(4)), "high0");
  EXPECT_EQ(Take(kStart + seconds(5)), "low0");  // has not been served for longer
  EXPECT_EQ(Take(kStart + seconds(5)), "high0");
  EXPECT_EQ(Take(kStart + seconds(5)), "low1");
  EXPECT_EQ(Take(kStart + seconds(5)), "high0");
}

TEST_F(FairQueueTest, TakesOutWhatIsUnwanted) {
  for (int stream = 0; stream < 4; ++stream) Push("a", stream, 10, stream % 2);
  const auto is_unwanted = [](const std::string& item) { return item == "a1" || item == "a2"; };
  EXPECT_THAT(queue_.TakeIf(is_unwanted), ElementsAre("a2", "a1"));
  EXPECT_THAT(TakeAll(), ElementsAre("a3", "a0"));
  Push("a", 0, 10);
  EXPECT_THAT(queue_.TakeIf([](const std::string&) { return true; }), ElementsAre("a0"));
  EXPECT_TRUE(queue_.empty());
}

TEST_F(FairQueueTest, QueuesOfOneShareDivideItTogether) {
  FairQueue<std::string> other(share_);
  for (int k = 0; k < 3; ++k) Push("a", 0, 10);
  Take();
  Take();
  // `b` begins where `a` stands, not where `other` was left.
  other.Push({"b", 0}, 15, kStart, "b");
  EXPECT_TRUE(queue_.first_turn(kStart, seconds(5)).Precedes(other.first_turn(kStart, seconds(5))));
  other.Push({"c", 0}, 5, kStart, "c");
  EXPECT_TRUE(other.first_turn(kStart, seconds(5)).Precedes(queue_.first_turn(kStart, seconds(5))));
}

}  // namespace
}  // namespace tsenor::server
