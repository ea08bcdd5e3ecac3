#include "server/mask_service.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "server/convert.h"
#include "tests/server/service_fixture.h"

namespace tsenor::server {
namespace {

using ::testing::ElementsAre;
using testing::HeaderMessage;
using testing::MakeHeader;
using testing::MakeStub;
using testing::Messages;
using testing::SolveStream;
using testing::StreamAnswer;
using testing::ToBytes;
using ::testing::UnorderedElementsAre;

TEST_F(ServiceTest, StreamsMaskAndSummary) {
  Start();
  const std::vector<float> weights = Weights(128, 64);
  const StreamAnswer answer =
      SolveStream(*stub_, Messages(MakeHeader(128, 64, 1, 2), ToBytes(weights), 1000));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.mask, ExpectedMask(weights));
  EXPECT_GT(answer.chunks.size(), 3u);
  uint64_t row = 0;
  for (const v1::MaskChunk& chunk : answer.chunks) {
    EXPECT_EQ(chunk.first_row(), row);
    EXPECT_EQ(chunk.mask().size(), chunk.row_count() * 8);
    EXPECT_EQ(chunk.crc32c(), wire::Crc32c(chunk.mask().data(), chunk.mask().size()));
    row += chunk.row_count();
  }
  ASSERT_TRUE(answer.summary.has_value());
  EXPECT_EQ(answer.summary->name(), "layer");
  EXPECT_EQ(answer.summary->blocks(), 64u * 32u);
  EXPECT_EQ(answer.summary->relative_gap(), 0.5);  // FakeSolver's bound is twice the value
  EXPECT_EQ(answer.summary->backend(), "fake");
  EXPECT_GT(answer.summary->seconds().total(), 0);
}

TEST_F(ServiceTest, UnaryAnswersAsTheStreamDoes) {
  Start();
  const std::vector<float> weights = Weights(128, 64);
  v1::SolveRequest request;
  *request.mutable_header() = MakeHeader(128, 64, 1, 2);
  request.set_data(ToBytes(weights));
  grpc::ClientContext context;
  v1::SolveResponse response;
  const grpc::Status status = stub_->Solve(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.mask(), ExpectedMask(weights));
  EXPECT_EQ(response.crc32c(), wire::Crc32c(response.mask().data(), response.mask().size()));
  EXPECT_EQ(response.summary().blocks(), 64u * 32u);
}

TEST_F(ServiceTest, AMaskArrivesBeforeTheUploadEnds) {
  Start();
  const std::vector<float> weights = Weights(128, 64);
  const auto messages = Messages(MakeHeader(128, 64, 1, 2), ToBytes(weights), 4096);
  grpc::ClientContext context;
  auto stream = stub_->SolveStream(&context);
  for (size_t k = 0; k + 1 < messages.size(); ++k) ASSERT_TRUE(stream->Write(messages[k]));
  v1::SolveStreamResponse response;
  ASSERT_TRUE(stream->Read(&response));  // the last chunk is held back
  EXPECT_EQ(response.mask().first_row(), 0u);
  std::string mask = response.mask().mask();
  ASSERT_TRUE(stream->Write(messages.back()));
  stream->WritesDone();
  while (stream->Read(&response) && response.has_mask()) mask += response.mask().mask();
  EXPECT_TRUE(response.has_summary());
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(mask, ExpectedMask(weights));
}

TEST_F(ServiceTest, BlocksOfThreeClientsShareABatch) {
  Start();
  solver_.Block();
  std::vector<std::thread> clients;
  std::vector<grpc::Status> statuses(4);
  const auto solve = [&](size_t k, uint64_t rows) {
    auto stub = MakeStub(server_->addresses().front());
    statuses[k] = SolveStream(*stub, Messages(MakeHeader(rows, 8, 1, 2),
                                              ToBytes(Weights(static_cast<int64_t>(rows), 8)), 64))
                      .status;
  };
  clients.emplace_back(solve, 0, 2);
  ASSERT_TRUE(solver_.WaitForCalls(1));
  for (size_t k = 1; k < 4; ++k) clients.emplace_back(solve, k, 2 + 2 * k);
  EXPECT_TRUE(WaitUntil([this] { return Gauge("tsenor_queue_elements") == (4 + 6 + 8) * 8; }))
      << Gauge("tsenor_queue_elements");
  solver_.Unblock();
  for (std::thread& client : clients) client.join();
  for (const grpc::Status& status : statuses) EXPECT_TRUE(status.ok()) << status.error_message();
  const auto calls = solver_.calls();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_THAT(calls[1].tile_rows, UnorderedElementsAre(4, 6, 8));
}

TEST_F(ServiceTest, AClientIdSaysWhoseShareACallIsPartOf) {
  Start();
  const auto solve = [this](const std::string& id, int64_t rows, int64_t columns) {
    grpc::ClientContext context;
    context.AddMetadata("tsenor-client-id", id);
    v1::SolveRequest request;
    *request.mutable_header() =
        MakeHeader(static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), 1, 2);
    request.set_data(ToBytes(Weights(rows, columns)));
    v1::SolveResponse response;
    EXPECT_TRUE(stub_->Solve(&context, request, &response).ok());
  };
  size_t calls = 0;
  for (const std::string id : {"large", "small"}) {
    solver_.Block();
    std::thread busy([this] { ExpectHealthy(); });
    ASSERT_TRUE(solver_.WaitForCalls(calls + 1));
    std::thread large(solve, "large", 128, 64);  // several pieces
    ASSERT_TRUE(WaitUntil([this] { return Gauge("tsenor_queue_elements") == 128 * 64; }));
    std::thread small(solve, id, 2, 8);
    ASSERT_TRUE(WaitUntil([this] { return Gauge("tsenor_queue_elements") == 128 * 64 + 16; }));
    solver_.Unblock();
    for (std::thread* thread : {&busy, &large, &small}) thread->join();
    const std::vector<int64_t> columns = solver_.calls().back().tile_columns;
    ASSERT_GT(columns.size(), 2u);
    // Behind the pieces of its own client, before those of others.
    EXPECT_EQ(id == "large" ? columns.back() : columns.front(), 8);
    calls = solver_.calls().size();
  }
}

