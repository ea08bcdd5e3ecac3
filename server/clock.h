// Time as the server sees it, injected so that tests can move it by hand.
#pragma once

#include <chrono>

namespace tsenor::server {

using Time = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

inline double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// A monotonic clock. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time Now() const = 0;
};

// The real one. Thread-safe.
class SteadyClock final : public Clock {
 public:
  Time Now() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace tsenor::server
