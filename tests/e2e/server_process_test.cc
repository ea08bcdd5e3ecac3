// The server as a process: flags, ports, probes, signals.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/certificates.h"
#include "tests/support/program.h"
#include "tests/support/server_program.h"
#include "tests/support/stream_client.h"
#include "tests/support/temporary_directory.h"

namespace tsenor {
namespace {

using testing::ChunkMessage;
using ::testing::HasSubstr;
using testing::HeaderMessage;
using testing::MakeHeader;
using testing::MakeStub;
using testing::Messages;
using ::testing::Not;
using testing::ServerProgram;
using testing::SolveStream;

const std::string kServer = TSENOR_BINARY_DIR "/bin/tsenor-server";

std::string GoodData() { return testing::ToBytes(std::vector<float>(64, 1.0f)); }

void ExpectServes(const std::string& address) {
  const auto stub = MakeStub(address);
  const auto answer = SolveStream(*stub, Messages(MakeHeader(8, 8, 2, 4), GoodData(), 100));
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.mask.size(), 8u);
}

// The answer to GET `path` of a loopback host:port.
std::string HttpGet(const std::string& address, const std::string& path) {
  sockaddr_in socket_address = {};
  socket_address.sin_family = AF_INET;
  socket_address.sin_port = htons(std::stoi(address.substr(address.rfind(':') + 1)));
  socket_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int connection = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_EQ(
      connect(connection, reinterpret_cast<sockaddr*>(&socket_address), sizeof(socket_address)), 0);
  const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
  EXPECT_EQ(write(connection, request.data(), request.size()), std::ssize(request));
  std::string answer;
  char buffer[4096];
  for (ssize_t count; (count = read(connection, buffer, sizeof(buffer))) > 0;) {
    answer.append(buffer, static_cast<size_t>(count));
  }
  close(connection);
  return answer;
}

// Calls `method` with one message, without generated code; returns the bytes of the answer.
std::pair<grpc::Status, std::string> Call(const std::string& address, const std::string& method,
                                          const std::string& request_bytes) {
  grpc::GenericStub stub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  const grpc::Slice slice(request_bytes);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &response,
                 [&done](grpc::Status status) { done.set_value(std::move(status)); });
  const grpc::Status status = done.get_future().get();
  grpc::Slice answer;
  if (!status.ok() || !response.DumpToSingleSlice(&answer).ok()) return {status, ""};
  return {status, std::string(reinterpret_cast<const char*>(answer.begin()), answer.size())};
}

// The status of the service `name`, by grpc.health.v1.Health/Check: 1 is SERVING, 2 NOT_SERVING, -1
// no answer.
int CheckHealth(const std::string& address, const std::string& name) {
  std::string request;  // field 1, a string
  if (!name.empty()) request = "\x0a" + std::string(1, static_cast<char>(name.size())) + name;
  const auto [status, answer] = Call(address, "/grpc.health.v1.Health/Check", request);
  if (!status.ok()) return -1;
  return answer.size() == 2 ? answer[1] : 0;  // field 1, a varint
}

// What server reflection says of the services there.
std::pair<grpc::Status, std::string> ListServices(const std::string& address) {
  const std::string list_services("\x3a\0", 2);  // field 7, a string
  return Call(address, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
              list_services);
}

TEST(ServerProcess, ServesAndEndsWithZeroOnSigterm) {
  for (const int signal : {SIGTERM, SIGINT}) {
    ServerProgram server;
    ExpectServes(server.address());
    server.program().Signal(signal);
    const ProgramOutcome outcome = server.program().Wait();
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_EQ(outcome.out, "listening on " + server.address() + "\n");
    EXPECT_THAT(outcome.err, HasSubstr("stopped"));
  }
}

