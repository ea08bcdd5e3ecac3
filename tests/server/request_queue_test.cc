#include "server/request_queue.h"

#include <gtest/gtest.h>

#include <chrono>

#include "tests/server/piece_fixture.h"
#include "tests/support/fake_clock.h"

namespace tsenor::server {
namespace {

using std::chrono::milliseconds;

constexpr Time kStart = Time(std::chrono::hours(1));

class RequestQueueTest : public ::testing::Test {
 protected:
  std::unique_ptr<Piece> Make(int64_t columns, Time completed = kStart) {
    return MakePiece(owner_, budget_, columns, completed);
  }

  Observer observer_;
  testing::FakeClock clock_;
  MemoryBudget budget_{1 << 20, observer_, clock_, Duration::zero()};
  std::shared_ptr<FakeOwner> owner_ = std::make_shared<FakeOwner>();
  RequestQueue queue_{std::chrono::seconds(5)};
};

TEST_F(RequestQueueTest, KeepsOneQueuePerProblem) {
  queue_.Push(Make(8));
  queue_.Push(Make(10, kStart + milliseconds(1)));
  auto other = Make(4, kStart + milliseconds(2));
  other->problem.pattern = {2, 2};
  queue_.Push(std::move(other));
  auto method = Make(6, kStart + milliseconds(3));
  method->problem.options.method = Method::kTsenor;
  queue_.Push(std::move(method));

  const auto states = queue_.states(kStart);
  ASSERT_EQ(states.size(), 3u);
  EXPECT_EQ(queue_.pieces(), 4);
  // In the order of problems: 1:2 optimal, 1:2 tsenor, 2:2.
  EXPECT_EQ(states[0].elements, 36);
  EXPECT_EQ(states[0].pieces, 2);
  EXPECT_EQ(states[0].oldest, kStart);
  EXPECT_EQ(states[1].elements, 12);
  EXPECT_EQ(states[2].elements, 8);
}

TEST_F(RequestQueueTest, TakesTheFirstPiecesThatFit) {
  for (int64_t columns : {4, 4, 4}) queue_.Push(Make(columns));
  EXPECT_EQ(queue_.Take(0, 20, kStart).pieces.size(), 2u);
  EXPECT_EQ(queue_.states(kStart)[0].elements, 8);
  EXPECT_EQ(queue_.Take(0, 20, kStart).pieces.size(), 1u);
  EXPECT_TRUE(queue_.states(kStart).empty());
}

TEST_F(RequestQueueTest, TakesAPieceThatIsLargerThanTheBatch) {
  queue_.Push(Make(100));
  queue_.Push(Make(1));
  EXPECT_EQ(queue_.Take(0, 20, kStart).pieces.size(), 1u);
  EXPECT_EQ(queue_.pieces(), 1);
}

TEST_F(RequestQueueTest, FindsPiecesOfDeadOwnersAndPastTheirDeadline) {
  auto dead_owner = std::make_shared<FakeOwner>();
  queue_.Push(MakePiece(dead_owner, budget_, 4, kStart));
  queue_.Push(Make(6));
  auto late = Make(8);
  late->deadline = kStart + milliseconds(5);
  queue_.Push(std::move(late));

  EXPECT_TRUE(queue_.TakeDead(kStart).empty());
  dead_owner->Die();
  const auto dead = queue_.TakeDead(kStart + milliseconds(4));
  ASSERT_EQ(dead.size(), 1u);
  EXPECT_EQ(dead[0]->columns, 4);
  const auto past = queue_.TakeDead(kStart + milliseconds(5));
  ASSERT_EQ(past.size(), 1u);
  EXPECT_EQ(past[0]->columns, 8);
  EXPECT_EQ(queue_.states(kStart)[0].elements, 12);
}

TEST_F(RequestQueueTest, TheLivingKeepTheirOrder) {
  auto dead_owner = std::make_shared<FakeOwner>();
  for (int64_t columns = 1; columns <= 6; ++columns) {
    const bool doomed = columns == 2 || columns == 3 || columns == 6;
    queue_.Push(MakePiece(doomed ? dead_owner : owner_, budget_, columns, kStart));
  }
  dead_owner->Die();
  EXPECT_EQ(queue_.TakeDead(kStart).size(), 3u);
  const auto living = queue_.Take(0, 1000, kStart).pieces;
  ASSERT_EQ(living.size(), 3u);
  EXPECT_EQ(living[0]->columns, 1);
  EXPECT_EQ(living[1]->columns, 4);
  EXPECT_EQ(living[2]->columns, 5);
}

}  // namespace
}  // namespace tsenor::server
