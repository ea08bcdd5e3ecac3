#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/listen_address.h"
#include "server/mask_service.h"

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
  // By default two servers may share a port, and each would get some of the other's clients.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

std::string WithPort(const std::string& address, int port) {
  if (!UnixPath(address).empty()) return address;
  return absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
}

}  // namespace

Server::Server(Engine& engine) : engine_(engine) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const std::vector<std::string>& addresses,
                                                      Engine& engine) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();

  std::unique_ptr<Server> server(new Server(engine));
  server->service_ = std::make_unique<MaskService>(engine);
  grpc::ServerBuilder builder;
  Configure(builder, engine.limits());
  builder.RegisterService(server->service_.get());
  std::vector<int> ports(addresses.size(), 0);
  for (size_t k = 0; k < addresses.size(); ++k) {
    if (absl::Status status = PrepareAddress(addresses[k]); !status.ok()) return status;
    builder.AddListeningPort(addresses[k], grpc::InsecureServerCredentials(), &ports[k]);
  }
  server->server_ = builder.BuildAndStart();
  for (size_t k = 0; k < addresses.size(); ++k) {
    // An address that fails makes gRPC give up on all; those after it have no port either.
    if (ports[k] == 0) {
      return absl::UnavailableError(absl::StrCat("listen: cannot listen on ", addresses[k]));
    }
    server->addresses_.push_back(WithPort(addresses[k], ports[k]));
  }
  if (server->server_ == nullptr) return absl::UnavailableError("listen: the server cannot start");
  server->server_->GetHealthCheckService()->SetServingStatus(v1::MaskService::service_full_name(),
                                                             true);
  return server;
}

Server::~Server() { Drain(Duration::zero()); }

bool Server::Drain(Duration patience) {
  if (server_ == nullptr) return true;
  server_->GetHealthCheckService()->Shutdown();
  // A call that meets gRPC's shutdown is cancelled without a reason. So the engine refuses calls
  // first, in words, for as long as it still works and a moment longer, for those under way.
  engine_.StopAdmitting();
  const Duration last_calls = std::min<Duration>(patience, kLastCalls);
  std::this_thread::sleep_for(last_calls);
  const bool quiet = engine_.WaitUntilQuiet(patience - last_calls);
  server_->Shutdown(std::chrono::system_clock::now() + (quiet ? kLastWords : Duration::zero()));
  server_->Wait();
  // gRPC has removed its Unix sockets itself when it closed them. By now a successor may listen
  // there.
  server_.reset();
  return quiet;
}

}  // namespace tsenor::server
