// The client library: sends tensors to a tsenor.v1.MaskService and receives their masks.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/backoff.h"
#include "client/security.h"
#include "tsenor/v1/mask_service.grpc.pb.h"

namespace tsenor::client {

// How a client talks to its server.
struct ClientOptions {
  // How long Connect() waits for a server that is not there yet.
  std::chrono::milliseconds connect_timeout{5'000};
  // Longest time of one SolveTensor(), all attempts included.
  std::chrono::milliseconds solve_timeout{3'600'000};
  // How long a server that solves may be silent before it is asked whether it is still there; if it
  // does not answer in as long again, at most 20 s, the attempt ends as Unavailable. At least 10 s,
  // or servers take offence; 0: never.
  std::chrono::milliseconds keepalive_time{30'000};
  // Bytes of a tensor in one message, at most; >= 1. Large enough that the cost of a message does
  // not count, small enough that the first block rows are on their way early.
  size_t chunk_bytes = size_t{1} << 20;
  // Largest message that is accepted from the server, in bytes: a mask chunk of 64 MiB is 128 rows
  // of 4 million columns.
  int max_receive_bytes = 64 << 20;
  RetryPolicy retry;
  Security security;
};

// The mask of a run of whole rows, encoded as in mask_service.proto ("Mask encoding").
struct MaskRows {
  uint64_t first_row = 0;
  uint64_t row_count = 0;
  std::span<const uint8_t> bits;  // row_count * ceil(columns / 8) bytes, valid during the call
};

// Receives the mask rows of one tensor: ascending, without gap, checksum and size verified. If the
// tensor is sent again after a failure, its rows come again from the first one on. An error ends
// the solve, which then returns that error.
using MaskSink = std::function<absl::Status(const MaskRows&)>;

// One tensor's bytes: header.shape[0] * header.shape[1] elements; none if header.file says where
// the server finds them.
struct TensorSource {
  std::span<const std::byte> bytes;
  // Called after each message with the number of bytes, from the first, that were handed to the
  // transport and are not read again in this attempt. Optional. Runs on a thread of the library.
  std::function<void(uint64_t sent)> on_sent = {};
};

// A connection to one server.
//
// Memory: about two messages (sent and received) and the transport's window per tensor in flight,
// whatever the tensor's size; SolveTensor() has one write in flight and stops sending while the
// server stops reading.
//
// Thread-safe: several threads may solve tensors at the same time, each over an RPC of its own.
class MaskClient {
 public:
  // Connects to "host:port" or "unix:PATH", with TLS if options.security says so. A stop of `stop`
  // ends the wait.
  // Errors: those of MakeChannelCredentials(); Unavailable "no server at ADDRESS: ..." if none
  // answers within options.connect_timeout, or if its certificate or this client's is refused
  // (the message then names TLS); Cancelled.
  static absl::StatusOr<std::unique_ptr<MaskClient>> Connect(const std::string& address,
                                                             const ClientOptions& options = {},
                                                             const std::stop_token& stop = {});

  using Clock = std::chrono::system_clock;  // gRPC's deadlines

  MaskClient(const MaskClient&) = delete;
  MaskClient& operator=(const MaskClient&) = delete;

  const std::string& address() const { return address_; }

  // Asks what the server is and can do; from then on no chunk is longer than what it takes. A stop
  // of `stop` cancels. Errors: those of AddToken() and of the RPC.
  absl::StatusOr<v1::GetServerInfoResponse> GetServerInfo(const std::stop_token& stop = {}) const;

  // Solves one tensor: streams `source` out while mask rows come in, on the calling thread, to
  // `sink`. Repeats the whole tensor after UNAVAILABLE and RESOURCE_EXHAUSTED (options.retry).
  // Waits before each attempt until the channel is connected, so that a server that restarts costs
  // time but no attempts. A stop of `stop` cancels it.
  //
  // REQUIRES: header.shape has two values, each at least 1.
  // Errors: the server's (Unauthenticated: it wants another token); the sink's; those of
  // AddToken(); DataLoss if a checksum is wrong; Internal if the answer breaks the protocol (order
  // of rows, sizes, no summary); DeadlineExceeded; Cancelled.
  absl::StatusOr<v1::SolveSummary> SolveTensor(const v1::TensorHeader& header,
                                               const TensorSource& source, const MaskSink& sink,
                                               const std::stop_token& stop = {}) const {
    return SolveTensorUntil(SolveDeadline(), header, source, sink, stop);
  }

  // The same, of a tensor that was begun before, in another way: by `deadline` all of it must be
  // done.
  absl::StatusOr<v1::SolveSummary> SolveTensorUntil(Clock::time_point deadline,
                                                    const v1::TensorHeader& header,
                                                    const TensorSource& source,
                                                    const MaskSink& sink,
                                                    const std::stop_token& stop = {}) const;
  // Of a tensor that begins now.
  Clock::time_point SolveDeadline() const { return Clock::now() + options_.solve_timeout; }

 private:
  MaskClient(std::string address, const ClientOptions& options,
             const std::shared_ptr<grpc::ChannelCredentials>& credentials);

  // Waits until the channel is connected. Errors: DeadlineExceeded; Cancelled.
  absl::Status WaitForConnection(Clock::time_point deadline, const std::stop_token& stop) const;
  absl::Status WaitForServer(const std::stop_token& stop) const;
  absl::StatusOr<v1::GetServerInfoResponse> GetServerInfoUntil(Clock::time_point deadline,
                                                               const std::stop_token& stop) const;

  const std::string address_;
  const ClientOptions options_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::MaskService::Stub> stub_;  // thread-safe itself
  // limits.max_message_bytes of the last GetServerInfo(); 0: not known.
  mutable std::atomic<uint64_t> max_message_bytes_ = 0;
};

}  // namespace tsenor::client
