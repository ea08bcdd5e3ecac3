// TLS, client certificates and tokens, between the real server and the real client.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "client/mask_client.h"
#include "tests/support/certificates.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/client_program.h"
#include "tests/support/program.h"
#include "tests/support/server_program.h"
#include "tests/support/temporary_directory.h"

namespace tsenor {
namespace {

using client::MaskClient;
using client::Security;
using ::testing::AllOf;
using testing::CertificateAuthority;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::RunClient;
using testing::ServerProgram;

const std::string kServer = TSENOR_BINARY_DIR "/bin/tsenor-server";
constexpr char kGoodToken[] = "a-token-that-is-good-0123456789";
constexpr char kNextToken[] = "the-token-that-comes-next-98765";
constexpr char kBadToken[] = "a-token-that-is-bad-01234567890";

class TransportSecurity : public ::testing::Test {
 protected:
  TransportSecurity() {
    ours_.Issue("server");
    ours_.Issue("expired", -1);
    ours_.Issue("client");
    theirs_.Issue("stranger");
    WriteWholeFile(File("tokens"), std::string(kGoodToken) + "\n");
    WriteWholeFile(File("bad_token"), std::string(kBadToken) + "\n");
  }

  std::string File(const std::string& name) const { return directory_ / name; }

  // Flags of a server with the certificate of this name, and more.
  std::vector<std::string> Tls(const std::string& name, std::vector<std::string> more = {}) const {
    more.insert(more.end(), {"--tls-certificate", File(name + ".pem"), "--tls-key",
                             File(name + ".key"), "--backend", "cpu"});
    return more;
  }

  // A refused handshake looks to gRPC like a server that is not there yet: whoever expects one
  // waits for it no longer than this.
  static constexpr std::chrono::milliseconds kRefused{500};

  static absl::StatusOr<std::unique_ptr<MaskClient>> Connect(
      const std::string& address, const Security& security,
      std::chrono::milliseconds timeout = std::chrono::seconds(30)) {
    client::ClientOptions options;
    options.connect_timeout = timeout;
    options.security = security;
    return MaskClient::Connect(address, options);
  }

  // What comes of the first call to the server.
  static absl::Status FirstCall(const std::string& address, const Security& security,
                                std::chrono::milliseconds timeout = std::chrono::seconds(30)) {
    const auto client = Connect(address, security, timeout);
    return client.ok() ? (*client)->GetServerInfo().status() : client.status();
  }

  static void ExpectNoConnection(const std::string& address, const Security& security,
                                 const std::string& advice) {
    const absl::Status status = FirstCall(address, security, kRefused);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << advice;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("TLS"), HasSubstr(advice)));
  }

  // Waits, at most thirty seconds, until new connections are possible, or are not.
  static bool Becomes(bool possible, const std::string& address, const Security& security) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (FirstCall(address, security, kRefused).ok() != possible) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
  }

  // Solves 8 x 8 weights; the status of the stream.
  static absl::Status Solve(const MaskClient& client) {
    v1::TensorHeader header;
    header.add_shape(8);
    header.add_shape(8);
    header.set_dtype(v1::DATA_TYPE_FLOAT32);
    header.mutable_pattern()->set_n(2);
    header.mutable_pattern()->set_m(4);
    const std::vector<float> weights(64, 1.0f);
    return client
        .SolveTensor(header, {.bytes = std::as_bytes(std::span(weights))},
                     [](const client::MaskRows&) { return absl::OkStatus(); })
        .status();
  }

  const TemporaryDirectory directory_;
  const CertificateAuthority ours_{directory_, "ours"};
  const CertificateAuthority theirs_{directory_, "theirs"};
};

TEST_F(TransportSecurity, TcpHasTlsAndUnixSocketsHaveNone) {
  const std::string socket = "unix:" + File("server.sock");
  ServerProgram server(Tls("server", {"--listen", socket}));
  for (const Security& security :
       {Security{.tls_ca = ours_.certificate()},
        Security{.tls_ca = ours_.certificate(), .tls_server_name = "localhost"}}) {
    const auto client = Connect(server.address(), security);
    ASSERT_TRUE(client.ok()) << client.status();
    EXPECT_EQ(Solve(**client), absl::OkStatus());
  }
  const auto local = Connect(socket, {});
  ASSERT_TRUE(local.ok()) << local.status();
  EXPECT_EQ(Solve(**local), absl::OkStatus());
}

