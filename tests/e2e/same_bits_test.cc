// The same request gives the same bits, however it travels and whatever else the server does.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/server_program.h"
#include "tests/support/stream_client.h"
#include "tests/support/temporary_directory.h"

namespace tsenor {
namespace {

using testing::MakeStub;
using testing::Messages;
using testing::ServerProgram;
using testing::SolveStream;
using testing::StreamAnswer;

constexpr size_t kWholeTensor = size_t{4} << 20;  // bytes of a chunk

// Heavy-tailed weights of both signs, the same on every machine.
std::string Weights(size_t count, uint32_t seed) {
  std::vector<float> weights(count);
  for (float& weight : weights) {
    seed = seed * 1664525 + 1013904223;
    const float uniform = static_cast<float>(static_cast<int32_t>(seed)) / 2147483648.0f;
    weight = uniform * uniform * uniform;
  }
  return testing::ToBytes(weights);
}

StreamAnswer Solve(const std::string& address, const v1::TensorHeader& header,
                   const std::string& data, size_t chunk_bytes) {
  const auto stub = MakeStub(address);
  StreamAnswer answer = SolveStream(*stub, Messages(header, data, chunk_bytes));
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  return answer;
}

void ExpectSame(const StreamAnswer& answer, const StreamAnswer& expected) {
  ASSERT_TRUE(answer.summary.has_value());
  EXPECT_TRUE(answer.mask == expected.mask) << "other mask";
  EXPECT_EQ(answer.summary->value(), expected.summary->value());
  EXPECT_EQ(answer.summary->bound(), expected.summary->bound());
  EXPECT_EQ(answer.summary->score_sum(), expected.summary->score_sum());
}

TEST(SameBits, WhateverTheChunksTheThreadsTheSocketAndTheCompany) {
  const TemporaryDirectory directory;
  const std::string unix_address = "unix:" + (directory / "server.sock");
  // Small pieces: the tensor is many of them, and batches mix those of several clients.
  const std::vector<std::string> flags = {"--piece-bytes", "16KiB", "--listen", unix_address};
  auto one = std::make_unique<ServerProgram>(
      std::vector<std::string>{"--piece-bytes", "16KiB", "--threads", "1"});
  std::vector<std::string> two_threads = flags;
  two_threads.insert(two_threads.end(), {"--threads", "2"});
  ServerProgram two(two_threads);

  for (const auto& [n, m] : std::vector<std::pair<uint32_t, uint32_t>>{{16, 32}, {2, 4}}) {
    SCOPED_TRACE(m);
    const v1::TensorHeader header = testing::MakeHeader(96, 128, n, m);
    const std::string data = Weights(96 * 128, m);
    const StreamAnswer alone = Solve(one->address(), header, data, kWholeTensor);
    ASSERT_TRUE(alone.summary.has_value());
    EXPECT_EQ(alone.summary->kept(), 96u * 128u * n / m);
    EXPECT_EQ(alone.summary->blocks_proven_optimal(), alone.summary->blocks());

    ExpectSame(Solve(one->address(), header, data, 1), alone);
    ExpectSame(Solve(two.address(), header, data, 1), alone);
    ExpectSame(Solve(two.address(), header, data, kWholeTensor), alone);
    ExpectSame(Solve(unix_address, header, data, kWholeTensor), alone);
    ExpectSame(Solve(unix_address, header, data, 1), alone);

    // Six clients at once, every other one with another tensor of the same problem.
    std::vector<std::thread> clients;
    std::vector<StreamAnswer> answers(6);
    for (size_t k = 0; k < answers.size(); ++k) {
      clients.emplace_back([&, k] {
        const bool same = k % 2 == 0;
        answers[k] = Solve(k % 4 == 0 ? two.address() : unix_address, header,
                           same ? data : Weights(96 * 128, 1000 + static_cast<uint32_t>(k)),
                           same ? 100 + 1000 * k : kWholeTensor);
      });
    }
    for (std::thread& client : clients) client.join();
    for (size_t k = 0; k < answers.size(); k += 2) ExpectSame(answers[k], alone);
    EXPECT_TRUE(answers[1].mask != alone.mask);
  }
}

// More bytes than a chunk of 4 MiB and than a piece, cut in chunks that no row divides.
TEST(SameBits, OfALargeTensorInLargeChunks) {
  ServerProgram one({"--threads", "1"});
  ServerProgram two({"--threads", "2", "--piece-bytes", "1MiB"});
  const std::string data = Weights(1280 * 1024, 3);
  const v1::TensorHeader header = testing::MakeHeader(1280, 1024, 16, 32);
  const StreamAnswer whole = Solve(one.address(), header, data, kWholeTensor);
  ExpectSame(Solve(two.address(), header, data, kWholeTensor), whole);
  ExpectSame(Solve(two.address(), header, data, 65537), whole);
}

// Every other way to read the same bytes: narrower elements, incomplete blocks, other methods.
TEST(SameBits, OfOtherTypesEdgesAndMethods) {
  ServerProgram one({"--threads", "1", "--piece-bytes", "16KiB"});
  ServerProgram two({"--threads", "2"});
  v1::TensorHeader padded = testing::MakeHeader(75, 101, 5, 12);
  padded.set_edge(v1::EDGE_PAD);
  v1::TensorHeader published = testing::MakeHeader(64, 96, 4, 8);
  published.set_method(v1::METHOD_TSENOR);
  published.mutable_tsenor()->set_iterations(30);
  v1::TensorHeader random = padded;
  random.set_method(v1::METHOD_MAX_RANDOM);
  random.mutable_max_random()->set_seed(5);
  v1::TensorHeader rows = padded;
  rows.set_method(v1::METHOD_ROW_NM);
  for (v1::TensorHeader header : {padded, published, random, rows}) {
    for (const v1::DataType dtype : {v1::DATA_TYPE_FLOAT32, v1::DATA_TYPE_BFLOAT16,
                                     v1::DATA_TYPE_FLOAT8_E4M3, v1::DATA_TYPE_FLOAT8_E5M2}) {
      SCOPED_TRACE(header.ShortDebugString());
      header.set_dtype(dtype);
      const size_t count = header.shape(0) * header.shape(1);
      std::string data = Weights(count, 7);
      if (dtype != v1::DATA_TYPE_FLOAT32) {
        // The upper halves of the floats, or bytes of them, kept from being NaN or infinity.
        std::string narrow;
        for (size_t k = 0; k < count; ++k) {
          if (dtype == v1::DATA_TYPE_BFLOAT16) {
            narrow += data.substr(4 * k + 2, 2);
          } else {
            narrow += static_cast<char>(data[4 * k + 2] & 0xbf);
          }
        }
        data = narrow;
      }
      const StreamAnswer whole = Solve(one.address(), header, data, kWholeTensor);
      ASSERT_TRUE(whole.summary.has_value());
      ExpectSame(Solve(one.address(), header, data, 1), whole);
      ExpectSame(Solve(two.address(), header, data, 777), whole);
    }
  }
}

TEST(SameBits, UnaryAndStream) {
  ServerProgram server;
  const v1::TensorHeader header = testing::MakeHeader(64, 64, 8, 16);
  const std::string data = Weights(64 * 64, 5);
  const StreamAnswer streamed = Solve(server.address(), header, data, 1000);
  const auto stub = MakeStub(server.address());
  grpc::ClientContext context;
  v1::SolveRequest request;
  *request.mutable_header() = header;
  request.set_data(data);
  v1::SolveResponse response;
  ASSERT_TRUE(stub->Solve(&context, request, &response).ok());
  EXPECT_TRUE(response.mask() == streamed.mask);
  EXPECT_EQ(response.summary().value(), streamed.summary->value());
}

TEST(SameBits, TheReferenceBackendFindsTheSameValue) {
  ServerProgram cpu({"--backend", "cpu"});
  ServerProgram reference({"--backend", "reference"});
  const v1::TensorHeader header = testing::MakeHeader(32, 32, 4, 8);
  const std::string data = Weights(32 * 32, 9);
  const StreamAnswer fast = Solve(cpu.address(), header, data, 1000);
  const StreamAnswer plain = Solve(reference.address(), header, data, 1000);
  ASSERT_TRUE(fast.summary.has_value() && plain.summary.has_value());
  EXPECT_EQ(fast.summary->backend(), "cpu");
  EXPECT_EQ(plain.summary->backend(), "reference");
  // Both are proven to within 1e-6 of the optimum.
  EXPECT_NEAR(fast.summary->value(), plain.summary->value(), 1e-6 * plain.summary->value());
}

}  // namespace
}  // namespace tsenor
