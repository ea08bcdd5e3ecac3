// What a load generator measures, window of time by window, and when it has measured enough.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tsenor::cli {

// How long things took: counts in bands, the widest 1/64 of the times that it holds, so that memory
// does not depend on how many there are and no quantile is off by more than 1.6 %.
//
// Thread-compatible.
class LatencyHistogram {
 public:
  LatencyHistogram();

  // Negative times count as 0.
  void Record(std::chrono::nanoseconds latency);
  void Add(const LatencyHistogram& other);

  int64_t count() const { return count_; }
  // In seconds: the smallest time (its band's upper edge, never more than the greatest time) that
  // `share` of all do not exceed; 0 if there are none. REQUIRES: 0 <= share <= 1.
  double Quantile(double share) const;
  double max_seconds() const;

 private:
  std::vector<int64_t> bands_;
  int64_t count_ = 0;
  int64_t max_ns_ = 0;
};

// What happened in some time: calls count where they end.
struct Window {
  double seconds = 0;
  // Of the calls that ended well.
  int64_t masks = 0;
  int64_t weights = 0;
  int64_t sent_bytes = 0;      // of tensors
  int64_t received_bytes = 0;  // of messages
  LatencyHistogram latency;
  // The server's account of them (StageSeconds in the API), summed.
  double receive_seconds = 0;
  double queue_seconds = 0;
  double solve_seconds = 0;
  double total_seconds = 0;
  // Calls that failed, by the name of their code, and how long they took.
  std::map<std::string, int64_t> errors;
  LatencyHistogram failed_latency;
  // Longest time by which a call began later than it was due; 0 in a closed loop.
  double late_seconds = 0;
  double client_cpu_seconds = 0;  // of this process, user and system
  std::optional<double> server_cpu_seconds;

  Window& operator+=(const Window& other);

  double masks_per_second() const;
  int64_t failed() const;
};

// Windows that must agree before a measurement counts as stable.
inline constexpr size_t kStableWindows = 3;

// Whether there are kStableWindows windows, each with masks, whose masks per second and whose p99
// all lie within `tolerance` of their mean, relatively.
bool Stable(std::span<const Window> windows, double tolerance);

}  // namespace tsenor::cli
