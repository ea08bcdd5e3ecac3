// Threads that help the threads that have work.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace tsenor::cpu {

// A fixed set of helper threads, asleep between calls of Run(). Joins them when destroyed.
//
// Thread-safe: concurrent calls of Run() take turns, so that no more threads than the helpers and
// one are at work; the next call begins as soon as helpers alone are left in the one before.
class ThreadPool {
 public:
  // REQUIRES: helpers >= 0.
  explicit ThreadPool(int helpers);
  // REQUIRES: no call of Run() under way.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls `body` in this thread and, while it runs here, in up to `helpers` idle ones; returns when
  // every call that began has returned. `body` must divide the work by itself (an atomic counter,
  // say), and return when none is left: helpers may come late or never.
  void Run(int helpers, const std::function<void()>& body);

 private:
  struct Job {
    const std::function<void()>& body;
    int wanted;       // helpers that may still join
    int running = 0;  // helpers inside body
    std::condition_variable idle = {};
  };

  void Help();

  std::mutex turn_;  // held by the caller that is inside its body
  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Job*> jobs_;  // those that still want helpers
  bool stop_ = false;
  std::vector<std::thread> threads_;  // constant after construction
};

}  // namespace tsenor::cpu