TEST_F(ServiceTest, AHigherPriorityGoesFirst) {
  Start();
  solver_.Block();
  std::thread busy([this] { ExpectHealthy(); });
  ASSERT_TRUE(solver_.WaitForCalls(1));
  std::vector<std::thread> clients;
  const std::vector<int> priorities = {0, -2, 3};
  for (size_t k = 0; k < priorities.size(); ++k) {
    const auto columns =
        static_cast<uint64_t>(8 * (k + 2));  // by which the solver tells them apart
    clients.emplace_back([this, columns, priority = priorities[k]] {
      v1::TensorHeader header = MakeHeader(2, columns, 1, 2);
      header.set_priority(priority);
      const auto data = ToBytes(Weights(2, static_cast<int64_t>(columns)));
      EXPECT_TRUE(SolveStream(*stub_, Messages(header, data, 64)).status.ok());
    });
    // All of one client, which otherwise keep their order.
    const double queued = 2 * 8 * std::vector<double>{2, 5, 9}[k];
    ASSERT_TRUE(WaitUntil([&] { return Gauge("tsenor_queue_elements") == queued; }));
  }
  solver_.Unblock();
  busy.join();
  for (std::thread& client : clients) client.join();
  EXPECT_THAT(solver_.calls().back().tile_columns, ElementsAre(32, 16, 24));
}

TEST_F(ServiceTest, CancellationFreesTheMemoryOfQueuedWork) {
  Start();
  solver_.Block();
  std::thread busy([this] { ExpectHealthy(); });
  ASSERT_TRUE(solver_.WaitForCalls(1));
  const int64_t before = engine_->budget().used();
  grpc::ClientContext context;
  auto stream = stub_->SolveStream(&context);
  for (const auto& message : Messages(MakeHeader(32, 64, 1, 2), ToBytes(Weights(32, 64)), 4096)) {
    ASSERT_TRUE(stream->Write(message));
  }
  ASSERT_TRUE(WaitUntil([this] { return Gauge("tsenor_queue_elements") >= 64; }));
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  // The worker is still busy; the cancelled pieces do not wait for it.
  EXPECT_TRUE(WaitUntil([&] { return engine_->budget().used() == before; }));
  solver_.Unblock();
  busy.join();
  EXPECT_EQ(solver_.calls().size(), 1u);
}

