// Tensors that the server reads from files, over the network: what works, and every refusal.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/server/service_fixture.h"
#include "tests/support/file_range.h"
#include "tests/support/temporary_directory.h"

namespace tsenor::server {
namespace {

using testing::ChunkMessage;
using ::testing::HasSubstr;
using testing::HeaderMessage;
using testing::MakeHeader;
using testing::MakeStub;
using testing::SolveStream;
using testing::StreamAnswer;
using testing::ToBytes;

constexpr uint64_t kStart = 100;  // of the tensor within its file

class ByReferenceTest : public ServiceTest {
 protected:
  ByReferenceTest() {
    std::filesystem::create_directory(directory_ / "open");
    weights_directory_.emplace(*WeightsDirectory::Open(directory_ / "open"));
  }
  ~ByReferenceTest() override {
    solver_.Unblock();
    server_.reset();
    engine_.reset();  // reads from the directory
  }

  std::string PathOf(const std::string& name) const { return directory_ / ("open/" + name); }

  // Writes a file that holds Weights(rows, 64), and the header that names it.
  v1::TensorHeader Write(const std::string& name, int64_t rows) const {
    WriteWholeFile(PathOf(name), std::string(kStart, '\0') + ToBytes(Weights(rows, 64)) + "more");
    return HeaderOf(name, rows);
  }
  v1::TensorHeader HeaderOf(const std::string& name, int64_t rows) const {
    v1::TensorHeader header = MakeHeader(static_cast<uint64_t>(rows), 64, 1, 2);
    const FileRange range =
        testing::RangeOf(PathOf(name), name, kStart, static_cast<uint64_t>(rows) * 256);
    header.mutable_file()->set_path(range.path);
    header.mutable_file()->set_offset(range.offset);
    header.mutable_file()->set_size(range.size);
    header.mutable_file()->set_file_bytes(range.file_bytes);
    header.mutable_file()->set_mtime_ns(range.mtime_ns);
    return header;
  }
  StreamAnswer Solve(const v1::TensorHeader& header) {
    return SolveStream(*stub_, {HeaderMessage(header)});
  }
  void ExpectFailure(const v1::TensorHeader& header, grpc::StatusCode code,
                     const std::string& words) {
    const grpc::Status status = Solve(header).status;
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(words));
    ExpectHealthy();
    EXPECT_TRUE(WaitUntilMemoryIsFree());
  }

  const TemporaryDirectory directory_;
};

TEST_F(ByReferenceTest, AnswersAsIfTheBytesHadBeenSent) {
  Start();
  const StreamAnswer answer = Solve(Write("model", 1000));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.mask, ExpectedMask(Weights(1000, 64)));
  EXPECT_GT(answer.chunks.size(), 3u);
  ASSERT_TRUE(answer.summary.has_value());
  EXPECT_EQ(answer.summary->blocks(), 500u * 32u);
  EXPECT_EQ(Counter("tsenor_file_read_bytes_total"), 1000 * 256);
}

TEST_F(ByReferenceTest, TellsItsDirectory) {
  Start();
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(stub_->GetServerInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.weights_directory_id(), weights_directory_->id());
  EXPECT_NE(info.weights_directory_id(), "");
}

TEST_F(ByReferenceTest, ManyTensorsAtATimeShareAMemoryThatHoldsNoneOfThem) {
  limits_.memory_budget_bytes = 512 << 10;
  limits_.piece_bytes = 16 << 10;
  limits_.stream_pieces = 1 << 10;
  Start();
  const v1::TensorHeader header = Write("model", 4000);
  ASSERT_GT(header.file().size(), static_cast<uint64_t>(limits_.memory_budget_bytes));
  const std::string expected = ExpectedMask(Weights(4000, 64));
  std::vector<std::thread> clients;
  std::vector<StreamAnswer> answers(8);
  for (StreamAnswer& answer : answers) {
    clients.emplace_back([&] {
      answer = SolveStream(*MakeStub(server_->addresses().front()), {HeaderMessage(header)});
    });
  }
  for (std::thread& client : clients) client.join();
  for (const StreamAnswer& answer : answers) {
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_TRUE(answer.mask == expected);
  }
  EXPECT_TRUE(WaitUntilMemoryIsFree());
}

TEST_F(ByReferenceTest, CancellationFreesWhatItReadAndQueued) {
  Start();
  solver_.Block();
  std::thread busy([this] { ExpectHealthy(); });
  ASSERT_TRUE(solver_.WaitForCalls(1));
  const int64_t before = engine_->budget().used();
  grpc::ClientContext context;
  auto stream = stub_->SolveStream(&context);
  ASSERT_TRUE(stream->Write(HeaderMessage(Write("model", 1000))));
  ASSERT_TRUE(WaitUntil([this] { return Gauge("tsenor_queue_elements") >= 64; }));
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(WaitUntil([&] { return engine_->budget().used() == before; }));
  solver_.Unblock();
  busy.join();
}

