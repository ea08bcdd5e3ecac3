// tsenor.v1.MaskService on top of the engine.
#pragma once

#include "server/engine.h"
#include "tsenor/v1/mask_service.grpc.pb.h"

namespace tsenor::server {

// Turns each RPC into a session of the engine. The reactors never block: the session tells them
// when to read, what to write and how to end.
//
// Does not own the engine, which outlives it. Thread-safe.
class MaskService final : public v1::MaskService::CallbackService {
 public:
  explicit MaskService(Engine& engine);

  grpc::ServerBidiReactor<v1::SolveStreamRequest, v1::SolveStreamResponse>* SolveStream(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Solve(grpc::CallbackServerContext* context,
                                  const v1::SolveRequest* request,
                                  v1::SolveResponse* response) override;
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* request,
                                          v1::GetServerInfoResponse* response) override;

 private:
  Engine& engine_;
  const Time started_;
};

}  // namespace tsenor::server