TEST(ServerProcess, SigtermLetsCallsInFlightFinish) {
  ServerProgram server;
  const auto stub = MakeStub(server.address());
  grpc::ClientContext context;
  auto stream = stub->SolveStream(&context);
  ASSERT_TRUE(stream->Write(HeaderMessage(MakeHeader(8, 8, 2, 4))));
  ASSERT_TRUE(stream->Write(ChunkMessage(0, GoodData().substr(0, 128))));
  EXPECT_EQ(CheckHealth(server.address(), ""), 1);  // and the stream has arrived before it
  server.program().Signal(SIGTERM);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  // No new calls ...
  grpc::ClientContext late;
  late.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  v1::GetServerInfoResponse info;
  EXPECT_EQ(MakeStub(server.address())->GetServerInfo(&late, {}, &info).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  // ... but the old one ends well.
  ASSERT_TRUE(stream->Write(ChunkMessage(128, GoodData().substr(128))));
  stream->WritesDone();
  v1::SolveStreamResponse response;
  while (stream->Read(&response)) {
  }
  EXPECT_TRUE(response.has_summary());
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(server.program().Wait().exit_code, 0);
}

// Load balancers need time to hear that a server drains: until then their calls are served.
TEST(ServerProcess, ServesDuringTheDrainDelay) {
  ServerProgram server({"--drain-delay", "2", "--health-listen", "127.0.0.1:0"});
  const std::string probes = server.program().WaitForLine("health on ");
  const auto start = std::chrono::steady_clock::now();
  server.program().Signal(SIGTERM);
  while (CheckHealth(probes, "") == 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(CheckHealth(probes, ""), 2);
  if (std::chrono::steady_clock::now() - start <
      std::chrono::seconds(1)) {  // else too busy to tell
    ExpectServes(server.address());
  }
  EXPECT_EQ(server.program().Wait().exit_code, 0);
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
}

TEST(ServerProcess, TheDrainEndsAfterItsTimeout) {
  ServerProgram server({"--drain-timeout", "0.3"});
  const auto stub = MakeStub(server.address());
  grpc::ClientContext context;
  auto stream = stub->SolveStream(&context);
  ASSERT_TRUE(stream->Write(HeaderMessage(MakeHeader(8, 8, 2, 4))));
  EXPECT_EQ(CheckHealth(server.address(), ""), 1);
  const auto start = std::chrono::steady_clock::now();
  server.program().Signal(SIGTERM);
  const ProgramOutcome outcome = server.program().Wait();
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("drain timeout"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_FALSE(stream->Finish().ok());
}

TEST(ServerProcess, ASecondSignalEndsItAtOnce) {
  ServerProgram server({"--drain-timeout", "600"});
  const auto stub = MakeStub(server.address());
  grpc::ClientContext context;
  auto stream = stub->SolveStream(&context);
  ASSERT_TRUE(stream->Write(HeaderMessage(MakeHeader(8, 8, 2, 4))));
  EXPECT_EQ(CheckHealth(server.address(), ""), 1);
  server.program().Signal(SIGTERM);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  server.program().Signal(SIGTERM);
  EXPECT_EQ(server.program().Wait().exit_code, 128 + SIGTERM);
}

TEST(ServerProcess, ReportsHealth) {
  ServerProgram server;
  EXPECT_EQ(CheckHealth(server.address(), ""), 1);
  EXPECT_EQ(CheckHealth(server.address(), "tsenor.v1.MaskService"), 1);
  EXPECT_EQ(CheckHealth(server.address(), "no.such.Service"), -1);
}

TEST(ServerProcess, TellsItsServices) {
  ServerProgram server;
  const auto [status, services] = ListServices(server.address());
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(services, HasSubstr("tsenor.v1.MaskService"));
  server.program().Signal(SIGTERM);
  EXPECT_THAT(server.program().Wait().err, Not(HasSubstr("registration")));
}

// Without TLS, client certificate or token, whatever the other ports want; and nothing but health.
TEST(ServerProcess, AnswersProbesOnAPortOfTheirOwn) {
  const TemporaryDirectory directory;
  const testing::CertificateAuthority authority(directory, "ca");
  authority.Issue("server");
  WriteWholeFile(directory / "tokens", "a-token-of-this-test\n");
  ServerProgram server({"--tls-certificate", directory / "server.pem", "--tls-key",
                        directory / "server.key", "--tls-client-ca", authority.certificate(),
                        "--token-file", directory / "tokens", "--health-listen", "127.0.0.1:0"});
  const std::string probes = server.program().WaitForLine("health on ");
  ASSERT_NE(probes, "");
  EXPECT_EQ(CheckHealth(probes, ""), 1);
  EXPECT_EQ(CheckHealth(probes, "tsenor.v1.MaskService"), 1);
  EXPECT_EQ(CheckHealth(probes, "no.such.Service"), -1);
  EXPECT_EQ(CheckHealth(server.address(), ""), -1);
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  EXPECT_EQ(MakeStub(probes)->GetServerInfo(&context, {}, &info).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
  const auto answer =
      SolveStream(*MakeStub(probes), Messages(MakeHeader(8, 8, 2, 4), GoodData(), 100));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(ListServices(probes).first.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  server.program().Signal(SIGTERM);
  EXPECT_EQ(server.program().Wait().exit_code, 0);
  EXPECT_EQ(
      RunProgram({kServer, "--listen", "127.0.0.1:0", "--health-listen", "nonsense"}).exit_code, 1);
}

// The port for probes is the last to close.
TEST(ServerProcess, ProbesSeeTheDrain) {
  ServerProgram server({"--health-listen", "127.0.0.1:0"});
  const std::string probes = server.program().WaitForLine("health on ");
  const auto stub = MakeStub(server.address());
  grpc::ClientContext context;
  auto stream = stub->SolveStream(&context);
  ASSERT_TRUE(stream->Write(HeaderMessage(MakeHeader(8, 8, 2, 4))));
  EXPECT_EQ(CheckHealth(server.address(), ""), 1);
  server.program().Signal(SIGTERM);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(CheckHealth(probes, ""), 2);
  context.TryCancel();
  EXPECT_FALSE(stream->Finish().ok());
  EXPECT_EQ(server.program().Wait().exit_code, 0);
}

TEST(ServerProcess, ServesMetrics) {
  ServerProgram server({"--backend", "cpu", "--metrics-listen", "127.0.0.1:0"});
  const std::string metrics_address = server.program().WaitForLine("metrics on ");
  ASSERT_NE(metrics_address, "");
  ExpectServes(server.address());
  const std::string metrics = HttpGet(metrics_address, "/metrics");
  EXPECT_THAT(metrics, HasSubstr("200 OK"));
  EXPECT_THAT(metrics, HasSubstr("grpc_server_started_total{grpc_method=\"SolveStream\"} 1"));
  EXPECT_THAT(metrics, HasSubstr("tsenor_blocks_proven_total 4"));
  EXPECT_THAT(metrics, HasSubstr("tsenor_weights_solved_total{backend=\"cpu\",dtype=\"float32\","
                                 "method=\"optimal\"} 64"));
}

#ifndef __SANITIZE_ADDRESS__  // which keeps freed memory
// Headers of 15 MB, and nothing after them: the memory of all that goes back to the kernel.
TEST(ServerProcess, IsSmallAgainAfterManyLargeHeaders) {
  constexpr int64_t kMiB = int64_t{1} << 20;
  constexpr int kColumns = 3'900'000;
  ServerProgram server({"--backend", "cpu"});
  v1::TensorHeader header = MakeHeader(2, kColumns, 1, 2);
  header.set_dtype(v1::DATA_TYPE_FLOAT16);
  header.mutable_scores()->set_kind(v1::SCORE_KIND_MAGNITUDE_TIMES_COLUMN_NORM);
  header.mutable_scores()->mutable_column_norms()->Resize(kColumns, 1.0f);
  const v1::SolveStreamRequest message = HeaderMessage(header);
  {
    const auto stub = MakeStub(server.address());
    std::vector<grpc::ClientContext> contexts(16);
    std::vector<
        std::unique_ptr<grpc::ClientReaderWriter<v1::SolveStreamRequest, v1::SolveStreamResponse>>>
        streams;
    for (grpc::ClientContext& context : contexts) {
      streams.push_back(stub->SolveStream(&context));
      ASSERT_TRUE(streams.back()->Write(message));
    }
    const auto is_large = [&] { return server.program().PeakResidentBytes() > 200 * kMiB; };
    for (int k = 0; k < 100 && !is_large(); ++k) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    EXPECT_TRUE(is_large());
    for (grpc::ClientContext& context : contexts) context.TryCancel();
    for (const auto& stream : streams) {
      EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
    }
  }
  const auto is_small = [&] { return server.program().ResidentBytes() < 64 * kMiB; };
  for (int k = 0; k < 100 && !is_small(); ++k) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_TRUE(is_small()) << server.program().ResidentBytes() / kMiB << " MiB, of at most "
                          << server.program().PeakResidentBytes() / kMiB;
  ExpectServes(server.address());
}
#endif

TEST(ServerProcess, LogsFailedCallsAsJsonWithTheirIdAndWithoutTheirToken) {
  const TemporaryDirectory directory;
  WriteWholeFile(directory / "tokens", "a-token-of-this-test\n");
  ServerProgram server({"--log-level", "debug", "--log-format", "json", "--token-file",
                        directory / "tokens", "--allow-plaintext-token"});
  const auto stub = MakeStub(server.address());
  for (const char* token : {"Bearer a-token-of-this-test", "Bearer a-token-of-nobody"}) {
    grpc::ClientContext context;
    context.AddMetadata("x-request-id", "call-of-this-test");
    context.AddMetadata("authorization", token);
    v1::SolveRequest request;
    *request.mutable_header() = MakeHeader(8, 8, 9, 4);  // n > m
    v1::SolveResponse response;
    EXPECT_FALSE(stub->Solve(&context, request, &response).ok());
  }
  server.program().Signal(SIGTERM);
  const std::string log = server.program().Wait().err;
  EXPECT_THAT(log, HasSubstr("\"request_id\":\"call-of-this-test\",\"method\":\"Solve\","
                             "\"code\":\"INVALID_ARGUMENT\",\"peer\":\"ipv4:127.0.0.1:"));
  EXPECT_THAT(log, HasSubstr("\"code\":\"UNAUTHENTICATED\""));
  EXPECT_THAT(log, Not(HasSubstr("a-token-of")));
  EXPECT_THAT(log, HasSubstr("\"level\":\"info\",\"message\":\"stopped\"}"));
}

TEST(ServerProcess, RefusesAFileWithUnknownKeys) {
  const TemporaryDirectory directory;
  WriteWholeFile(directory / "server.toml", "max-streems = 3\n");
  const ProgramOutcome outcome = RunProgram({kServer, "--config", directory / "server.toml"});
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("max-streems"));
}

TEST(ServerProcess, ReplacesTheSocketOfAKilledServer) {
  const TemporaryDirectory directory;
  const std::string address = "unix:" + (directory / "server.sock");
  {
    ServerProgram killed({"--listen", address});
    ExpectServes(address);
    killed.program().Signal(SIGKILL);
    killed.program().Wait();
  }
  EXPECT_EQ(directory.Names().size(), 1u);
  ServerProgram server({"--listen", address});
  ExpectServes(address);
  // A third one finds the second alive.
  const ProgramOutcome third = RunProgram({kServer, "--listen", address});
  EXPECT_EQ(third.exit_code, 1);
  EXPECT_THAT(third.err, HasSubstr("another server listens on " + address));
  ExpectServes(address);
}

// By default every GPU solves, or else the CPU, and log and GetServerInfo say why. Who insists on a
// GPU where there is none gets no server.
TEST(ServerProcess, SaysWhatSolvesAndNeverFallsBackInSilence) {
  ServerProgram server;
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(MakeStub(server.address())->GetServerInfo(&context, {}, &info).ok());
  server.program().Signal(SIGTERM);
  const std::string log = server.program().Wait().err;
  ASSERT_GE(info.backends_size(), 1);
  EXPECT_THAT(log, HasSubstr("solves with backend " + info.backends(0).name() + ": " +
                             info.backends(0).device()));
  if (info.fallback_reason().empty()) {
    EXPECT_EQ(info.backends(0).name(), "cuda:0");
    return;
  }
  EXPECT_EQ(info.backends(0).name(), "cpu");
  EXPECT_THAT(log, HasSubstr("no GPU solves: " + info.fallback_reason()));
  const ProgramOutcome refused =
      RunProgram({kServer, "--listen", "127.0.0.1:0", "--backend", "cuda"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_EQ(refused.out, "");
  EXPECT_THAT(refused.err, HasSubstr("backend is cuda: " + info.fallback_reason()));
}

TEST(ServerProcess, FailsClearlyWhereItCannotListen) {
  ServerProgram server;
  const ProgramOutcome outcome = RunProgram({kServer, "--listen", server.address()});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("cannot listen on " + server.address()));
  EXPECT_NE(RunProgram({kServer, "--listen", "nonsense"}).exit_code, 0);
  EXPECT_NE(RunProgram({kServer, "--no-such-flag"}).exit_code, 0);
}

TEST(ServerProcess, TellsItsVersion) {
  const ProgramOutcome outcome = RunProgram({kServer, "--version"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("tsenor-server "));
}

}  // namespace
}  // namespace tsenor