TEST_F(TransportSecurity, TheClientTrustsNoServerThatItShouldNot) {
  ServerProgram server(Tls("server"));
  ServerProgram expired(Tls("expired"));
  ServerProgram plaintext({"--backend", "cpu"});
  const Security good = {.tls_ca = ours_.certificate()};
  ExpectNoConnection(server.address(), {.tls_ca = theirs_.certificate()},
                     "is not signed by " + theirs_.certificate());
  ExpectNoConnection(server.address(), {.tls = true}, "set --tls-ca");
  ExpectNoConnection(expired.address(), good, "certificate has expired");
  ExpectNoConnection(server.address(),
                     {.tls_ca = ours_.certificate(), .tls_server_name = "other.example"},
                     "set --tls-server-name");
  ExpectNoConnection(plaintext.address(), good, "leave --tls out");
  ExpectNoConnection(server.address(), {}, "does the server want TLS? set --tls-ca");
  expired.program().Signal(SIGTERM);
  EXPECT_THAT(expired.program().Wait().err, HasSubstr("expired.pem expired at"));
}

TEST_F(TransportSecurity, ClientsNeedACertificateWhereTheServerAsksForOne) {
  ServerProgram server(Tls("server", {"--tls-client-ca", ours_.certificate()}));
  const auto with = [this](const std::string& name) {
    return Security{.tls_ca = ours_.certificate(),
                    .tls_certificate = File(name + ".pem"),
                    .tls_key = File(name + ".key")};
  };
  ExpectNoConnection(server.address(), {.tls_ca = ours_.certificate()},
                     "set --tls-certificate, --tls-key");
  ExpectNoConnection(server.address(), with("stranger"), "does the server refuse");
  ExpectNoConnection(server.address(), with("expired"), "does the server refuse");
  const auto client = Connect(server.address(), with("client"));
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ(Solve(**client), absl::OkStatus());
}

// As Kubernetes exchanges the files of a secret: by a link to another directory.
TEST_F(TransportSecurity, ARotatedCertificateIsServedWithinSeconds) {
  namespace fs = std::filesystem;
  for (const char* name : {"server", "stranger"}) {
    fs::create_directory(File(std::string("secret_of_") + name));
    for (const char* kind : {"pem", "key"}) {
      fs::copy_file(File(std::string(name) + "." + kind),
                    File(std::string("secret_of_") + name + "/tls." + kind));
    }
  }
  fs::create_directory_symlink("secret_of_server", File("secret"));
  ServerProgram server(Tls("secret/tls", {"--tls-reload-interval", "1"}));
  const Security before = {.tls_ca = ours_.certificate()};
  const Security after = {.tls_ca = theirs_.certificate()};
  const auto old_client = Connect(server.address(), before);
  ASSERT_TRUE(old_client.ok()) << old_client.status();
  EXPECT_FALSE(FirstCall(server.address(), after, kRefused).ok());

  fs::create_directory_symlink("secret_of_stranger", File("next"));
  fs::rename(File("next"), File("secret"));
  EXPECT_TRUE(Becomes(true, server.address(), after));
  const absl::Status refused = FirstCall(server.address(), before, kRefused);
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_EQ(Solve(**old_client), absl::OkStatus());  // its connection stays
}

TEST_F(TransportSecurity, AKeyThatDoesNotFitStopsNewConnectionsUntilItDoes) {
  namespace fs = std::filesystem;
  const auto put = [this](const std::string& name, const std::string& kind) {
    fs::copy_file(File(name + kind), File("live" + kind), fs::copy_options::overwrite_existing);
  };
  put("server", ".pem");
  put("server", ".key");
  ServerProgram server(Tls("live", {"--tls-reload-interval", "1"}));
  const Security security = {.tls_ca = ours_.certificate()};
  EXPECT_TRUE(FirstCall(server.address(), security).ok());
  put("client", ".pem");
  EXPECT_TRUE(Becomes(false, server.address(), security));
  put("client", ".key");
  EXPECT_TRUE(Becomes(true, server.address(), security));
  fs::remove(File("live.key"));
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));  // two looks
  EXPECT_TRUE(FirstCall(server.address(), security).ok());
}

