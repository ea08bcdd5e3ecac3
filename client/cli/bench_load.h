// Load on a server, and what came of it.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/bench_call.h"
#include "client/cli/bench_window.h"
#include "client/cli/bench_workload.h"

namespace tsenor::cli {

// How much load. Exactly one of them is set.
struct LoadLevel {
  int concurrency = 0;  // closed loop: calls in flight, each followed by the next
  double rate = 0;      // open loop: calls begun per second, at random (Poisson) times
};

// Everything that load takes besides its level.
struct LoadOptions {
  std::string server;
  int connections = 1;
  int max_in_flight = 1024;  // calls of an open loop at once; later ones wait for their turn
  // Null: no TLS. Made late: gRPC starts threads with its first object, and InterruptWatcher must
  // come before every thread of every command.
  std::shared_ptr<grpc::ChannelCredentials> credentials = nullptr;
  BenchCallOptions call = {};
  uint64_t seed = 1;
};

// Keeps a server under load for as long as it lives. In an open loop latencies count from the time
// at which a call was due, whether or not it could begin then: a server that stalls cannot hide the
// calls that waited meanwhile. The k-th call is due at the same time and sends the same tensor in
// every run.
//
// Memory: that of the calls in flight. Thread-safe.
class LoadGenerator {
 public:
  // Starts the load. The workload outlives it. A stop of `stop` cancels the calls in flight.
  LoadGenerator(const LoadLevel& level, const LoadOptions& options, const Workload& workload,
                const std::stop_token& stop);
  // Waits for the calls in flight.
  ~LoadGenerator();

  // What happened since the last Take(), or since the start. Times of processors are not filled in.
  Window Take();

  // The message of the first call that failed, with its code; OK if there is none.
  absl::Status first_failure() const;

 private:
  using Clock = std::chrono::steady_clock;

  // Begins the next call; does nothing once the load ends.
  void Begin(Clock::time_point due);
  void OnDone(const BenchRequest& request, Clock::time_point due, const BenchOutcome& outcome);
  void Record(const BenchRequest& request, Clock::duration latency, const BenchOutcome& outcome);
  // The open loop: begins calls when they are due.
  void Arrive(const std::stop_token& ends);

  const LoadLevel level_;
  const LoadOptions options_;
  const Workload& workload_;
  const std::stop_token stop_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  std::vector<std::unique_ptr<BenchQueue>> queues_;

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;  // in_flight_ has shrunk
  std::mt19937_64 draws_;                // of requests; guarded by mutex_
  bool ending_ = false;                  // guarded by mutex_
  int in_flight_ = 0;                    // guarded by mutex_
  uint64_t begun_ = 0;                   // guarded by mutex_
  Window window_;                        // guarded by mutex_
  Clock::time_point window_start_;       // guarded by mutex_
  absl::Status first_failure_;           // guarded by mutex_

  std::jthread arrivals_;  // of the open loop
};

// How long to measure.
struct MeasureOptions {
  double warm_up_seconds = 1;
  double window_seconds = 1;
  double duration_seconds = 30;  // at most, without the warm-up
  double tolerance = 0.1;        // of Stable()
};

// What one level came to: the sum of its last kStableWindows windows.
struct LevelResult {
  LoadLevel level;
  bool stable = false;
  int windows = 0;  // measured in all
  Window sum;
  absl::Status first_failure;  // OK if no call failed
};

// Seconds of processor time of the server so far, or nothing if nobody knows.
using ServerCpu = std::function<absl::StatusOr<std::optional<double>>()>;

// Puts a server under one level of load until it is stable or the time is up.
// Errors: Cancelled after a stop of `stop`; those of `server_cpu`.
absl::StatusOr<LevelResult> MeasureLevel(const LoadLevel& level, const LoadOptions& load,
                                         const MeasureOptions& measure, const Workload& workload,
                                         const ServerCpu& server_cpu, const std::stop_token& stop);

}  // namespace tsenor::cli
