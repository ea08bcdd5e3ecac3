#include "server/strand.h"

#include <utility>

namespace tsenor::server {

void Strand::Run(Event event) {
  std::unique_lock lock(mutex_);
  events_.push_back(std::move(event));
  if (running_) return;
  running_ = true;
  while (!events_.empty()) {
    Event next = std::move(events_.front());
    events_.pop_front();
    lock.unlock();
    next();
    next = nullptr;  // what it captured is released without the lock, too
    lock.lock();
  }
  running_ = false;
}

}  // namespace tsenor::server
