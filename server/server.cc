#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/listen_address.h"
#include "server/mask_service.h"
#include "server/solve_calls.h"
#include "server/tls_credentials.h"
#include "server/token_file.h"

namespace tsenor::server {
namespace {

// How long a draining server answers new calls even if it has nothing left to do.
constexpr Duration kLastCalls = std::chrono::milliseconds(100);

// How long clients that have been answered may take to close their connections. Those that are idle
// may not even look at the farewell for seconds.
constexpr Duration kLastWords = std::chrono::seconds(1);

// Calls on one connection besides those that solve: probes, and those that are to hear that there
// are too many.
constexpr int kSpareCalls = 64;

// A message to the port for probes, in bytes: the name of a service.
constexpr int kGreatestProbe = 4096;

// How often clients may ask whether the server is still there. gRPC's default is five minutes;
// whoever asks more often is sent away.
constexpr Duration kLeastPingInterval = std::chrono::seconds(10);

int Milliseconds(Duration duration) {
  constexpr Duration kMost = std::chrono::hours(24);  // gRPC takes an int
  return static_cast<int>(
      std::chrono::ceil<std::chrono::milliseconds>(std::min(duration, kMost)).count());
}

// Finds out about clients that are gone without a word, also between their calls.
void KeepAlive(grpc::ServerBuilder& builder, const Limits& limits) {
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             Milliseconds(kLeastPingInterval));
  if (limits.keepalive_time == Duration::zero()) return;
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(limits.keepalive_time));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                             Milliseconds(limits.keepalive_timeout()));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // any number
}

void Configure(grpc::ServerBuilder& builder, const Limits& limits) {
  builder.SetMaxReceiveMessageSize(static_cast<int>(limits.max_message_bytes));
  builder.SetMaxSendMessageSize(static_cast<int>(limits.max_message_bytes));
  // A compressed message of a megabyte may unfold to a gigabyte before its size is checked; weights
  // hardly compress. gRPC answers such calls with UNIMPLEMENTED.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  // A unary call is read before it can be refused: a connection has no more of them at once than
  // this. What goes beyond waits at the client.
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, limits.max_streams + kSpareCalls);
  // By default gRPC measures each connection and lets its streams send megabytes ahead of what the
  // session asks for, outside the memory budget.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES,
                             static_cast<int>(limits.stream_window_bytes));
  KeepAlive(builder, limits);
  // By default two servers may share a port, and each would get some of the other's clients.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

// Server reflection for one server, or none: where its library is linked, gRPC gives it to all
// servers of the process.
class Reflection final : public grpc::ServerBuilderOption {
 public:
  explicit Reflection(bool wanted) : wanted_(wanted) {}
  void UpdateArguments(grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    plugins->clear();
    if (!wanted_) return;
    plugins->push_back(std::make_unique<grpc::reflection::ProtoServerReflectionPlugin>());
  }

 private:
  const bool wanted_;
};

std::string WithPort(const std::string& address, int port) {
  if (!UnixPath(address).empty()) return address;
  return absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
}

}  // namespace

Server::Server(Engine& engine) : engine_(engine) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const std::vector<std::string>& addresses,
                                                      Engine& engine, const Security& security,
                                                      const std::string& health_address) {
  grpc::EnableDefaultHealthCheckService(true);
  std::unique_ptr<Server> server(new Server(engine));
  if (absl::Status status = server->Listen(addresses, security); !status.ok()) return status;
  if (health_address.empty()) return server;
  if (absl::Status status = server->ListenForProbes(health_address); !status.ok()) return status;
  return server;
}

