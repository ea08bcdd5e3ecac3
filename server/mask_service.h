// tsenor.v1.MaskService on top of the engine.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "server/engine.h"
#include "server/token_file.h"
#include "tsenor/v1/mask_service.grpc.pb.h"

namespace tsenor::server {

// Turns each RPC into a session of the engine. The reactors never block: the session tells them
// when to read, what to write and how to end.
//
// Does not own the engine, which outlives it. Thread-safe.
class MaskService final
    : public v1::MaskService::WithCallbackMethod_SolveStream<
          v1::MaskService::WithCallbackMethod_GetServerInfo<
              v1::MaskService::WithAsyncMethod_Solve<v1::MaskService::Service>>> {
 public:
  // Calls without one of `tokens` end with UNAUTHENTICATED; null: no call needs any.
  MaskService(Engine& engine, std::unique_ptr<TokenFile> tokens);

  grpc::ServerBidiReactor<v1::SolveStreamRequest, v1::SolveStreamResponse>* SolveStream(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* request,
                                          v1::GetServerInfoResponse* response) override;

  // Whether the caller may be here. Errors: Unauthenticated, in words that hold no token.
  absl::Status Authenticate(const grpc::ServerContextBase& context) const;
  Engine& engine() const { return engine_; }

 private:
  Engine& engine_;
  const std::unique_ptr<TokenFile> tokens_;
  const Time started_;
};

}  // namespace tsenor::server
