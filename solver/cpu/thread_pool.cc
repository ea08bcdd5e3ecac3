#include "solver/cpu/thread_pool.h"

#include <algorithm>

namespace tsenor::cpu {

ThreadPool::ThreadPool(int helpers) {
  threads_.reserve(helpers);
  for (int k = 0; k < helpers; ++k) threads_.emplace_back([this] { Help(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Run(int helpers, const std::function<void()>& body) {
  std::unique_lock turn(turn_);
  Job job{.body = body, .wanted = std::min(helpers, static_cast<int>(threads_.size()))};
  if (job.wanted == 0) {
    body();
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(&job);
  }
  work_.notify_all();
  body();
  turn.unlock();
  std::unique_lock lock(mutex_);
  std::erase(jobs_, &job);  // the work is done: nobody else need come
  job.idle.wait(lock, [&job] { return job.running == 0; });
}

void ThreadPool::Help() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
    if (stop_) return;
    Job& job = *jobs_.front();
    ++job.running;
    if (--job.wanted == 0) jobs_.pop_front();
    lock.unlock();
    job.body();
    lock.lock();
    if (--job.running == 0) job.idle.notify_all();
  }
}

}  // namespace tsenor::cpu