absl::Status Server::Listen(const std::vector<std::string>& addresses, const Security& security) {
  std::unique_ptr<TokenFile> tokens;
  if (!security.token_file.empty()) {
    auto opened = TokenFile::Open(security.token_file, engine_.clock());
    if (!opened.ok()) return opened.status();
    tokens = *std::move(opened);
  }
  const auto plaintext = grpc::InsecureServerCredentials();
  auto tcp = plaintext;
  if (security.has_tls()) {
    auto made = MakeTlsCredentials(security);
    if (!made.ok()) return made.status();
    tcp = *std::move(made);
  }
  service_ = std::make_unique<MaskService>(engine_, std::move(tokens));
  grpc::ServerBuilder builder;
  Configure(builder, engine_.limits());
  builder.SetOption(std::make_unique<Reflection>(true));
  builder.RegisterService(service_.get());
  solve_calls_ = std::make_unique<SolveCalls>(*service_, builder);
  std::vector<int> ports(addresses.size(), 0);
  for (size_t k = 0; k < addresses.size(); ++k) {
    if (absl::Status status = PrepareAddress(addresses[k]); !status.ok()) return status;
    builder.AddListeningPort(addresses[k], UnixPath(addresses[k]).empty() ? tcp : plaintext,
                             &ports[k]);
  }
  server_ = builder.BuildAndStart();
  for (size_t k = 0; k < addresses.size(); ++k) {
    // An address that fails makes gRPC give up on all; those after it have no port either.
    if (ports[k] == 0) {
      return absl::UnavailableError(absl::StrCat("listen: cannot listen on ", addresses[k]));
    }
    addresses_.push_back(WithPort(addresses[k], ports[k]));
  }
  if (server_ == nullptr) return absl::UnavailableError("listen: the server cannot start");
  solve_calls_->Start();
  server_->GetHealthCheckService()->SetServingStatus(v1::MaskService::service_full_name(), true);
  return absl::OkStatus();
}

absl::Status Server::ListenForProbes(const std::string& address) {
  if (absl::Status status = PrepareAddress(address); !status.ok()) {
    return absl::Status(status.code(), absl::StrCat("health-", status.message()));
  }
  nothing_ = std::make_unique<grpc::CallbackGenericService>();
  grpc::ServerBuilder builder;
  builder.SetOption(std::make_unique<Reflection>(false));
  builder.SetMaxReceiveMessageSize(kGreatestProbe);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kSpareCalls);
  KeepAlive(builder, engine_.limits());
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // gRPC starts no server that has health alone. This service answers the rest: UNIMPLEMENTED.
  builder.RegisterCallbackGenericService(nothing_.get());
  int port = 0;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  health_server_ = builder.BuildAndStart();
  if (health_server_ == nullptr || port == 0) {
    return absl::UnavailableError(absl::StrCat("health-listen: cannot listen on ", address));
  }
  health_address_ = WithPort(address, port);
  health_server_->GetHealthCheckService()->SetServingStatus(v1::MaskService::service_full_name(),
                                                            true);
  return absl::OkStatus();
}

Server::~Server() { Drain(Duration::zero()); }

bool Server::Drain(Duration patience, Duration delay) {
  if (server_ == nullptr) return true;
  server_->GetHealthCheckService()->Shutdown();
  if (health_server_ != nullptr) health_server_->GetHealthCheckService()->Shutdown();
  std::this_thread::sleep_for(delay);
  // A call that meets gRPC's shutdown is cancelled without a reason. So the engine refuses calls
  // first, in words, for as long as it still works and a moment longer, for those under way.
  engine_.StopAdmitting();
  const Duration last_calls = std::min<Duration>(patience, kLastCalls);
  std::this_thread::sleep_for(last_calls);
  const bool quiet = engine_.WaitUntilQuiet(patience - last_calls);
  server_->Shutdown(std::chrono::system_clock::now() + (quiet ? kLastWords : Duration::zero()));
  server_->Wait();
  solve_calls_.reset();
  // gRPC has removed its Unix sockets itself when it closed them. By now a successor may listen
  // there.
  server_.reset();
  if (health_server_ == nullptr) return quiet;
  // To the last, probes could see that the server drains.
  health_server_->Shutdown(std::chrono::system_clock::now());
  health_server_->Wait();
  health_server_.reset();
  return quiet;
}

}  // namespace tsenor::server
