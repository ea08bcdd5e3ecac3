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

using Clock = std::chrono::system_clock;

// Time for GetServerInfo(), which does no work.
constexpr std::chrono::seconds kInfoTimeout{10};

// Sleeps until `until` or until `stop` is requested. Returns false if it was stopped.
bool SleepUntil(Clock::time_point until, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_until(lock, stop, until, [] { return false; });
  return !stop.stop_requested();
}

}  // namespace

MaskClient::MaskClient(std::string address, const ClientOptions& options)
    : address_(std::move(address)), options_(options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(options_.max_receive_bytes);
  channel_ = grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
  stub_ = v1::MaskService::NewStub(channel_);
}

absl::StatusOr<std::unique_ptr<MaskClient>> MaskClient::Connect(const std::string& address,
                                                                const ClientOptions& options) {
  std::unique_ptr<MaskClient> client(new MaskClient(address, options));
  if (absl::Status status = client->WaitForServer(); !status.ok()) return status;
  return client;
}

absl::Status MaskClient::WaitForServer() const {
  if (channel_->WaitForConnected(Clock::now() + options_.connect_timeout)) return absl::OkStatus();
  // A call that does not wait tells the reason.
  const absl::StatusOr<v1::GetServerInfoResponse> info = GetServerInfo();
  if (info.ok()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("no server at ", address_, ": ",
                                             info.status().message(), " (waited ",
                                             options_.connect_timeout.count(), " ms)"));
}

absl::StatusOr<v1::GetServerInfoResponse> MaskClient::GetServerInfo() const {
  grpc::ClientContext context;
  context.set_deadline(Clock::now() + kInfoTimeout);
  v1::GetServerInfoResponse response;
  const grpc::Status status = stub_->GetServerInfo(&context, {}, &response);
  if (!status.ok()) return ToAbslStatus(status);
  return response;
}

absl::StatusOr<v1::SolveSummary> MaskClient::SolveTensor(const v1::TensorHeader& header,
                                                         const TensorSource& source,
                                                         const MaskSink& sink,
                                                         const std::stop_token& stop) const {
  if (header.shape_size() != 2 || header.shape(0) == 0 || header.shape(1) == 0) {
    return absl::InvalidArgumentError("header.shape must have two values, each at least 1");
  }
  const Clock::time_point deadline = Clock::now() + options_.solve_timeout;
  Backoff backoff(options_.retry, std::random_device{}());
  while (true) {
    absl::StatusOr<v1::SolveSummary> summary = StreamTensor(
        *stub_, header, source, sink, std::max<size_t>(options_.chunk_bytes, 1), deadline, stop);
    if (summary.ok() || !IsRetryable(summary.status())) return summary;
    if (!backoff.MayRetry()) {
      return absl::Status(summary.status().code(),
                          absl::StrCat(summary.status().message(), " (after ", backoff.attempts(),
                                       backoff.attempts() == 1 ? " attempt)" : " attempts)"));
    }
    const Clock::time_point next = Clock::now() + backoff.NextDelay();
    if (next >= deadline) return summary;
    if (!SleepUntil(next, stop)) return absl::CancelledError("interrupted");
  }
}

}  // namespace tsenor::client
