#include "server/rpc.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/log_format.h"

namespace tsenor::server {
namespace {

// The metadata by which a client may say which share its calls are part of.
constexpr char kClientIdKey[] = "tsenor-client-id";

// Bytes of it that count: every piece has a copy.
constexpr size_t kMaxClientIdBytes = 128;

// By which a call can be found in the logs of its client, of what lies between, and here.
constexpr char kRequestIdKey[] = "x-request-id";

// Bytes of it that count.
constexpr size_t kMaxRequestIdBytes = 128;

// The id that the client has given its call, or one that no other call of any server has, nearly
// for certain.
std::string RequestIdOf(const grpc::ServerContextBase& context) {
  const auto& metadata = context.client_metadata();
  const auto id = metadata.find(kRequestIdKey);
  if (id != metadata.end() && !id->second.empty()) {
    return std::string(id->second.data(), std::min(id->second.size(), kMaxRequestIdBytes));
  }
  static const uint32_t process = std::random_device()();
  static std::atomic<uint64_t> calls = 0;
  return absl::StrCat(absl::Hex(process, absl::kZeroPad8), "-", ++calls);
}

}  // namespace

Time DeadlineOf(const grpc::ServerContextBase& context, const Clock& clock) {
  const auto left = context.deadline() - std::chrono::system_clock::now();
  // Without a deadline gRPC says the end of time, which no sum may pass.
  if (left > std::chrono::hours(24 * 365)) return Time::max();
  return clock.Now() + std::chrono::duration_cast<Duration>(left);
}

absl::Status GivenUp(const grpc::ServerContextBase& context) {
  return context.deadline() <= std::chrono::system_clock::now()
             ? absl::DeadlineExceededError("the deadline came before the tensor was solved")
             : absl::CancelledError("the call was cancelled");
}

std::string ClientOf(const grpc::ServerContextBase& context) {
  const auto& metadata = context.client_metadata();
  const auto id = metadata.find(kClientIdKey);
  if (id == metadata.end()) return context.peer();
  // No peer's address begins like this: nobody shares with another by accident.
  return "id:" + std::string(id->second.data(), std::min(id->second.size(), kMaxClientIdBytes));
}

RpcRecord::RpcRecord(Engine& engine, const char* method, grpc::ServerContextBase& context)
    : engine_(engine), method_(method), context_(context), started_(engine.clock().Now()) {
  engine_.observer().OnRpcStarted(method_);
  request_id_ = RequestIdOf(context);
  context.AddTrailingMetadata(kRequestIdKey, request_id_);
}

RpcRecord::~RpcRecord() {
  const double seconds = Seconds(engine_.clock().Now() - started_);
  engine_.observer().OnRpcHandled(method_, status_.code(), seconds);
  if (!status_.ok() && spdlog::should_log(spdlog::level::debug)) LogFailure(seconds);
}

void RpcRecord::LogFailure(double seconds) const {
  LogWith(spdlog::level::debug,
          {{"request_id", request_id_},
           {"method", method_},
           {"code", absl::StatusCodeToString(status_.code())},
           {"peer", context_.peer()},
           {"seconds", absl::StrFormat("%.6f", seconds)}},
          std::string(status_.message()));
}

}  // namespace tsenor::server
