#include "server/memory_budget.h"

#include <cassert>

#include "server/brief_lock.h"

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
  std::unique_lock lock = LockBriefly(mutex_);
  if (serving_ || !waiters_.empty() || bytes > total_ - used_) {
    waiters_.Push(origin, bytes, clock_.Now(), {bytes, std::move(ready)});
  } else {  // it would be the only one in the line
    serving_ = true;
    ServeOne(lock, {bytes, std::move(ready)});
    serving_ = false;
  }
  Serve(lock);
}

std::optional<MemoryBudget::Grant> MemoryBudget::TryAcquire(int64_t bytes) {
  {
    const auto lock = LockBriefly(mutex_);
    if (bytes > total_ - used_) return std::nullopt;
    used_ += bytes;
  }
  observer_.OnMemoryChange(bytes);
  return Grant(this, bytes);
}

int64_t MemoryBudget::used() const {
  const auto lock = LockBriefly(mutex_);
  return used_;
}

void MemoryBudget::Release(int64_t bytes) {
  observer_.OnMemoryChange(-bytes);
  std::unique_lock lock = LockBriefly(mutex_);
  used_ -= bytes;
  Serve(lock);
}

void MemoryBudget::Serve(std::unique_lock<std::mutex>& lock) {
  if (serving_) return;  // whoever serves looks again before it stops
  serving_ = true;
  while (!waiters_.empty()) {
    const Time now = clock_.Now();
    if (waiters_.first(now, priority_ageing_).bytes > total_ - used_) break;
    ServeOne(lock, waiters_.TakeFirst(now, priority_ageing_, /*served=*/true));
  }
  serving_ = false;
}

void MemoryBudget::ServeOne(std::unique_lock<std::mutex>& lock, Waiter waiter) {
  used_ += waiter.bytes;
  lock.unlock();
  observer_.OnMemoryChange(waiter.bytes);
  waiter.ready(Grant(this, waiter.bytes));
  waiter.ready = nullptr;  // what it captured is released without the lock, too
  lock.lock();
}

}  // namespace tsenor::server
