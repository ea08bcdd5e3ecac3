// One call of `tsenor bench`.
#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <thread>

#include "absl/status/status.h"
#include "client/cli/bench_workload.h"
#include "client/security.h"

namespace tsenor::cli {

// What goes along with every call.
struct BenchCallOptions {
  std::chrono::milliseconds timeout{60'000};
  client::Security security = {};  // of which calls have the token; channels have the rest
};

// How a call ended.
struct BenchOutcome {
  absl::Status status;
  v1::SolveSummary summary;    // if the status is OK
  int64_t received_bytes = 0;  // of messages
};

// Hears of the ends of unary calls, on a thread of its own. gRPC's callbacks would do, as they do
// for streams, but all of their threads, half as many as there are cores, wait at one queue.
class BenchQueue {
 public:
  BenchQueue();
  // REQUIRES: of every call that it was given to, `done` has begun; waits for it.
  ~BenchQueue();
  BenchQueue(const BenchQueue&) = delete;
  BenchQueue& operator=(const BenchQueue&) = delete;
  grpc::CompletionQueue& events() { return events_; }

 private:
  grpc::CompletionQueue events_;
  std::thread thread_;
};

// Sends `request` and checks its answer as the client library does. Never blocks: `done` runs once,
// on the queue's thread or one of gRPC's, when the call has ended. A stop of `stop` cancels it. The
// stub, the queue and the request must live until then. There is no second attempt.
void StartBenchCall(grpc::GenericStub& stub, BenchQueue& queue, const BenchRequest& request,
                    const BenchCallOptions& options, const std::stop_token& stop,
                    std::function<void(const BenchOutcome&)> done);

}  // namespace tsenor::cli
