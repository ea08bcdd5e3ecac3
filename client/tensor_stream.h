// One attempt at one tensor: the two directions of a SolveStream RPC.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/mask_client.h"
#include "tsenor/v1/mask_service.grpc.pb.h"

namespace tsenor::client {

// The outcome of an RPC as an absl::Status: same code, same message.
absl::Status ToAbslStatus(const grpc::Status& status);

// Checks the answers of one SolveStream RPC against the protocol and hands their rows on.
// Not thread-safe: belongs to the reading thread of one attempt.
class AnswerReader {
 public:
  AnswerReader(const v1::TensorHeader& header, const MaskSink& sink);

  // Takes the next message. Errors: as of MaskClient::SolveTensor().
  absl::Status Take(const v1::SolveStreamResponse& response);

  // The summary, once the stream has ended well. Errors: Internal if rows or the summary are
  // missing.
  absl::StatusOr<v1::SolveSummary> Finish() const;

 private:
  absl::Status TakeRows(const v1::MaskChunk& chunk);

  const MaskSink& sink_;
  const uint64_t rows_;
  const uint64_t mask_row_bytes_;
  uint64_t next_row_ = 0;
  bool have_summary_ = false;
  v1::SolveSummary summary_;
};

// Streams one tensor once. Blocks until the RPC has ended; a second thread writes meanwhile.
// Errors: as of MaskClient::SolveTensor(); Cancelled only after a stop of `stop`, a server that
// cancels is Unavailable.
absl::StatusOr<v1::SolveSummary> StreamTensor(v1::MaskService::Stub& stub,
                                              const v1::TensorHeader& header,
                                              const TensorSource& source, const MaskSink& sink,
                                              const ClientOptions& options,
                                              std::chrono::system_clock::time_point deadline,
                                              const std::stop_token& stop);

}  // namespace tsenor::client
