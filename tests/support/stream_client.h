// A client of tsenor.v1.MaskService for tests: synchronous, and able to misbehave.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "proto/wire/crc32c.h"
#include "tsenor/v1/mask_service.grpc.pb.h"

namespace tsenor::testing {

// What came of one stream.
struct StreamAnswer {
  grpc::Status status;
  std::string mask;  // of all chunks
  std::vector<v1::MaskChunk> chunks;
  std::optional<v1::SolveSummary> summary;
};

// Connected: now and then one attempt fails (gRPC 1.51 reports an errno of something else), and
// would fail calls that do not wait. `probes` false: what a stream may have under way to a client
// that does not read stays at 64 KiB.
inline std::unique_ptr<v1::MaskService::Stub> MakeStub(const std::string& address,
                                                       bool probes = true) {
  grpc::ChannelArguments arguments;
  if (!probes) arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  arguments.SetMaxReceiveMessageSize(-1);
  const auto channel =
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  EXPECT_TRUE(
      channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(30)));
  return v1::MaskService::NewStub(channel);
}

// The header of a float32 tensor, n:m.
inline v1::TensorHeader MakeHeader(uint64_t rows, uint64_t columns, uint32_t n, uint32_t m) {
  v1::TensorHeader header;
  header.set_name("layer");
  header.add_shape(rows);
  header.add_shape(columns);
  header.set_dtype(v1::DATA_TYPE_FLOAT32);
  header.mutable_pattern()->set_n(n);
  header.mutable_pattern()->set_m(m);
  return header;
}

inline std::string ToBytes(const std::vector<float>& weights) {
  return std::string(reinterpret_cast<const char*>(weights.data()), weights.size() * sizeof(float));
}

inline v1::SolveStreamRequest HeaderMessage(const v1::TensorHeader& header) {
  v1::SolveStreamRequest request;
  *request.mutable_header() = header;
  return request;
}

inline v1::SolveStreamRequest ChunkMessage(uint64_t offset, const std::string& data) {
  v1::SolveStreamRequest request;
  request.mutable_chunk()->set_offset(offset);
  request.mutable_chunk()->set_data(data);
  request.mutable_chunk()->set_crc32c(wire::Crc32c(data.data(), data.size()));
  return request;
}

inline std::vector<v1::SolveStreamRequest> Messages(const v1::TensorHeader& header,
                                                    const std::string& data, size_t chunk_bytes) {
  std::vector<v1::SolveStreamRequest> messages = {HeaderMessage(header)};
  for (size_t at = 0; at < data.size(); at += chunk_bytes) {
    messages.push_back(ChunkMessage(at, data.substr(at, chunk_bytes)));
  }
  return messages;
}

// Sends `messages`, half-closes, and reads all there is at the same time; gives up after 60
// seconds.
inline StreamAnswer SolveStream(v1::MaskService::Stub& stub,
                                const std::vector<v1::SolveStreamRequest>& messages) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  auto stream = stub.SolveStream(&context);
  std::thread writer([&] {
    for (const v1::SolveStreamRequest& message : messages) {
      if (!stream->Write(message)) return;  // the server has ended the stream
    }
    stream->WritesDone();
  });
  StreamAnswer answer;
  v1::SolveStreamResponse response;
  while (stream->Read(&response)) {
    if (response.has_mask()) {
      answer.mask += response.mask().mask();
      answer.chunks.push_back(response.mask());
    } else {
      answer.summary = response.summary();
    }
  }
  writer.join();
  answer.status = stream->Finish();
  return answer;
}

}  // namespace tsenor::testing
