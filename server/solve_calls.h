// The unary RPC Solve: one small tensor a call.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "server/mask_service.h"

namespace tsenor::server {

// Serves Solve, with completion queues and threads of its own. gRPC's callbacks, which serve the
// rest, have one queue and half as many threads as the machine has cores, all of which wait at it:
// with 16 cores they answer 5 to 10 % fewer small tensors.
class SolveCalls {
 public:
  // Adds the queues to the server that `builder` builds, and that has `service`, which outlives
  // this.
  SolveCalls(MaskService& service, grpc::ServerBuilder& builder);
  // Waits until all calls have ended.
  // REQUIRES: the server has shut down, or never started.
  ~SolveCalls();
  SolveCalls(const SolveCalls&) = delete;
  SolveCalls& operator=(const SolveCalls&) = delete;

  // Once the server has started.
  void Start();

  // A completion queue of the server, and its thread. Internal.
  struct Queue {
    std::unique_ptr<grpc::ServerCompletionQueue> events;
    std::thread thread;
    std::mutex mutex;  // guards what follows
    bool open = true;  // calls may be awaited
    int calls = 0;     // awaited, or not ended
    std::condition_variable all_ended;
  };

 private:
  MaskService& service_;
  std::vector<std::unique_ptr<Queue>> queues_;
};

}  // namespace tsenor::server
