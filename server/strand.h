// Events of one object, one at a time, without a lock held while they run.
#pragma once

#include <deque>
#include <mutex>

#include "absl/functional/any_invocable.h"

namespace tsenor::server {

// Runs events one at a time, in the order in which they were posted, on the threads that post them.
// An event may call out to anything, even back into its own strand: no lock is held while it runs,
// so strands cannot deadlock each other.
//
// The strand must outlive every call of Run(). Thread-safe.
class Strand {
 public:
  using Event = absl::AnyInvocable<void()>;

  // Runs `event` before it returns, unless an event is running (on this thread or another): then
  // whoever runs that one runs this one after it.
  void Run(Event event);

 private:
  std::mutex mutex_;
  std::deque<Event> events_;  // posted, not yet begun; guarded by mutex_
  bool running_ = false;      // guarded by mutex_
};

}  // namespace tsenor::server
