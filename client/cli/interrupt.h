// SIGINT, SIGTERM, SIGHUP and SIGQUIT as an orderly stop.
#pragma once

#include <stop_token>
#include <thread>

namespace tsenor::cli {

// While it lives, the first of these signals requests a stop of `stop`, so that everything unwinds
// and temporary files are removed. One that comes more than a second later ends the process at once
// with exit code 130; sooner ones belong to the first, as process managers send several together.
// SIGHUP stays ignored where it is (nohup).
//
// Create it before any other thread: it blocks the signals in the calling thread, whose children
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
