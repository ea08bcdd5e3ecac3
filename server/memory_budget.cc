#include "server/memory_budget.h"

#include <cassert>

namespace tsenor::server {

void MemoryBudget::Grant::Shrink(int64_t bytes) {
  assert(bytes >= 0 && bytes <= bytes_);
  if (bytes == bytes_) return;
  const int64_t freed = bytes_ - bytes;
  bytes_ = bytes;
  budget_->Release(freed);
}

void MemoryBudget::Acquire(const Origin& origin, int64_t bytes, Callback ready) {
  assert(bytes >= 0 && bytes <= total_);
  const Time now = clock_.Now();
  {
    std::lock_guard lock(mutex_);
    waiters_.Push(origin, bytes, now, {bytes, std::move(ready)});
  }
  Serve();
}

std::optional<MemoryBudget::Grant> MemoryBudget::TryAcquire(int64_t bytes) {
  {
    std::lock_guard lock(mutex_);
    if (bytes > total_ - used_) return std::nullopt;
    used_ += bytes;
  }
  observer_.OnMemoryChange(bytes);
  return Grant(this, bytes);
}

int64_t MemoryBudget::used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

void MemoryBudget::Release(int64_t bytes) {
  {
    std::lock_guard lock(mutex_);
    used_ -= bytes;
  }
  observer_.OnMemoryChange(-bytes);
  Serve();
}

void MemoryBudget::Serve() {
  std::unique_lock lock(mutex_);
  if (serving_) return;  // whoever serves looks again before it stops
  serving_ = true;
  while (!waiters_.empty()) {
    const Time now = clock_.Now();
    if (waiters_.first(now, priority_ageing_).bytes > total_ - used_) break;
    Waiter waiter = waiters_.TakeFirst(now, priority_ageing_, /*served=*/true);
    used_ += waiter.bytes;
    lock.unlock();
    observer_.OnMemoryChange(waiter.bytes);
    waiter.ready(Grant(this, waiter.bytes));
    waiter.ready = nullptr;  // what it captured is released without the lock, too
    lock.lock();
  }
  serving_ = false;
}

}  // namespace tsenor::server
