// Threads that help the threads that have work.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace tsenor::cpu {

// A fixed set of threads, asleep while there is no work. Joins them when destroyed.
//
// Thread-safe: however many calls of Run() there are at once, no more threads than the helpers and
// one are at work; calls beyond that wait in the order they came. Threads that find one call's work
// taken go on to the next call's at once, so that under load the same ones stay at work, each on
// its core, while callers deal with their answers.
class ThreadPool {
 public:
  // REQUIRES: helpers >= 0.
  explicit ThreadPool(int helpers);
  // REQUIRES: no call of Run() under way.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls `body` in one thread, this one if no other call is ahead, and while it runs there in up
  // to `helpers` more; returns when every call that began has returned. `body` must divide the work
  // by itself (an atomic counter, say), and return when none is left: helpers may come late or
  // never. REQUIRES: helpers >= 0; not called from a body.
  void Run(int helpers, const std::function<void()>& body);

 private:
  struct Job {
    const std::function<void()>& body;
    int wanted;       // threads that may still join
    int running = 0;  // threads inside body
    std::condition_variable done = {};
  };

  void Help();
  // Calls the body once. `lock` holds mutex_, but for that time.
  void Work(Job& job, std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable work_;  // for jobs_, idle_ and stop_
  std::deque<Job*> jobs_;         // those that still want threads, in the order they came
  int idle_;                      // threads that may begin to work
  bool stop_ = false;
  std::vector<std::thread> threads_;  // constant after construction
};

}  // namespace tsenor::cpu
