#include "server/mask_service.h"

#include <atomic>
#include <iterator>
#include <memory>
#include <utility>

#include "server/convert.h"
#include "server/rpc.h"

namespace tsenor::server {
namespace {

// One stream: between gRPC's reactor and its session. Owns itself until OnDone().
//
// gRPC calls the On...() methods, the session those of SessionPeer; each side one call at a time.
class SolveStreamCall final
    : public grpc::ServerBidiReactor<v1::SolveStreamRequest, v1::SolveStreamResponse>,
      private SessionPeer {
 public:
  // `authentic`: not OK for a stranger, who is told so and nothing else.
  SolveStreamCall(Engine& engine, grpc::CallbackServerContext* context,
                  const absl::Status& authentic)
      : context_(context), record_(engine, "SolveStream", *context) {
    if (!authentic.ok()) {
      SolveStreamCall::Fail(authentic);
      return;
    }
    auto session = engine.Admit(*this, ClientOf(*context), DeadlineOf(*context, engine.clock()));
    if (!session.ok()) {
      SolveStreamCall::Fail(session.status());
      return;
    }
    session_ = *std::move(session);
    session_->Start();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return context_->IsCancelled() ? OnCancel() : session_->OnHalfClose();
    record_.Received(request_);
    switch (request_.message_case()) {
      case v1::SolveStreamRequest::kHeader: {
        auto spec = FromProto(request_.header());
        request_.clear_header();  // its norms may be large, and the stream idle
        if (!spec.ok()) return session_->OnInvalidMessage(spec.status());
        return session_->OnHeader(*std::move(spec));
      }
      case v1::SolveStreamRequest::kChunk:
        return session_->OnChunk(FromProto(request_.chunk()));
      default:
        return session_->OnInvalidMessage(
            absl::InvalidArgumentError("message is not set; it must be one of header, chunk"));
    }
  }

  void OnWriteDone(bool ok) override {
    writing_ = false;
    if (ok) {
      session_->OnWriteDone();
    } else {
      OnCancel();
    }
  }

  void OnCancel() override {
    if (session_ != nullptr) session_->OnCancel(GivenUp(*context_));
  }

  void OnDone() override {
    session_.reset();  // before anything else goes: until then this call may be abandoned
    delete this;
  }

 private:
  void Read() override { StartRead(&request_); }

  void Write(const MaskRows& rows) override {
    ToProto(rows, response_.mutable_mask());
    record_.Sent(response_);
    writing_ = true;
    StartWrite(&response_);
  }

  void Finish(const Summary& summary) override {
    ToProto(summary, response_.mutable_summary());
    record_.Sent(response_);
    StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
  }

  void Fail(const absl::Status& status) override {
    record_.EndsWith(status);
    // Behind a write that the client never reads, the status would never leave, and the call never
    // end.
    if (writing_ && absl::IsDeadlineExceeded(status)) context_->TryCancel();
    ServerBidiReactor::Finish(ToGrpc(status));
  }

  void Abandon() override { context_->TryCancel(); }

  grpc::CallbackServerContext* const context_;
  RpcRecord record_;
  std::shared_ptr<Session> session_;  // null if it was not admitted
  v1::SolveStreamRequest request_;
  v1::SolveStreamResponse response_;
  std::atomic<bool> writing_ = false;
};

}  // namespace

MaskService::MaskService(Engine& engine, std::unique_ptr<TokenFile> tokens)
    : engine_(engine), tokens_(std::move(tokens)), started_(engine.clock().Now()) {}

absl::Status MaskService::Authenticate(const grpc::ServerContextBase& context) const {
  if (tokens_ == nullptr) return absl::OkStatus();
  const auto [first, end] = context.client_metadata().equal_range("authorization");
  if (first == end) {
    return absl::UnauthenticatedError(
        "authorization is not set; it must be \"Bearer TOKEN\" with one of the server's tokens "
        "(tsenor: --token-file)");
  }
  // Two headers are one too many: which of them counts must not be a matter of order.
  const bool single = std::next(first) == end;
  if (!single || !tokens_->Accepts({first->second.data(), first->second.size()})) {
    return absl::UnauthenticatedError(
        "authorization holds none of the server's tokens (tsenor: --token-file)");
  }
  return absl::OkStatus();
}

grpc::ServerBidiReactor<v1::SolveStreamRequest, v1::SolveStreamResponse>* MaskService::SolveStream(
    grpc::CallbackServerContext* context) {
  return new SolveStreamCall(engine_, context, Authenticate(*context));
}

grpc::ServerUnaryReactor* MaskService::GetServerInfo(grpc::CallbackServerContext* context,
                                                     const v1::GetServerInfoRequest* request,
                                                     v1::GetServerInfoResponse* response) {
  RpcRecord record(engine_, "GetServerInfo", *context);
  record.Received(*request);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::Status status = Authenticate(*context);
  if (status.ok()) status = engine_.CheckAdmitting();
  if (!status.ok()) {
    record.EndsWith(status);
    reactor->Finish(ToGrpc(status));
    return reactor;
  }
  response->set_version(TSENOR_VERSION);
  for (Solver* solver : engine_.solvers()) {
    if (solver->health().ok()) ToProto(solver->info(), response->add_backends());
  }
  response->set_fallback_reason(engine_.fallback_reason());
  ListSupported(response);
  ToProto(engine_.limits(), response->mutable_limits());
  response->set_memory_budget_bytes(static_cast<uint64_t>(engine_.limits().memory_budget_bytes));
  response->set_uptime_seconds(Seconds(engine_.clock().Now() - started_));
  if (const WeightsDirectory* directory = engine_.weights_directory()) {
    response->set_weights_directory_id(directory->id());
  }
  record.Sent(*response);
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

}  // namespace tsenor::server
