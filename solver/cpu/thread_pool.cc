#include "solver/cpu/thread_pool.h"

#include <algorithm>

namespace tsenor::cpu {

// One more than the helpers: one caller works itself, but those behind it may not.
ThreadPool::ThreadPool(int helpers) : idle_(helpers + 1) {
  threads_.reserve(helpers + 1);
  for (int k = 0; k <= helpers; ++k) threads_.emplace_back([this] { Help(); });
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
  Job job{.body = body, .wanted = helpers + 1};
  std::unique_lock lock(mutex_);
  const bool is_first = jobs_.empty() && idle_ > 0;
  jobs_.push_back(&job);
  if (helpers > 0 || !is_first) work_.notify_all();
  if (is_first) {
    Work(job, lock);
    if (!jobs_.empty()) work_.notify_one();  // in place of this thread
  }
  job.done.wait(lock, [&job] { return job.wanted == 0 && job.running == 0; });
}

void ThreadPool::Help() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return stop_ || (!jobs_.empty() && idle_ > 0); });
    if (stop_) return;
    Work(*jobs_.front(), lock);
  }
}

void ThreadPool::Work(Job& job, std::unique_lock<std::mutex>& lock) {
  --idle_;
  ++job.running;
  if (--job.wanted == 0) std::erase(jobs_, &job);
  lock.unlock();
  job.body();
  lock.lock();
  ++idle_;
  if (job.wanted > 0) std::erase(jobs_, &job);  // the work is done: nobody else need come
  job.wanted = 0;
  if (--job.running == 0) job.done.notify_all();
}

}  // namespace tsenor::cpu
