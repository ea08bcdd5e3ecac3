// Threads that help: who joins, who waits for whom, and that no work is lost or done twice.
#include "solver/cpu/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <latch>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace tsenor::cpu {
namespace {

// How many threads are inside a body, and the most that ever were.
class Occupancy {
 public:
  void Enter() {
    const std::lock_guard lock(mutex_);
    most_ = std::max(most_, ++now_);
    threads_.insert(std::this_thread::get_id());
  }
  void Leave() {
    const std::lock_guard lock(mutex_);
    --now_;
  }
  int now() const { return now_; }
  int most() const { return most_; }
  const std::set<std::thread::id>& threads() const { return threads_; }

 private:
  std::mutex mutex_;
  int now_ = 0;
  int most_ = 0;
  std::set<std::thread::id> threads_;
};

// Long enough for an idle thread to come, if it is going to.
void Linger() { std::this_thread::sleep_for(std::chrono::milliseconds(5)); }

TEST(ThreadPoolTest, HelpersJoinTheCaller) {
  ThreadPool pool(2);
  Occupancy inside;
  std::latch all(3);  // nobody leaves before all are there
  pool.Run(2, [&] {
    inside.Enter();
    all.arrive_and_wait();
  });
  EXPECT_EQ(inside.threads().size(), 3u);
  EXPECT_EQ(inside.threads().count(std::this_thread::get_id()), 1u);
}

TEST(ThreadPoolTest, NoMoreHelpersThanAskedFor) {
  ThreadPool pool(3);
  Occupancy inside;
  for (int round = 0; round < 5; ++round) {
    pool.Run(1, [&] {
      inside.Enter();
      Linger();
      inside.Leave();
    });
  }
  EXPECT_LE(inside.most(), 2);
}

TEST(ThreadPoolTest, WithoutHelpersTheCallerWorksAlone) {
  const std::set<std::thread::id> caller = {std::this_thread::get_id()};
  for (const auto& [helpers, wanted] : {std::pair{0, 0}, {0, 4}, {2, 0}}) {
    ThreadPool pool(helpers);
    Occupancy inside;
    int calls = 0;
    pool.Run(wanted, [&] {
      inside.Enter();
      ++calls;
    });
    EXPECT_EQ(calls, 1) << helpers << " " << wanted;
    EXPECT_EQ(inside.threads(), caller) << helpers << " " << wanted;
  }
}

TEST(ThreadPoolTest, EveryItemOfManyBatchesIsTakenOnce) {
  constexpr int kItems = 64;
  ThreadPool pool(3);
  for (int batch = 0; batch < 2000; ++batch) {
    std::vector<int> taken(kItems);  // each written by the one thread that took it
    std::atomic<int> next = 0;
    pool.Run(1 + batch % 4, [&] {
      for (int item = next++; item < kItems; item = next++) ++taken[item];
    });
    // Plain reads: Run() has seen the end of every helper.
    ASSERT_EQ(taken, std::vector<int>(kItems, 1)) << batch;
  }
}

TEST(ThreadPoolTest, WaitsForHelpersThatStillWork) {
  ThreadPool pool(1);
  const auto caller = std::this_thread::get_id();
  std::latch helper_inside(1);
  bool helper_done = false;
  pool.Run(1, [&] {
    if (std::this_thread::get_id() == caller) return helper_inside.wait();
    helper_inside.count_down();
    Linger();
    helper_done = true;
  });
  EXPECT_TRUE(helper_done);
}

TEST(ThreadPoolTest, CallersTakeTurns) {
  constexpr int kHelpers = 2, kCallers = 4, kRuns = 25;
  ThreadPool pool(kHelpers);
  Occupancy inside;
  std::atomic<int> own_calls = 0;
  std::vector<std::jthread> callers;
  for (int k = 0; k < kCallers; ++k) {
    callers.emplace_back([&] {
      const auto caller = std::this_thread::get_id();
      for (int run = 0; run < kRuns; ++run) {
        pool.Run(kHelpers, [&] {
          inside.Enter();
          if (std::this_thread::get_id() == caller) ++own_calls;
          std::this_thread::sleep_for(std::chrono::microseconds(200));
          inside.Leave();
        });
      }
    });
  }
  callers.clear();  // joins
  EXPECT_EQ(own_calls, kCallers * kRuns);
  EXPECT_EQ(inside.now(), 0);
  EXPECT_LE(inside.most(), kHelpers + 1);
}

// With a turn that lasted until the last helper is done, this test would not end.
TEST(ThreadPoolTest, TheNextCallBeginsWhileHelpersEndTheOneBefore) {
  ThreadPool pool(1);
  std::latch helper_inside(1), second_done(1);
  std::jthread first([&] {
    const auto caller = std::this_thread::get_id();
    pool.Run(1, [&] {
      if (std::this_thread::get_id() == caller) return helper_inside.wait();
      helper_inside.count_down();
      second_done.wait();
    });
  });
  helper_inside.wait();
  pool.Run(0, [&] { second_done.count_down(); });
}

TEST(ThreadPoolTest, EndsWhileItsHelpersAreIdle) {
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> calls = 0;
    {
      ThreadPool pool(3);
      for (int run = 0; run < round % 3; ++run) pool.Run(3, [&] { ++calls; });
    }
    EXPECT_GE(calls, round % 3);
    EXPECT_LE(calls, 4 * (round % 3));
  }
}

}  // namespace
}  // namespace tsenor::cpu