TEST_F(TransportSecurity, ATokenOpensTheServerAndNothingElseDoes) {
  const std::string socket = "unix:" + File("server.sock");
  ServerProgram server(
      Tls("server", {"--listen", socket, "--token-file", File("tokens"), "--log-level", "debug"}));
  const std::string ca = ours_.certificate();
  for (const auto& [address, authority] :
       {std::pair(server.address(), ca), std::pair(socket, std::string())}) {
    const auto good = Connect(address, {.tls_ca = authority, .token_file = File("tokens")});
    ASSERT_TRUE(good.ok()) << good.status();
    EXPECT_EQ((*good)->GetServerInfo().status(), absl::OkStatus());
    EXPECT_EQ(Solve(**good), absl::OkStatus());
    for (const auto& [file, message] :
         {std::pair(std::string(), "authorization is not set"),
          std::pair(File("bad_token"), "holds none of the server's tokens")}) {
      const auto bad = Connect(address, {.tls_ca = authority, .token_file = file});
      ASSERT_TRUE(bad.ok()) << bad.status();
      for (const absl::Status& status : {(*bad)->GetServerInfo().status(), Solve(**bad)}) {
        EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
        EXPECT_THAT(std::string(status.message()), HasSubstr(message));
      }
    }
  }
  server.program().Signal(SIGTERM);
  const ProgramOutcome outcome = server.program().Wait();
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("method=SolveStream code=UNAUTHENTICATED"));
  for (const char* token : {kGoodToken, kBadToken}) {
    EXPECT_THAT(outcome.err, Not(HasSubstr(token)));
    EXPECT_THAT(outcome.out, Not(HasSubstr(token)));
  }
}

