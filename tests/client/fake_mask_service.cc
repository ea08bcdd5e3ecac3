#include "tests/client/fake_mask_service.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <chrono>

#include "proto/wire/crc32c.h"

namespace tsenor {
namespace {

grpc::Status Refuse(const std::string& what) { return {grpc::StatusCode::INVALID_ARGUMENT, what}; }

uint64_t ElementBytes(v1::DataType dtype) {
  if (dtype == v1::DATA_TYPE_FLOAT32) return 4;
  return dtype == v1::DATA_TYPE_FLOAT16 || dtype == v1::DATA_TYPE_BFLOAT16 ? 2 : 1;
}

uint64_t TensorBytes(const v1::TensorHeader& header) {
  return header.shape(0) * header.shape(1) * ElementBytes(header.dtype());
}

}  // namespace

grpc::Status FakeMaskService::ReadTensor(Stream& stream, v1::TensorHeader& header, uint64_t limit) {
  v1::SolveStreamRequest request;
  if (!stream.Read(&request) || !request.has_header()) return Refuse("no header");
  header = request.header();
  uint64_t received = 0;
  while (received < limit && stream.Read(&request)) {
    const v1::DataChunk& chunk = request.chunk();
    if (chunk.offset() != received) return Refuse("a gap");
    if (chunk.crc32c() != wire::Crc32c(chunk.data().data(), chunk.data().size())) {
      return Refuse("a damaged chunk");
    }
    received += chunk.data().size();
  }
  if (received != std::min(limit, TensorBytes(header))) return Refuse("a wrong length");
  return grpc::Status::OK;
}

v1::SolveStreamResponse FakeMaskService::BlockRow(const v1::TensorHeader& header,
                                                  uint64_t first_row) {
  const uint64_t n = header.pattern().n();
  const uint64_t m = header.pattern().m();
  const uint64_t columns = header.shape(1);
  const uint64_t row_bytes = (columns + 7) / 8;
  v1::SolveStreamResponse response;
  v1::MaskChunk* chunk = response.mutable_mask();
  const uint64_t rows = std::min(m, header.shape(0) - first_row);
  chunk->set_first_row(first_row);
  chunk->set_row_count(rows);
  std::string bits(rows * row_bytes, '\0');
  for (uint64_t row = 0; row < rows; ++row) {
    for (uint64_t c = 0; c < columns; ++c) {
      const bool kept = (c % m + m - row) % m < n;
      if (kept) bits[row * row_bytes + c / 8] |= static_cast<char>(1 << (c % 8));
    }
  }
  chunk->set_crc32c(wire::Crc32c(bits.data(), bits.size()));
  chunk->set_mask(std::move(bits));
  return response;
}

grpc::Status FakeMaskService::Answer(Stream& stream, Fault fault) {
  v1::TensorHeader header;
  if (grpc::Status status = ReadTensor(stream, header); !status.ok()) return status;
  const uint64_t m = header.pattern().m();
  for (uint64_t row = 0; row < header.shape(0); row += m) {
    const bool last = row + m >= header.shape(0);
    if (fault == Fault::kRowsMissing && last) break;
    v1::SolveStreamResponse response = BlockRow(header, row);
    v1::MaskChunk* chunk = response.mutable_mask();
    if (fault == Fault::kBadCrc && last) chunk->set_crc32c(chunk->crc32c() ^ 1);
    if (fault == Fault::kWrongRow && last) chunk->set_first_row(0);
    if (fault == Fault::kTooManyRows && last) chunk->set_row_count(m + 1);
    if (fault == Fault::kWrongSize && last) chunk->mutable_mask()->push_back('\0');
    stream.Write(response);
  }
  v1::SolveStreamResponse response;
  v1::SolveSummary* summary = response.mutable_summary();
  summary->set_name(header.name());
  summary->set_value(1);
  summary->set_bound(2);
  summary->set_relative_gap(0.5);
  summary->set_score_sum(4);
  if (fault != Fault::kNoSummary) stream.Write(response);
  if (fault == Fault::kAfterSummary) stream.Write(response);
  return grpc::Status::OK;
}

grpc::Status FakeMaskService::SolveStream(grpc::ServerContext* context, Stream* stream) {
  const int attempt = ++attempts_;
  return script_ ? script_(attempt, *context, *stream) : Answer(*stream);
}

grpc::Status FakeMaskService::GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*,
                                            v1::GetServerInfoResponse* response) {
  response->set_version("9.8.7");
  v1::Backend* backend = response->add_backends();
  backend->set_name("fake");
  backend->set_device("a script");
  response->add_methods(v1::METHOD_OPTIMAL);
  response->add_dtypes(v1::DATA_TYPE_FLOAT32);
  response->mutable_limits()->set_max_m(128);
  return grpc::Status::OK;
}

FakeServer::FakeServer(FakeMaskService::Script script, const std::string& address)
    : service_(std::move(script)), address_(address) {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service_);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) std::abort();
  if (address == "127.0.0.1:0") address_ = "127.0.0.1:" + std::to_string(port);
}

FakeServer::~FakeServer() { server_->Shutdown(std::chrono::system_clock::now()); }

}  // namespace tsenor
