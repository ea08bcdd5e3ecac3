// SIGINT and SIGTERM as an orderly stop.
#pragma once

#include <stop_token>
#include <thread>

namespace tsenor::cli {

// While it lives, a first SIGINT or SIGTERM requests a stop of `stop`, so that everything unwinds
// and temporary files are removed; a second one ends the process at once with exit code 130.
//
// Create it before any other thread: it blocks both signals in the calling thread, whose children
// inherit that. Not thread-safe; one per process.
class InterruptWatcher {
 public:
  explicit InterruptWatcher(std::stop_source stop);
  InterruptWatcher(const InterruptWatcher&) = delete;
  InterruptWatcher& operator=(const InterruptWatcher&) = delete;

 private:
  std::jthread thread_;
};

}  // namespace tsenor::cli