TEST_F(TransportSecurity, TheUnaryCallTakesExactlyOneToken) {
  const std::string socket = "unix:" + File("server.sock");
  ServerProgram server({"--listen", socket, "--allow-plaintext-token", "--token-file",
                        File("tokens"), "--backend", "cpu"});
  const auto stub = v1::MaskService::NewStub(
      grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  const auto call = [&stub](const std::vector<std::string>& headers) {
    grpc::ClientContext context;
    for (const std::string& header : headers) context.AddMetadata("authorization", header);
    v1::SolveResponse response;
    return stub->Solve(&context, {}, &response).error_code();
  };
  const std::string good = std::string("Bearer ") + kGoodToken;
  EXPECT_EQ(call({good}), grpc::StatusCode::INVALID_ARGUMENT);  // an empty request, but let in
  EXPECT_EQ(call({}), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(call({std::string("Bearer ") + kBadToken}), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(call({kGoodToken}), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(call({good, good}), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(TransportSecurity, ATokenIsExchangedWhileServerAndClientRun) {
  WriteWholeFile(File("next_token"), kNextToken);
  ServerProgram server(Tls("server", {"--token-file", File("tokens")}));
  const auto client =
      Connect(server.address(), {.tls_ca = ours_.certificate(), .token_file = File("next_token")});
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_TRUE(absl::IsUnauthenticated(Solve(**client)));
  // Both, then the new one alone.
  WriteWholeFile(File("tokens"), std::string(kGoodToken) + "\n" + kNextToken + "\n");
  const auto solves = [&client](bool wanted) {
    for (int k = 0; k < 100 && Solve(**client).ok() != wanted; ++k) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return Solve(**client).ok();
  };
  EXPECT_TRUE(solves(true));
  WriteWholeFile(File("next_token"), kGoodToken);
  EXPECT_EQ(Solve(**client), absl::OkStatus());
  WriteWholeFile(File("tokens"), std::string(kNextToken) + "\n");
  EXPECT_FALSE(solves(false));
}

TEST_F(TransportSecurity, TheCommandLineSaysWhatToDo) {
  ServerProgram server(
      Tls("server", {"--tls-client-ca", ours_.certificate(), "--token-file", File("tokens")}));
  ServerProgram plaintext(
      {"--token-file", File("tokens"), "--allow-plaintext-token", "--backend", "cpu"});
  const std::string& address = server.address();
  WriteCheckpointFile(File("model.safetensors"), {GaussianMatrix("w", 8, 8)});
  const std::vector<std::string> mask = {
      "mask", File("model.safetensors"), "--out", File("masks.safetensors"), "--pattern",
      "2:4",  "--connect-timeout",       "0.5"};
  const auto run = [](const std::string& to, std::vector<std::string> command,
                      const std::vector<std::string>& more) {
    command.insert(command.end(), more.begin(), more.end());
    return RunClient(to, command);
  };
  const std::vector<std::string> tls = {"--tls-ca",          ours_.certificate(),
                                        "--tls-certificate", File("client.pem"),
                                        "--tls-key",         File("client.key")};
  const auto with = [](std::vector<std::string> options, const std::vector<std::string>& more) {
    options.insert(options.end(), more.begin(), more.end());
    return options;
  };

  const std::vector<std::string> good = with(tls, {"--token-file", File("tokens")});
  const ProgramOutcome masked = run(address, mask, good);
  EXPECT_EQ(masked.exit_code, 0) << masked.err;
  const ProgramOutcome told = run(address, {"info"}, good);
  EXPECT_EQ(told.exit_code, 0) << told.err;
  EXPECT_EQ(run(plaintext.address(), {"info"},
                {"--allow-plaintext-token", "--token-file", File("tokens")})
                .exit_code,
            0);

  struct Case {
    std::string server;
    std::vector<std::string> options;
    int exit_code;
    std::string message;
  };
  for (const Case& wrong : {
           Case{address, {}, 3, "does the server want TLS? set --tls-ca or --tls"},
           Case{address, {"--tls-ca", theirs_.certificate()}, 3, "TLS: the server's certificate"},
           Case{address, {"--tls-ca", ours_.certificate()}, 3, "set --tls-certificate, --tls-key"},
           Case{address, tls, 1, "(tsenor: --token-file)"},
           Case{address, with(tls, {"--token-file", File("bad_token")}), 1, "--token-file"},
           Case{address, with(tls, {"--token-file", File("none")}), 1, "No such file"},
           Case{address, {"--tls-ca", File("none")}, 1, "--tls-ca: cannot use " + File("none")},
           Case{address, {"--tls-ca", File("tokens")}, 1, "it is no PEM file"},
           Case{address, {"--tls-key", File("client.key")}, 2, "set both"},
           Case{address, {"--token-file", File("tokens")}, 2, "set --tls-ca or --tls, or"},
           Case{"unix:" + File("a.sock"), {"--tls"}, 2, "is a Unix socket"},
       }) {
    const ProgramOutcome outcome = run(wrong.server, mask, wrong.options);
    EXPECT_EQ(outcome.exit_code, wrong.exit_code) << wrong.message;
    EXPECT_THAT(outcome.err, HasSubstr(wrong.message));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(Not(HasSubstr(kGoodToken)), Not(HasSubstr(kBadToken))));
  }
}

TEST_F(TransportSecurity, TheServerDoesNotStartWithFilesThatItCannotUse) {
  WriteWholeFile(File("garbage"), "no PEM\n");
  WriteWholeFile(File("short_token"), "\nshort\n");
  const std::string certificate = File("server.pem");
  const std::string key = File("server.key");
  struct Case {
    std::vector<std::string> flags;
    std::string message;
  };
  for (const Case& wrong : {
           Case{{"--tls-certificate", File("none"), "--tls-key", key},
                "tls-certificate: cannot use " + File("none")},
           Case{{"--tls-certificate", File("garbage"), "--tls-key", key},
                "tls-certificate: cannot use " + File("garbage")},
           Case{{"--tls-certificate", certificate, "--tls-key", File("client.key")},
                "tls-key: cannot use " + File("client.key")},
           Case{{"--tls-certificate", certificate, "--tls-key", key, "--tls-client-ca",
                 File("garbage")},
                "tls-client-ca: cannot use " + File("garbage")},
           Case{{"--tls-certificate", certificate, "--tls-key", key, "--token-file", File("none")},
                "token-file: cannot read " + File("none")},
           Case{{"--tls-certificate", certificate, "--tls-key", key, "--token-file",
                 File("short_token")},
                "token-file: line 2 of " + File("short_token")},
       }) {
    std::vector<std::string> arguments = {kServer, "--listen", "127.0.0.1:0", "--backend", "cpu"};
    arguments.insert(arguments.end(), wrong.flags.begin(), wrong.flags.end());
    const ProgramOutcome outcome = RunProgram(arguments);
    EXPECT_EQ(outcome.exit_code, 1) << wrong.message;
    EXPECT_THAT(outcome.err, HasSubstr(wrong.message));
  }
}

TEST_F(TransportSecurity, BenchPassesThroughTlsAndEachCallShowsTheToken) {
  ServerProgram server(Tls("server", {"--token-file", File("tokens")}));
  const auto bench = [&](const std::string& tokens) {
    return RunClient(server.address(),
                     {"bench", "--tls-ca", ours_.certificate(), "--token-file", File(tokens),
                      "--tls-server-name", "localhost", "--connections", "2", "--shape", "32x32",
                      "--warm-up", "0", "--window", "0.2", "--duration", "0.2"});
  };
  const ProgramOutcome good = bench("tokens");
  EXPECT_EQ(good.exit_code, 0) << good.err;
  EXPECT_THAT(good.out, HasSubstr("solved by cpu"));
  EXPECT_EQ(bench("bad_token").exit_code, 1);
}

}  // namespace
}  // namespace tsenor
