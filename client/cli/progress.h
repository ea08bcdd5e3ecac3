// How far a run is: a bar on a terminal, a line per tensor in a log.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace tsenor::cli {

// Writes to stderr. Thread-safe.
class Progress {
 public:
  enum class Style { kQuiet, kLines, kBar };

  // A bar if stderr is a terminal, else lines; nothing if `quiet`.
  static Style StyleFor(bool quiet);

  // `total_weights` and `total_tensors` are 100 %.
  Progress(Style style, uint64_t total_weights, size_t total_tensors);

  // Ends the bar's line.
  ~Progress();

  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Adds weights whose mask arrived; negative if they are to come again.
  void Advance(int64_t weights);

  // Tells something besides, unless quiet.
  void Note(const std::string& line);

  // A tensor is done. `line` says what was found.
  void FinishTensor(const std::string& line);

 private:
  using Clock = std::chrono::steady_clock;

  void DrawBar();   // under mutex_
  void EraseBar();  // under mutex_

  const Style style_;
  const uint64_t total_weights_;
  const size_t total_tensors_;
  const Clock::time_point start_ = Clock::now();

  std::mutex mutex_;
  int64_t weights_ = 0;  // guarded by mutex_, as all below
  size_t tensors_ = 0;
  Clock::time_point drawn_ = {};  // the bar, last
};

}  // namespace tsenor::cli