TEST_F(ByReferenceTest, DeadlinesEndWaitingCalls) {
  Start();
  solver_.Block();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  auto stream = stub_->SolveStream(&context);
  ASSERT_TRUE(stream->Write(HeaderMessage(Write("model", 1000))));
  stream->WritesDone();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  solver_.Unblock();
  EXPECT_TRUE(WaitUntilMemoryIsFree());
}

TEST_F(ByReferenceTest, DrainFinishesWhatIsInFlight) {
  Start();
  solver_.Block();
  const v1::TensorHeader header = Write("model", 1000);
  std::thread client([&] { EXPECT_TRUE(Solve(header).status.ok()); });
  ASSERT_TRUE(solver_.WaitForCalls(1));
  std::thread drain([this] { EXPECT_TRUE(server_->Drain(std::chrono::seconds(30))); });
  solver_.Unblock();
  client.join();
  drain.join();
}

TEST_F(ByReferenceTest, RefusesWhatIsNotThere) {
  Start();
  v1::TensorHeader header = Write("model", 8);
  header.mutable_file()->set_path("nodel");
  ExpectFailure(header, grpc::StatusCode::NOT_FOUND, "nodel");
}

TEST_F(ByReferenceTest, RefusesWhatLeadsOut) {
  Start();
  v1::TensorHeader header = Write("model", 8);
  for (const std::string& path : {std::string("../open/model"), PathOf("model")}) {
    header.mutable_file()->set_path(path);
    ExpectFailure(header, grpc::StatusCode::INVALID_ARGUMENT, "relative to the server's directory");
  }
  std::filesystem::copy(PathOf("model"), directory_ / "secret");
  std::filesystem::create_symlink("../secret", PathOf("link"));
  ExpectFailure(HeaderOf("link", 8), grpc::StatusCode::PERMISSION_DENIED, "leads out");
}

TEST_F(ByReferenceTest, RefusesWhatIsNoRegularFile) {
  Start();
  v1::TensorHeader header = Write("model", 8);
  ASSERT_EQ(::mkfifo(PathOf("fifo").c_str(), 0600), 0);
  std::filesystem::create_directory(PathOf("folder"));
  for (const char* path : {"fifo", "folder", "."}) {
    header.mutable_file()->set_path(path);
    ExpectFailure(header, grpc::StatusCode::FAILED_PRECONDITION, "not a regular file");
  }
}

TEST_F(ByReferenceTest, RefusesARangeBeyondTheEnd) {
  Start();
  v1::TensorHeader header = Write("model", 8);
  header.mutable_file()->set_offset(kStart + 5);
  ExpectFailure(header, grpc::StatusCode::INVALID_ARGUMENT, "file.file_bytes");
  // A client that lies about the file.
  header.mutable_file()->set_file_bytes(1 << 20);
  header.mutable_file()->set_offset(1 << 19);
  ExpectFailure(header, grpc::StatusCode::FAILED_PRECONDITION, "another file or has changed");
}

TEST_F(ByReferenceTest, RefusesAFileThatHasChanged) {
  Start();
  v1::TensorHeader header = Write("model", 8);
  header.mutable_file()->set_mtime_ns(header.file().mtime_ns() - 1);
  ExpectFailure(header, grpc::StatusCode::FAILED_PRECONDITION, "has changed");
}

TEST_F(ByReferenceTest, AFileThatIsCutShortMeanwhileFailsTheCallAndNothingElse) {
  limits_.stream_pieces = 2;
  Start();
  solver_.Block();
  const v1::TensorHeader header = Write("model", 1000);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  auto stream = stub_->SolveStream(&context);
  ASSERT_TRUE(stream->Write(HeaderMessage(header)));
  stream->WritesDone();
  ASSERT_TRUE(solver_.WaitForCalls(1));  // the first pieces are read, the last ones are not
  ASSERT_EQ(::truncate(PathOf("model").c_str(), 1000), 0);
  solver_.Unblock();
  v1::SolveStreamResponse response;
  while (stream->Read(&response)) EXPECT_TRUE(response.has_mask());
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("it has 1000 bytes"));
  ExpectHealthy();
  EXPECT_TRUE(WaitUntilMemoryIsFree());
}

TEST_F(ByReferenceTest, RefusesChunksToo) {
  Start();
  const StreamAnswer answer = SolveStream(
      *stub_, {HeaderMessage(Write("model", 1000)), ChunkMessage(0, std::string(256, '\0'))});
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(answer.status.error_message(), HasSubstr("names a file"));
}

TEST_F(ByReferenceTest, UnaryCallsReadNoFiles) {
  Start();
  v1::SolveRequest request;
  *request.mutable_header() = Write("model", 8);
  grpc::ClientContext context;
  v1::SolveResponse response;
  const grpc::Status status = stub_->Solve(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("header.file"));
}

TEST_F(ByReferenceTest, AServerWithoutADirectoryReadsNoFiles) {
  weights_directory_.reset();
  Start();
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(stub_->GetServerInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.weights_directory_id(), "");
  ExpectFailure(Write("model", 8), grpc::StatusCode::FAILED_PRECONDITION, "--weights-directory");
}

}  // namespace
}  // namespace tsenor::server
