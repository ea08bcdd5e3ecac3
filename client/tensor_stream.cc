#include "client/tensor_stream.h"

#include <algorithm>
#include <memory>
#include <span>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/wire/crc32c.h"

namespace tsenor::client {
namespace {

using Stream = grpc::ClientReaderWriter<v1::SolveStreamRequest, v1::SolveStreamResponse>;

absl::Status Broken(const std::string& what) {
  return absl::InternalError(absl::StrCat("the server broke the protocol: ", what));
}

// Sends the header and every chunk, then half-closes. Ends early, without a word, when the stream
// is broken: the reading side learns why.
void WriteTensor(Stream& stream, const v1::TensorHeader& header, const TensorSource& source,
                 size_t chunk_bytes) {
  v1::SolveStreamRequest request;
  *request.mutable_header() = header;
  if (!stream.Write(request)) return;
  for (size_t offset = 0; offset < source.bytes.size();) {
    const size_t size = std::min(chunk_bytes, source.bytes.size() - offset);
    const std::byte* data = source.bytes.data() + offset;
    v1::DataChunk* chunk = request.mutable_chunk();
    chunk->set_offset(offset);
    chunk->set_data(data, size);
    // Of the bytes that are sent: a mapped file may change under us.
    chunk->set_crc32c(wire::Crc32c(chunk->data().data(), size));
    if (!stream.Write(request)) return;
    offset += size;
    if (source.on_sent) source.on_sent(offset);
  }
  stream.WritesDone();
}

}  // namespace

absl::Status ToAbslStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

AnswerReader::AnswerReader(const v1::TensorHeader& header, const MaskSink& sink)
    : sink_(sink), rows_(header.shape(0)), mask_row_bytes_((header.shape(1) + 7) / 8) {}

absl::Status AnswerReader::Take(const v1::SolveStreamResponse& response) {
  if (have_summary_) return Broken("a message after the summary");
  switch (response.message_case()) {
    case v1::SolveStreamResponse::kMask:
      return TakeRows(response.mask());
    case v1::SolveStreamResponse::kSummary:
      have_summary_ = true;
      summary_ = response.summary();
      return absl::OkStatus();
    case v1::SolveStreamResponse::MESSAGE_NOT_SET:
      break;
  }
  return Broken("an empty message");
}

absl::Status AnswerReader::TakeRows(const v1::MaskChunk& chunk) {
  if (chunk.first_row() != next_row_) {
    return Broken(absl::StrCat("mask rows from ", chunk.first_row(), ", expected ", next_row_));
  }
  if (chunk.row_count() == 0 || chunk.row_count() > rows_ - next_row_) {
    return Broken(absl::StrCat(chunk.row_count(), " mask rows at row ", next_row_, " of ", rows_));
  }
  if (chunk.mask().size() != chunk.row_count() * mask_row_bytes_) {
    return Broken(absl::StrCat(chunk.mask().size(), " mask bytes for ", chunk.row_count(),
                               " rows of ", mask_row_bytes_, " bytes"));
  }
  if (chunk.crc32c() != wire::Crc32c(chunk.mask().data(), chunk.mask().size())) {
    return absl::DataLossError(absl::StrCat("mask rows ", next_row_, " to ",
                                            next_row_ + chunk.row_count() - 1,
                                            " arrived damaged: CRC-32C differs"));
  }
  next_row_ += chunk.row_count();
  const auto* bits = reinterpret_cast<const uint8_t*>(chunk.mask().data());
  return sink_({.first_row = chunk.first_row(),
                .row_count = chunk.row_count(),
                .bits = {bits, chunk.mask().size()}});
}

absl::StatusOr<v1::SolveSummary> AnswerReader::Finish() const {
  if (next_row_ != rows_) {
    return Broken(absl::StrCat("the answer ended after ", next_row_, " of ", rows_, " mask rows"));
  }
  if (!have_summary_) return Broken("the answer ended without a summary");
  return summary_;
}

absl::StatusOr<v1::SolveSummary> StreamTensor(v1::MaskService::Stub& stub,
                                              const v1::TensorHeader& header,
                                              const TensorSource& source, const MaskSink& sink,
                                              const ClientOptions& options,
                                              std::chrono::system_clock::time_point deadline,
                                              const std::stop_token& stop) {
  grpc::ClientContext context;
  context.set_deadline(deadline);
  if (absl::Status status = AddToken(options.security, context); !status.ok()) return status;
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  const std::unique_ptr<Stream> stream = stub.SolveStream(&context);
  const size_t chunk_bytes = std::max<size_t>(options.chunk_bytes, 1);
  std::jthread writer([&] { WriteTensor(*stream, header, source, chunk_bytes); });

  AnswerReader reader(header, sink);
  absl::Status refused;  // by this side
  v1::SolveStreamResponse response;
  while (refused.ok() && stream->Read(&response)) refused = reader.Take(response);
  if (!refused.ok()) context.TryCancel();  // also releases a writer that the server does not read
  writer.join();
  const absl::Status status = ToAbslStatus(stream->Finish());
  if (!refused.ok()) return refused;
  if (absl::IsCancelled(status) && !stop.stop_requested()) {
    // A server that is shut down cancels what it still has.
    return absl::UnavailableError(absl::StrCat("the server cancelled: ", status.message()));
  }
  if (!status.ok()) return status;
  return reader.Finish();
}

}  // namespace tsenor::client
