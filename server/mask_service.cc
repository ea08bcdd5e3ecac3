#include "server/mask_service.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/wire/crc32c.h"
#include "server/convert.h"
#include "server/log_format.h"

namespace tsenor::server {
namespace {

// The deadline of an RPC, on the engine's clock.
Time DeadlineOf(const grpc::CallbackServerContext& context, const Clock& clock) {
  const auto left = context.deadline() - std::chrono::system_clock::now();
  // Without a deadline gRPC says the end of time, which no sum may pass.
  if (left > std::chrono::hours(24 * 365)) return Time::max();
  return clock.Now() + std::chrono::duration_cast<Duration>(left);
}

// What an RPC that was given up from outside ends with.
absl::Status GivenUp(const grpc::CallbackServerContext& context) {
  return context.deadline() <= std::chrono::system_clock::now()
             ? absl::DeadlineExceededError("the deadline came before the tensor was solved")
             : absl::CancelledError("the call was cancelled");
}

// The metadata by which a client may say which share its calls are part of.
constexpr char kClientIdKey[] = "tsenor-client-id";

// Bytes of it that count: every piece has a copy.
constexpr size_t kMaxClientIdBytes = 128;

// Whose share of the server an RPC is part of: the client's as it says, or else its connection's.
std::string ClientOf(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto id = metadata.find(kClientIdKey);
  if (id == metadata.end()) return context.peer();
  // No peer's address begins like this: nobody shares with another by accident.
  return "id:" + std::string(id->second.data(), std::min(id->second.size(), kMaxClientIdBytes));
}

// By which a call can be found in the logs of its client, of what lies between, and here.
constexpr char kRequestIdKey[] = "x-request-id";

// Bytes of it that count.
constexpr size_t kMaxRequestIdBytes = 128;

// The id that the client has given its call, or one that no other call of any server has, nearly
// for certain.
std::string RequestIdOf(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto id = metadata.find(kRequestIdKey);
  if (id != metadata.end() && !id->second.empty()) {
    return std::string(id->second.data(), std::min(id->second.size(), kMaxRequestIdBytes));
  }
  static const uint32_t process = std::random_device()();
  static std::atomic<uint64_t> calls = 0;
  return absl::StrCat(absl::Hex(process, absl::kZeroPad8), "-", ++calls);
}

// Counts one RPC, and logs it if it fails. Thread-compatible.
class RpcRecord {
 public:
  // Names the call to the client, too, in the trailing metadata. `context` outlives the record.
  RpcRecord(Engine& engine, const char* method, grpc::CallbackServerContext& context)
      : engine_(engine), method_(method), context_(context), started_(engine.clock().Now()) {
    engine_.observer().OnRpcStarted(method_);
    request_id_ = RequestIdOf(context);
    context.AddTrailingMetadata(kRequestIdKey, request_id_);
  }
  ~RpcRecord() {
    const double seconds = Seconds(engine_.clock().Now() - started_);
    engine_.observer().OnRpcHandled(method_, status_.code(), seconds);
    if (!status_.ok() && spdlog::should_log(spdlog::level::debug)) LogFailure(seconds);
  }
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
  void LogFailure(double seconds) const {
    LogWith(spdlog::level::debug,
            {{"request_id", request_id_},
             {"method", method_},
             {"code", absl::StatusCodeToString(status_.code())},
             {"peer", context_.peer()},
             {"seconds", absl::StrFormat("%.6f", seconds)}},
            std::string(status_.message()));
  }

  Engine& engine_;
  const char* const method_;
  const grpc::CallbackServerContext& context_;
  std::string request_id_;
  const Time started_;
  absl::Status status_;
};

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

// One small tensor: plays the client of a stream that has it all in one chunk. Owns itself until
// OnDone().
class SolveCall final : public grpc::ServerUnaryReactor, private SessionPeer {
 public:
  // `authentic`: as of SolveStreamCall.
  SolveCall(Engine& engine, grpc::CallbackServerContext* context, const v1::SolveRequest* request,
            v1::SolveResponse* response, const absl::Status& authentic)
      : context_(context),
        request_(*request),
        response_(*response),
        record_(engine, "Solve", *context) {
    record_.Received(request_);
    if (!authentic.ok()) {
      SolveCall::Fail(authentic);
      return;
    }
    auto session = engine.Admit(*this, ClientOf(*context), DeadlineOf(*context, engine.clock()));
    if (!session.ok()) {
      SolveCall::Fail(session.status());
      return;
    }
    session_ = *std::move(session);
    session_->Start();
  }

  void OnCancel() override {
    if (session_ != nullptr) session_->OnCancel(GivenUp(*context_));
  }

  void OnDone() override {
    session_.reset();  // before anything else goes: until then this call may be abandoned
    delete this;
  }

 private:
  void Read() override {
    switch (step_++) {
      case 0:
        return SendHeader();
      case 1:
        return SendData();
      default:
        return session_->OnHalfClose();
    }
  }

  void SendHeader() {
    if (!request_.has_header()) {
      return session_->OnInvalidMessage(
          absl::InvalidArgumentError("header is not set; it must be"));
    }
    if (request_.header().has_file()) {
      return session_->OnInvalidMessage(absl::InvalidArgumentError(
          "header.file is set; it must not be: SolveStream alone reads files"));
    }
    auto spec = FromProto(request_.header());
    if (!spec.ok()) return session_->OnInvalidMessage(spec.status());
    session_->OnHeader(*std::move(spec));
  }

  void SendData() {
    Chunk chunk;
    chunk.bytes = std::as_bytes(std::span(request_.data()));
    if (request_.has_crc32c()) chunk.crc32c = request_.crc32c();
    session_->OnChunk(chunk);
  }

  void Write(const MaskRows& rows) override {
    response_.mutable_mask()->append(reinterpret_cast<const char*>(rows.bytes.data()),
                                     rows.bytes.size());
    session_->OnWriteDone();
  }

  void Finish(const Summary& summary) override {
    ToProto(summary, response_.mutable_summary());
    response_.set_crc32c(wire::Crc32c(response_.mask().data(), response_.mask().size()));
    record_.Sent(response_);
    ServerUnaryReactor::Finish(grpc::Status::OK);
  }

  void Fail(const absl::Status& status) override {
    record_.EndsWith(status);
    ServerUnaryReactor::Finish(ToGrpc(status));
  }

  void Abandon() override { context_->TryCancel(); }

  grpc::CallbackServerContext* const context_;
  const v1::SolveRequest& request_;
  v1::SolveResponse& response_;
  RpcRecord record_;
  std::shared_ptr<Session> session_;  // null if it was not admitted
  int step_ = 0;                      // messages read
};

}  // namespace

MaskService::MaskService(Engine& engine, std::unique_ptr<TokenFile> tokens)
    : engine_(engine), tokens_(std::move(tokens)), started_(engine.clock().Now()) {}

absl::Status MaskService::Authenticate(const grpc::CallbackServerContext& context) const {
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

grpc::ServerUnaryReactor* MaskService::Solve(grpc::CallbackServerContext* context,
                                             const v1::SolveRequest* request,
                                             v1::SolveResponse* response) {
  return new SolveCall(engine_, context, request, response, Authenticate(*context));
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
