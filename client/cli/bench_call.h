// One call of `tsenor bench`.
#pragma once

#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>

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

// Sends `request` and checks its answer as the client library does. Never blocks: `done` runs once,
// on a thread of gRPC's, when the call has ended. A stop of `stop` cancels it. The stub and the
// request must live until then. There is no second attempt.
void StartBenchCall(grpc::GenericStub& stub, const BenchRequest& request,
                    const BenchCallOptions& options, const std::stop_token& stop,
                    std::function<void(const BenchOutcome&)> done);

}  // namespace tsenor::cli
