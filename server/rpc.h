// What every RPC of the service has, whichever of gRPC's interfaces serves it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "server/clock.h"
#include "server/engine.h"

namespace tsenor::server {

// The deadline of an RPC, on the engine's clock; Time::max() if it has none.
Time DeadlineOf(const grpc::ServerContextBase& context, const Clock& clock);

// What an RPC that was given up from outside ends with.
absl::Status GivenUp(const grpc::ServerContextBase& context);

// Whose share of the server an RPC is part of: the client's as it says, or else its connection's.
std::string ClientOf(const grpc::ServerContextBase& context);

// Counts one RPC, and logs it if it fails. Thread-compatible.
class RpcRecord {
 public:
  // Names the call to the client, too, in the trailing metadata. `context` outlives the record.
  RpcRecord(Engine& engine, const char* method, grpc::ServerContextBase& context);
  ~RpcRecord();
  RpcRecord(const RpcRecord&) = delete;
  RpcRecord& operator=(const RpcRecord&) = delete;

  template <typename Message>
  void Received(const Message& message) {
    engine_.observer().OnMessageReceived(method_, static_cast<int64_t>(message.ByteSizeLong()));
  }
  template <typename Message>
  void Sent(const Message& message) {
    engine_.observer().OnMessageSent(method_, static_cast<int64_t>(message.ByteSizeLong()));
  }
  // Default: OK.
  void EndsWith(const absl::Status& status) { status_ = status; }

 private:
  void LogFailure(double seconds) const;

  Engine& engine_;
  const char* const method_;
  const grpc::ServerContextBase& context_;
  std::string request_id_;
  const Time started_;
  absl::Status status_;
};

}  // namespace tsenor::server
