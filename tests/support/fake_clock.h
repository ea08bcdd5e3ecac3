// Time that a test moves by hand.
#pragma once

#include <atomic>

#include "server/clock.h"

namespace tsenor::testing {

// Starts at some time after the epoch and stands still. Thread-safe.
class FakeClock final : public server::Clock {
 public:
  server::Time Now() const override { return server::Time(server::Duration(ticks_.load())); }
  void Advance(server::Duration duration) { ticks_ += duration.count(); }

 private:
  std::atomic<server::Duration::rep> ticks_ = server::Duration(std::chrono::hours(1)).count();
};

}  // namespace tsenor::testing
