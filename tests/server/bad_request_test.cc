// Every bad request: INVALID_ARGUMENT, a message that names field, value and bound, and a healthy
// server.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/server/service_fixture.h"

namespace tsenor::server {
namespace {

using testing::ChunkMessage;
using testing::HeaderMessage;
using testing::MakeHeader;
using testing::MakeStub;
using testing::Messages;
using testing::SolveStream;
using testing::ToBytes;

// A stream that must be refused, and the words that its message must have: field, value, bound.
struct BadStream {
  const char* name;
  std::function<std::vector<v1::SolveStreamRequest>()> messages;
  std::vector<const char*> words;
};

v1::TensorHeader GoodHeader() { return MakeHeader(8, 8, 1, 2); }

// A good tensor with a bad header.
BadStream BadHeader(const char* name, std::function<void(v1::TensorHeader&)> spoil,
                    std::vector<const char*> words) {
  return {name,
          [spoil = std::move(spoil)] {
            v1::TensorHeader header = GoodHeader();
            spoil(header);
            return Messages(header, std::string(256, '\0'), 100);
          },
          std::move(words)};
}

// A good header with bad chunks.
BadStream BadData(const char* name, std::function<std::vector<v1::SolveStreamRequest>()> chunks,
                  std::vector<const char*> words) {
  return {name,
          [chunks = std::move(chunks)] {
            std::vector<v1::SolveStreamRequest> messages = {HeaderMessage(GoodHeader())};
            for (auto& chunk : chunks()) messages.push_back(std::move(chunk));
            return messages;
          },
          std::move(words)};
}

std::string BytesWith(size_t index, float value) {
  std::vector<float> weights(64, 1.0f);
  weights[index] = value;
  return ToBytes(weights);
}

// Column norms, one of them bad.
void SetNorms(v1::TensorHeader& header, float bad) {
  header.mutable_scores()->set_kind(v1::SCORE_KIND_MAGNITUDE_TIMES_COLUMN_NORM);
  for (int k = 0; k < 8; ++k) header.mutable_scores()->add_column_norms(k == 3 ? bad : 1.0f);
}

std::vector<BadStream> BadHeaders() {
  using Header = v1::TensorHeader;
  return {
      BadHeader("NAboveM", [](Header& h) { h.mutable_pattern()->set_n(3); },
                {"pattern.n", "3", "pattern.m = 2"}),
      BadHeader("ZeroM", [](Header& h) { h.mutable_pattern()->set_m(0); },
                {"pattern.m", "0", "[1, 128]"}),
      BadHeader("MAbove128", [](Header& h) { h.mutable_pattern()->set_m(129); },
                {"pattern.m", "129", "[1, 128]"}),
      BadHeader("MBeyondInt", [](Header& h) { h.mutable_pattern()->set_m(4000000000u); },
                {"pattern.m", "4000000000", "[1, 128]"}),
      BadHeader("NBeyondInt", [](Header& h) { h.mutable_pattern()->set_n(4294967295u); },
                {"pattern.n", "4294967295", "[1, 128]"}),
      BadHeader("LongName", [](Header& h) { h.set_name(std::string(1025, 'x')); },
                {"name", "1025 bytes", "1024"}),
      BadHeader("NoPattern", [](Header& h) { h.clear_pattern(); }, {"pattern", "not set"}),
      BadHeader("NotDivisible", [](Header& h) { h.set_shape(1, 9); }, {"shape[1]", "9", "2"}),
      BadHeader("OneLength", [](Header& h) { h.mutable_shape()->RemoveLast(); },
                {"shape", "1 lengths", "2"}),
      BadHeader("EmptyTensor", [](Header& h) { h.set_shape(0, 0); }, {"shape[0]", "0", "[1, "}),
      BadHeader("Huge",
                [](Header& h) {
                  h.set_shape(0, 1000000);
                  h.set_shape(1, 1000000);
                },
                {"shape", "1000000 x 1000000", "max_tensor_bytes", "68719476736"}),
      BadHeader("LengthBeyondInt64", [](Header& h) { h.set_shape(0, ~uint64_t{0}); },
                {"shape[0]", "18446744073709551615", "1073741824"}),
      BadHeader("NoDtype", [](Header& h) { h.clear_dtype(); }, {"dtype", "0", "FLOAT32"}),
      BadHeader("UnknownDtype", [](Header& h) { h.set_dtype(static_cast<v1::DataType>(99)); },
                {"dtype", "99", "FLOAT8_E5M2"}),
      BadHeader("UnknownLayout", [](Header& h) { h.set_layout(static_cast<v1::Layout>(7)); },
                {"layout", "7", "ROW_MAJOR"}),
      BadHeader("UnknownMethod", [](Header& h) { h.set_method(static_cast<v1::Method>(42)); },
                {"method", "42", "OPTIMAL"}),
      BadHeader("UnknownScores",
                [](Header& h) { h.mutable_scores()->set_kind(static_cast<v1::ScoreKind>(-1)); },
                {"scores.kind", "-1", "GIVEN"}),
      BadHeader("UnknownEdge", [](Header& h) { h.set_edge(static_cast<v1::Edge>(3)); },
                {"edge", "3", "PAD"}),
  };
}

std::vector<BadStream> BadOptions() {
  using Header = v1::TensorHeader;
  return {
      BadHeader("NaNGapTolerance", [](Header& h) { h.mutable_optimal()->set_gap_tolerance(NAN); },
                {"optimal.gap_tolerance", "nan", "(0, 1]"}),
      BadHeader("ZeroGapTolerance", [](Header& h) { h.mutable_optimal()->set_gap_tolerance(0); },
                {"optimal.gap_tolerance", "0", "(0, 1]"}),
      BadHeader("OptionsOfAnotherMethod", [](Header& h) { h.mutable_tsenor(); },
                {"options", "tsenor", "METHOD_OPTIMAL"}),
      BadHeader("OptionsOfAMethodThatHasNone",
                [](Header& h) {
                  h.set_method(v1::METHOD_TWO_APPROX);
                  h.mutable_max_random();
                },
                {"options", "max_random", "METHOD_TWO_APPROX", "must be unset"}),
      BadHeader("NoSamples",
                [](Header& h) {
                  h.set_method(v1::METHOD_MAX_RANDOM);
                  h.mutable_max_random()->set_samples(0);
                },
                {"max_random.samples", "is 0", "[1, 100000]"}),
      BadHeader("SamplesBeyondInt",
                [](Header& h) {
                  h.set_method(v1::METHOD_MAX_RANDOM);
                  h.mutable_max_random()->set_samples(4000000000u);
                },
                {"max_random.samples", "4000000000", "[1, 100000]"}),
      BadHeader("TooManyIterations",
                [](Header& h) {
                  h.set_method(v1::METHOD_TSENOR);
                  h.mutable_tsenor()->set_iterations(10001);
                },
                {"tsenor.iterations", "10001", "10000"}),
      BadHeader("IterationsBeyondInt",
                [](Header& h) {
                  h.set_method(v1::METHOD_TSENOR);
                  h.mutable_tsenor()->set_iterations(4000000000u);
                },
                {"tsenor.iterations", "4000000000", "[1, 10000]"}),
      BadHeader("SwapsBeyondInt",
                [](Header& h) {
                  h.set_method(v1::METHOD_TSENOR);
                  h.mutable_tsenor()->set_swaps(4000000000u);
                },
                {"tsenor.swaps", "4000000000", "[0, 1000]"}),
      BadHeader("TauAboveItsBound",
                [](Header& h) {
                  h.set_method(v1::METHOD_TSENOR);
                  h.mutable_tsenor()->set_tau(501);
                },
                {"tsenor.tau", "501", "(0, 500]"}),
      BadHeader("NaNNorm", [](Header& h) { SetNorms(h, NAN); }, {"column_norms[3]", "nan"}),
      BadHeader("InfiniteNorm", [](Header& h) { SetNorms(h, INFINITY); },
                {"column_norms[3]", "inf"}),
      BadHeader("NormsMissing",
                [](Header& h) {
                  h.mutable_scores()->set_kind(v1::SCORE_KIND_MAGNITUDE_TIMES_COLUMN_NORM);
                },
                {"column_norms", "0", "8"}),
  };
}

std::vector<BadStream> BadStreams() {
  const std::string good(256, '\0');
  std::vector<BadStream> streams = BadHeaders();
  for (BadStream& bad : BadOptions()) streams.push_back(std::move(bad));
  const std::vector<BadStream> others = {
      BadData("NaN", [] { return std::vector{ChunkMessage(0, BytesWith(19, NAN))}; },
              {"data", "row 2", "column 3", "19", "NaN", "finite"}),
      BadData("Infinity", [] { return std::vector{ChunkMessage(0, BytesWith(63, INFINITY))}; },
              {"data", "row 7", "column 7", "63", "infinite", "finite"}),
      BadData("TooFewBytes", [good] { return std::vector{ChunkMessage(0, good.substr(1))}; },
              {"data", "255 bytes", "8 x 8", "256 bytes"}),
      BadData("NoBytes", [] { return std::vector<v1::SolveStreamRequest>(); },
              {"data", "0 bytes", "256 bytes"}),
      BadData("TooManyBytes", [good] { return std::vector{ChunkMessage(0, good + "x")}; },
              {"data", "257 bytes", "8 x 8", "256 bytes"}),
      BadData("Overlap",
              [good] {
                return std::vector{ChunkMessage(0, good.substr(0, 100)),
                                   ChunkMessage(99, good.substr(99))};
              },
              {"offset", "99", "100", "overlaps"}),
      BadData("Gap",
              [good] {
                return std::vector{ChunkMessage(0, good.substr(0, 100)),
                                   ChunkMessage(101, good.substr(101))};
              },
              {"offset", "101", "100", "missing"}),
      BadData("BadCrc",
              [good] {
                v1::SolveStreamRequest message = ChunkMessage(0, good);
                message.mutable_chunk()->set_crc32c(7);
                return std::vector{message};
              },
              {"crc32c", "7", "must be"}),
      BadData("EmptyChunk", [] { return std::vector{ChunkMessage(0, "")}; },
              {"data", "0 bytes", "at least 1"}),
      BadData("HeaderTwice", [] { return std::vector{HeaderMessage(GoodHeader())}; },
              {"second header", "exactly one"}),
      BadData("NothingSet", [] { return std::vector<v1::SolveStreamRequest>(1); },
              {"message", "not set", "header, chunk"}),
      {"ChunkFirst",
       [good] { return std::vector{ChunkMessage(0, good)}; },
       {"chunk before the header"}},
      {"NoMessage", [] { return std::vector<v1::SolveStreamRequest>(); }, {"without a header"}},
  };
  streams.insert(streams.end(), others.begin(), others.end());
  return streams;
}

// All bad streams against one server, which serves a good one after each.
TEST_F(ServiceTest, RefusesEveryBadStreamAndStaysHealthy) {
  Start();
  for (const BadStream& bad : BadStreams()) {
    SCOPED_TRACE(bad.name);
    const grpc::Status status = SolveStream(*stub_, bad.messages()).status;
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    for (const char* word : bad.words) {
      EXPECT_NE(status.error_message().find(word), std::string::npos)
          << "no \"" << word << "\" in: " << status.error_message();
    }
    ExpectHealthy();
    EXPECT_TRUE(WaitUntilMemoryIsFree());
  }
}

TEST_F(ServiceTest, SurvivesAStreamThatIsCutOff) {
  Start();
  {
    grpc::ClientContext context;
    auto stub = MakeStub(server_->addresses().front());
    auto stream = stub->SolveStream(&context);
    ASSERT_TRUE(stream->Write(HeaderMessage(GoodHeader())));
    ASSERT_TRUE(stream->Write(ChunkMessage(0, "abcd")));
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  ExpectHealthy();
  EXPECT_TRUE(WaitUntilMemoryIsFree());
}

// A small message may unfold to a huge one.
TEST_F(ServiceTest, RefusesCompressedCalls) {
  Start();
  for (const auto algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    v1::SolveRequest request;
    *request.mutable_header() = MakeHeader(512, 512, 1, 2);
    request.set_data(std::string(size_t{1} << 20, '\0'));
    grpc::ClientContext context;
    context.set_compression_algorithm(algorithm);
    v1::SolveResponse response;
    const grpc::Status status =
        MakeStub(server_->addresses().front())->Solve(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << status.error_message();
    ExpectHealthy();
  }
}

TEST_F(ServiceTest, UnaryRefusesBadRequests) {
  Start();
  const auto refusal = [this](const v1::SolveRequest& request) {
    grpc::ClientContext context;
    v1::SolveResponse response;
    const grpc::Status status = stub_->Solve(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    return status.error_message();
  };
  v1::SolveRequest request;
  EXPECT_EQ(refusal(request), "header is not set; it must be");
  *request.mutable_header() = GoodHeader();
  EXPECT_EQ(refusal(request), "data has 0 bytes; it must have at least 1");
  request.set_data(std::string(255, '\0'));
  EXPECT_EQ(refusal(request), "data ended after 255 bytes; shape 8 x 8 of float32 has 256 bytes");
  request.set_data(std::string(256, '\0'));
  request.set_crc32c(1);
  EXPECT_NE(refusal(request).find("crc32c is 1"), std::string::npos);
  request.set_data(BytesWith(19, NAN));
  request.clear_crc32c();
  EXPECT_NE(refusal(request).find("row 2, column 3 (flat index 19) is NaN"), std::string::npos);
  ExpectHealthy();
}

}  // namespace
}  // namespace tsenor::server
