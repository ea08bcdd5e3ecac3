#include "client/mask_client.h"

#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/tensor_stream.h"

namespace tsenor::client {
namespace {

// Time for GetServerInfo(), which does no work.
constexpr std::chrono::seconds kInfoTimeout{10};

// Longest wait for a server's sign of life: as the server waits for its clients' (server/limits.h).
constexpr std::chrono::milliseconds kMaxKeepaliveTimeout{20'000};

// Time to learn why there is no connection: a channel that failed to connect tells at once, one
// that still tries (the server is frozen) does not tell at all.
constexpr std::chrono::milliseconds kReasonTimeout{200};

// How late a stop may be seen while the channel connects.
constexpr std::chrono::milliseconds kStopInterval{50};

// What a chunk's message has besides its data, at most: offset, checksum, lengths and tags.
constexpr uint64_t kChunkOverhead = 64;

// gRPC waits 1 s, 1.6 s, ... up to 2 min between its attempts to connect. A server that restarts is
// back within seconds, and an attempt costs next to nothing.
constexpr int kFirstReconnectMs = 100;
constexpr int kMaxReconnectMs = 1'000;
// Longest single attempt to connect; ten times a handshake across an ocean. By default 20 s, during
// which a client would hang on a socket whose server is frozen or was replaced.
constexpr int kConnectAttemptMs = 2'000;

absl::Status Interrupted() { return absl::CancelledError("interrupted"); }

// Sleeps until `until` or until `stop` is requested. Returns false if it was stopped.
bool SleepUntil(std::chrono::system_clock::time_point until, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_until(lock, stop, until, [] { return false; });
  return !stop.stop_requested();
}

}  // namespace

MaskClient::MaskClient(std::string address, const ClientOptions& options,
                       const std::shared_ptr<grpc::ChannelCredentials>& credentials)
    : address_(std::move(address)), options_(options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(options_.max_receive_bytes);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectAttemptMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  if (const auto silence = options_.keepalive_time; silence.count() > 0) {
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(silence.count()));
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                     static_cast<int>(std::min(silence, kMaxKeepaliveTimeout).count()));
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // any number
  }
  // An address may stand for several servers (a name with several addresses, a list after "ipv4:"):
  // tensors go to them in turn, and to the others while one restarts.
  arguments.SetLoadBalancingPolicyName("round_robin");
  if (const std::string& name = options_.security.tls_server_name; !name.empty()) {
    arguments.SetSslTargetNameOverride(name);
  }
  channel_ = grpc::CreateCustomChannel(address_, credentials, arguments);
  stub_ = v1::MaskService::NewStub(channel_);
}

absl::StatusOr<std::unique_ptr<MaskClient>> MaskClient::Connect(const std::string& address,
                                                                const ClientOptions& options,
                                                                const std::stop_token& stop) {
  const auto credentials = MakeChannelCredentials(address, options.security);
  if (!credentials.ok()) return credentials.status();
  std::unique_ptr<MaskClient> client(new MaskClient(address, options, *credentials));
  if (absl::Status status = client->WaitForServer(stop); !status.ok()) return status;
  return client;
}

absl::Status MaskClient::WaitForConnection(Clock::time_point deadline,
                                           const std::stop_token& stop) const {
  while (!stop.stop_requested()) {
    if (channel_->WaitForConnected(std::min(deadline, Clock::now() + kStopInterval))) {
      return absl::OkStatus();
    }
    if (Clock::now() >= deadline) return absl::DeadlineExceededError("not connected");
  }
  return Interrupted();
}

absl::Status MaskClient::WaitForServer(const std::stop_token& stop) const {
  const absl::Status connected = WaitForConnection(Clock::now() + options_.connect_timeout, stop);
  if (connected.ok() || absl::IsCancelled(connected)) return connected;
  // A call that does not wait tells the reason.
  const absl::StatusOr<v1::GetServerInfoResponse> info =
      GetServerInfoUntil(Clock::now() + kReasonTimeout, stop);
  if (info.ok()) return absl::OkStatus();
  if (stop.stop_requested()) return Interrupted();
  const std::string reason(info.status().message());
  return absl::UnavailableError(absl::StrCat(
      "no server at ", address_, ": ", reason, AdviceOnTls(address_, reason, options_.security),
      " (waited ", options_.connect_timeout.count(), " ms)"));
}

absl::StatusOr<v1::GetServerInfoResponse> MaskClient::GetServerInfo(
    const std::stop_token& stop) const {
  return GetServerInfoUntil(Clock::now() + kInfoTimeout, stop);
}

absl::StatusOr<v1::GetServerInfoResponse> MaskClient::GetServerInfoUntil(
    Clock::time_point deadline, const std::stop_token& stop) const {
  grpc::ClientContext context;
  context.set_deadline(deadline);
  if (absl::Status status = AddToken(options_.security, context); !status.ok()) return status;
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  v1::GetServerInfoResponse response;
  const grpc::Status status = stub_->GetServerInfo(&context, {}, &response);
  if (!status.ok() && stop.stop_requested()) return Interrupted();
  if (!status.ok()) return ToAbslStatus(status);
  max_message_bytes_ = response.limits().max_message_bytes();
  return response;
}

absl::StatusOr<v1::SolveSummary> MaskClient::SolveTensorUntil(Clock::time_point deadline,
                                                              const v1::TensorHeader& header,
                                                              const TensorSource& source,
                                                              const MaskSink& sink,
                                                              const std::stop_token& stop) const {
  if (header.shape_size() != 2 || header.shape(0) == 0 || header.shape(1) == 0) {
    return absl::InvalidArgumentError("header.shape must have two values, each at least 1");
  }
  ClientOptions options = options_;
  if (const uint64_t most = max_message_bytes_; most > kChunkOverhead) {
    options.chunk_bytes = std::min<uint64_t>(options.chunk_bytes, most - kChunkOverhead);
  }
  Backoff backoff(options_.retry, std::random_device{}());
  absl::Status failure = absl::UnavailableError("no attempt was made");  // the last attempt's
  // What the sink refuses stays refused, whatever its code: a full disk is no full server.
  absl::Status sink_error;
  const MaskSink own_sink = [&](const MaskRows& rows) { return sink_error = sink(rows); };
  while (true) {
    if (absl::Status connected = WaitForConnection(deadline, stop); !connected.ok()) {
      if (absl::IsCancelled(connected)) return connected;
      return absl::Status(failure.code(),
                          absl::StrCat(failure.message(), " (no server at ", address_, " until ",
                                       options_.solve_timeout.count(), " ms had passed)"));
    }
    absl::StatusOr<v1::SolveSummary> summary =
        StreamTensor(*stub_, header, source, own_sink, options, deadline, stop);
    if (!sink_error.ok()) return sink_error;
    if (summary.ok() || !IsRetryable(summary.status())) return summary;
    if (!backoff.MayRetry()) {
      return absl::Status(summary.status().code(),
                          absl::StrCat(summary.status().message(), " (after ", backoff.attempts(),
                                       backoff.attempts() == 1 ? " attempt)" : " attempts)"));
    }
    const Clock::time_point next = Clock::now() + backoff.NextDelay();
    if (next >= deadline) return summary;
    if (!SleepUntil(next, stop)) return Interrupted();
    failure = summary.status();
  }
}

}  // namespace tsenor::client
