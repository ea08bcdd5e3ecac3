// Threads that help: who joins, who waits for whom, and that all work is done once.
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
  for (const int helpers : {0, 2}) {
    ThreadPool pool(helpers);
    Occupancy inside;
    int calls = 0;
    pool.Run(0, [&] {
      inside.Enter();
      ++calls;
    });
    EXPECT_EQ(calls, 1) << helpers;
    EXPECT_EQ(inside.threads(), caller) << helpers;
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

TEST(ThreadPoolTest, NeverMoreAtWorkThanTheHelpersAndOne) {
  constexpr int kHelpers = 2, kCallers = 4, kRuns = 25;
  ThreadPool pool(kHelpers);
  Occupancy inside;
  std::atomic<int> runs = 0;
  std::vector<std::jthread> callers;
  for (int k = 0; k < kCallers; ++k) {
    callers.emplace_back([&] {
      for (int run = 0; run < kRuns; ++run) {
        std::atomic<int> calls = 0;
        pool.Run(kHelpers, [&] {
          inside.Enter();
          ++calls;
          std::this_thread::sleep_for(std::chrono::microseconds(200));
          inside.Leave();
        });
        runs += calls >= 1 && calls <= kHelpers + 1;
      }
    });
  }
  callers.clear();  // joins
  EXPECT_EQ(runs, kCallers * kRuns);
  EXPECT_EQ(inside.now(), 0);
  EXPECT_LE(inside.most(), kHelpers + 1);
}

// A call that is inside its body, and others that wait behind it for the one thread at work.
class Queue {
 public:
  Queue() {
    callers_.emplace_back([this] {
      pool_.Run(0, [this] {
        first_inside_.count_down();
        end_first_.wait();
      });
    });
    first_inside_.wait();
  }

  // Begins a call whose body notes `name`.
  void Add(int name) {
    callers_.emplace_back([this, name] {
      pool_.Run(0, [this, name] {
        names_.push_back(name);  // one thread is at work: no two at once
        workers_.insert(std::this_thread::get_id());
      });
    });
    Linger();  // so that they mostly come in this order
  }

  void EndAll() {
    for (std::jthread& caller : callers_) caller_ids_.insert(caller.get_id());
    end_first_.count_down();
    callers_.clear();  // joins
  }

  const std::vector<int>& names() const { return names_; }
  const std::set<std::thread::id>& workers() const { return workers_; }
  const std::set<std::thread::id>& callers() const { return caller_ids_; }

 private:
  ThreadPool pool_{0};
  std::latch first_inside_{1}, end_first_{1};
  std::vector<std::jthread> callers_;
  std::set<std::thread::id> caller_ids_, workers_;
  std::vector<int> names_;
};

TEST(ThreadPoolTest, OneThreadGoesOnWithTheCallsThatWaitInTheirOrder) {
  const std::vector<int> names = {1, 2, 3, 4};
  // On a busy machine a caller may come late: then again.
  bool went_on = false;
  for (int tries = 0; tries < 20 && !went_on; ++tries) {
    Queue queue;
    for (const int name : names) queue.Add(name);
    EXPECT_TRUE(queue.names().empty());
    queue.EndAll();
    EXPECT_EQ(queue.names().size(), names.size());
    went_on = queue.names() == names && queue.workers().size() == 1 &&
              queue.callers().count(*queue.workers().begin()) == 0;
  }
  EXPECT_TRUE(went_on);
}

// If a call had to wait for the last thread of the one before, this test would not end.
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