TEST_F(ServiceTest, DeadlinesEndWaitingCalls) {
  Start();
  solver_.Block();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  v1::SolveRequest request;
  *request.mutable_header() = MakeHeader(2, 8, 1, 2);
  request.set_data(ToBytes(Weights(2, 8)));
  v1::SolveResponse response;
  EXPECT_EQ(stub_->Solve(&context, request, &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  solver_.Unblock();
  ExpectHealthy();
  EXPECT_TRUE(WaitUntilMemoryIsFree());
}

TEST_F(ServiceTest, ASlowReaderNeverGrowsMemory) {
  limits_.stream_pieces = 4;
  Start();
  const int64_t rows = 1 << 17;  // 32 MiB, 1 MiB of masks: far beyond what the transport buffers
  const std::vector<float> weights = Weights(rows, 64);
  const auto messages = Messages(MakeHeader(rows, 64, 1, 2), ToBytes(weights), 1 << 16);
  grpc::ClientContext context;
  auto stream = stub_->SolveStream(&context);
  std::atomic<bool> watching = true;
  std::atomic<int64_t> most = 0;
  std::thread watch([&] {
    while (watching) most = std::max(most.load(), engine_->budget().used());
  });
  std::thread writer([&] {
    for (const auto& message : messages) {
      if (!stream->Write(message)) return;
    }
    stream->WritesDone();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  v1::SolveStreamResponse response;
  std::string mask;
  while (stream->Read(&response) && response.has_mask()) mask += response.mask().mask();
  writer.join();
  watching = false;
  watch.join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_TRUE(mask == ExpectedMask(weights));
  EXPECT_GT(most, 0);
  EXPECT_LE(most, 4 * limits_.piece_bytes);
}

TEST_F(ServiceTest, AStreamOnWhichNothingArrivesIsEnded) {
  limits_.idle_timeout = std::chrono::milliseconds(200);
  Start();
  grpc::ClientContext context;
  auto stream = stub_->SolveStream(&context);
  ASSERT_TRUE(stream->Write(HeaderMessage(MakeHeader(8, 8, 1, 2))));
  v1::SolveStreamResponse response;
  EXPECT_FALSE(stream->Read(&response));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_NE(status.error_message().find("idle-timeout"), std::string::npos);
  ExpectHealthy();
}

// All its masks are on their way, and nothing is due any more; but what the client does not read
// keeps the summary, and with it the end, in the transport.
TEST_F(ServiceTest, AnEndedStreamThatNobodyReadsGivesItsPlaceUp) {
  limits_.idle_timeout = std::chrono::seconds(2);
  limits_.max_streams = 1;
  Start();
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // a stream's window stays at 65,535 bytes
  const auto stub = v1::MaskService::NewStub(grpc::CreateCustomChannel(
      server_->addresses().front(), grpc::InsecureChannelCredentials(), arguments));
  // 231 masks of 256 bytes, in messages of some 280 bytes, fill the window but for less than the
  // name, which the summary repeats.
  constexpr int64_t kRows = 231 * 32;
  v1::TensorHeader header = MakeHeader(kRows, 64, 1, 2);
  header.set_name(std::string(1024, 'x'));
  grpc::ClientContext context;
  auto stream = stub->SolveStream(&context);
  for (const auto& message : Messages(header, ToBytes(Weights(kRows, 64)), 1 << 18)) {
    ASSERT_TRUE(stream->Write(message));
  }
  stream->WritesDone();
  const auto other = MakeStub(server_->addresses().front());
  const auto messages = Messages(MakeHeader(8, 8, 1, 2), ToBytes(Weights(8, 8)), 100);
  EXPECT_TRUE(WaitUntil([&] { return SolveStream(*other, messages).status.ok(); }));
  v1::SolveStreamResponse response;
  while (stream->Read(&response)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(ServiceTest, EveryCallHasAnId) {
  Start();
  const auto id_of = [this](const std::string& given) {
    grpc::ClientContext context;
    if (!given.empty()) context.AddMetadata("x-request-id", given);
    v1::GetServerInfoResponse info;
    EXPECT_TRUE(stub_->GetServerInfo(&context, {}, &info).ok());
    const auto& trailing = context.GetServerTrailingMetadata();
    const auto id = trailing.find("x-request-id");
    return id == trailing.end() ? "" : std::string(id->second.data(), id->second.size());
  };
  EXPECT_EQ(id_of("mine-7"), "mine-7");
  EXPECT_EQ(id_of(std::string(500, 'x')), std::string(128, 'x'));
  const std::string first = id_of("");
  EXPECT_NE(first, "");
  EXPECT_NE(id_of(""), first);
}

TEST_F(ServiceTest, RefusesMoreStreamsThanAllowed) {
  limits_.max_streams = 1;
  Start();
  solver_.Block();
  std::thread first([this] { ExpectHealthy(); });
  ASSERT_TRUE(solver_.WaitForCalls(1));
  const StreamAnswer answer =
      SolveStream(*stub_, Messages(MakeHeader(8, 8, 1, 2), ToBytes(Weights(8, 8)), 100));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(answer.status.error_message().find("max-streams"), std::string::npos);
  solver_.Unblock();
  first.join();
}

TEST_F(ServiceTest, TellsWhatItIs) {
  Start();
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(stub_->GetServerInfo(&context, {}, &info).ok());
  EXPECT_FALSE(info.version().empty());
  ASSERT_EQ(info.backends_size(), 1);
  EXPECT_EQ(info.backends(0).name(), "fake");
  EXPECT_THAT(info.dtypes(),
              ElementsAre(v1::DATA_TYPE_FLOAT32, v1::DATA_TYPE_FLOAT16, v1::DATA_TYPE_BFLOAT16,
                          v1::DATA_TYPE_FLOAT8_E4M3, v1::DATA_TYPE_FLOAT8_E5M2));
  EXPECT_EQ(info.methods_size(), 7);
  EXPECT_EQ(info.limits().max_m(), 128u);
  EXPECT_EQ(info.limits().max_tensor_bytes(), uint64_t{64} << 30);
  EXPECT_EQ(info.limits().max_block_row_bytes(), uint64_t{128} << 20);
  EXPECT_EQ(info.limits().max_message_bytes(), uint64_t{16} << 20);
  EXPECT_EQ(info.memory_budget_bytes(), uint64_t{1} << 30);
}

TEST_F(ServiceTest, ServesTcpAndUnixSocketsAtOnce) {
  const std::string path = ::testing::TempDir() + "tsenor-" + std::to_string(getpid()) + ".sock";
  Start({"127.0.0.1:0", "unix:" + path, "127.0.0.1:0"});
  ASSERT_EQ(server_->addresses().size(), 3u);
  EXPECT_NE(server_->addresses()[0], server_->addresses()[2]);
  for (const std::string& address : server_->addresses()) {
    stub_ = MakeStub(address);
    ExpectHealthy();
  }
  server_.reset();
  EXPECT_NE(access(path.c_str(), F_OK), 0);  // the socket is gone with its server
}

TEST_F(ServiceTest, RefusesAPortThatIsTaken) {
  Start();
  const auto second = Server::Start({"127.0.0.1:0", server_->addresses()[0]}, *engine_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(second.status().message().find(server_->addresses()[0]), absl::string_view::npos);
  ExpectHealthy();
}

TEST_F(ServiceTest, RefusesNormsBeyondTheirBudget) {
  limits_.memory_budget_bytes = 1 << 20;
  Start();
  // The norms of one tensor are 128 KiB; there is room for four.
  v1::TensorHeader header = MakeHeader(8, 32768, 1, 2);
  header.mutable_scores()->set_kind(v1::SCORE_KIND_MAGNITUDE_TIMES_COLUMN_NORM);
  for (int k = 0; k < 32768; ++k) header.mutable_scores()->add_column_norms(1);
  std::vector<grpc::ClientContext> contexts(5);
  std::vector<
      std::unique_ptr<grpc::ClientReaderWriter<v1::SolveStreamRequest, v1::SolveStreamResponse>>>
      streams;
  for (grpc::ClientContext& context : contexts) {
    streams.push_back(stub_->SolveStream(&context));
    ASSERT_TRUE(streams.back()->Write(HeaderMessage(header)));
  }
  // One of the five is refused, whichever came last.
  std::atomic<int> refused = 0;
  std::vector<std::thread> readers;
  for (auto& stream : streams) {
    readers.emplace_back([&] {
      v1::SolveStreamResponse response;
      EXPECT_FALSE(stream->Read(&response));
      const grpc::Status status = stream->Finish();
      if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) ++refused;
    });
  }
  EXPECT_TRUE(WaitUntil([&] { return refused == 1; }));
  for (grpc::ClientContext& context : contexts) context.TryCancel();
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(refused, 1);
  EXPECT_TRUE(WaitUntilMemoryIsFree());
  EXPECT_TRUE(WaitUntil([&] {  // the norms' memory is free again, too
    return SolveStream(*stub_, {HeaderMessage(header)}).status.error_code() ==
           grpc::StatusCode::INVALID_ARGUMENT;
  }));
}

TEST_F(ServiceTest, ADrainingServerRefusesInWords) {
  Start();
  solver_.Block();
  std::thread client([this] { ExpectHealthy(); });
  ASSERT_TRUE(solver_.WaitForCalls(1));
  std::thread drain([this] { EXPECT_TRUE(server_->Drain(std::chrono::seconds(30))); });
  ASSERT_TRUE(WaitUntil([this] { return !engine_->CheckAdmitting().ok(); }));
  // On a connection that is open, for as long as there is work: no call is cut off.
  const StreamAnswer stream =
      SolveStream(*stub_, Messages(MakeHeader(8, 8, 1, 2), ToBytes(Weights(8, 8)), 100));
  EXPECT_EQ(stream.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_NE(stream.status.error_message().find("draining"), std::string::npos);
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  const grpc::Status status = stub_->GetServerInfo(&context, {}, &info);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_NE(status.error_message().find("draining"), std::string::npos);
  solver_.Unblock();
  client.join();
  drain.join();
}

TEST_F(ServiceTest, DrainFinishesWhatIsInFlight) {
  Start();
  solver_.Block();
  std::thread client([this] { ExpectHealthy(); });
  ASSERT_TRUE(solver_.WaitForCalls(1));
  std::thread drain([this] { EXPECT_TRUE(server_->Drain(std::chrono::seconds(30))); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  solver_.Unblock();
  client.join();
  drain.join();
}

TEST_F(ServiceTest, DrainCancelsWhatIsLeftAfterItsPatience) {
  Start();
  solver_.Block();
  std::thread client([this] {
    const StreamAnswer answer =
        SolveStream(*stub_, Messages(MakeHeader(8, 8, 1, 2), ToBytes(Weights(8, 8)), 100));
    EXPECT_FALSE(answer.status.ok());
  });
  ASSERT_TRUE(solver_.WaitForCalls(1));
  EXPECT_FALSE(server_->Drain(std::chrono::milliseconds(100)));
  client.join();
  solver_.Unblock();
  engine_->Stop();
}

TEST(ToGrpc, KeepsEveryCodeAndMessage) {
  const std::vector<std::pair<absl::StatusCode, grpc::StatusCode>> table = {
      {absl::StatusCode::kCancelled, grpc::StatusCode::CANCELLED},
      {absl::StatusCode::kUnknown, grpc::StatusCode::UNKNOWN},
      {absl::StatusCode::kInvalidArgument, grpc::StatusCode::INVALID_ARGUMENT},
      {absl::StatusCode::kDeadlineExceeded, grpc::StatusCode::DEADLINE_EXCEEDED},
      {absl::StatusCode::kNotFound, grpc::StatusCode::NOT_FOUND},
      {absl::StatusCode::kAlreadyExists, grpc::StatusCode::ALREADY_EXISTS},
      {absl::StatusCode::kPermissionDenied, grpc::StatusCode::PERMISSION_DENIED},
      {absl::StatusCode::kResourceExhausted, grpc::StatusCode::RESOURCE_EXHAUSTED},
      {absl::StatusCode::kFailedPrecondition, grpc::StatusCode::FAILED_PRECONDITION},
      {absl::StatusCode::kAborted, grpc::StatusCode::ABORTED},
      {absl::StatusCode::kOutOfRange, grpc::StatusCode::OUT_OF_RANGE},
      {absl::StatusCode::kUnimplemented, grpc::StatusCode::UNIMPLEMENTED},
      {absl::StatusCode::kInternal, grpc::StatusCode::INTERNAL},
      {absl::StatusCode::kUnavailable, grpc::StatusCode::UNAVAILABLE},
      {absl::StatusCode::kDataLoss, grpc::StatusCode::DATA_LOSS},
      {absl::StatusCode::kUnauthenticated, grpc::StatusCode::UNAUTHENTICATED},
  };
  for (const auto& [ours, theirs] : table) {
    const grpc::Status status = ToGrpc(absl::Status(ours, "why"));
    EXPECT_EQ(status.error_code(), theirs);
    EXPECT_EQ(status.error_message(), "why");
  }
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
}

}  // namespace
}  // namespace tsenor::server
