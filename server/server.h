// The gRPC server: ports, services, life and death.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/clock.h"
#include "server/engine.h"
#include "server/security.h"

namespace grpc {
class CallbackGenericService;
class Server;
}  // namespace grpc

namespace tsenor::server {

class MaskService;
class SolveCalls;

// Serves tsenor.v1.MaskService, grpc.health.v1.Health and server reflection. Health is told of ""
// and of "tsenor.v1.MaskService". Health and reflection need no token: they tell nothing but the
// published API, and whether the server serves.
//
// Owns its sockets; does not own the engine, which outlives it. Thread-compatible.
class Server {
 public:
  // Listens on every one of `addresses` (host:port, where port 0 is any free one, or unix:PATH), on
  // host:port with TLS if `security` has it; and, unless it is empty, on `health_address`, where
  // grpc.health.v1 alone answers, without TLS.
  // Errors: those of PrepareAddress(), MakeTlsCredentials() and TokenFile::Open(); Unavailable if
  // an address cannot be bound.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const std::vector<std::string>& addresses,
                                                       Engine& engine,
                                                       const Security& security = {},
                                                       const std::string& health_address = "");
  // Drains without patience.
  ~Server();

  // As given to Start(), with the real ports.
  const std::vector<std::string>& addresses() const { return addresses_; }
  const std::string& health_address() const { return health_address_; }

  // Reports NOT_SERVING; after `delay`, in which load balancers hear of it, refuses new RPCs with
  // UNAVAILABLE, and waits for those in flight; cancels what is left after `patience` more. Returns
  // whether nothing was. Once it has returned, no session has a peer.
  bool Drain(Duration patience, Duration delay = Duration::zero());

 private:
  explicit Server(Engine& engine);

  absl::Status Listen(const std::vector<std::string>& addresses, const Security& security);
  absl::Status ListenForProbes(const std::string& address);

  Engine& engine_;
  std::vector<std::string> addresses_;
  std::string health_address_;
  std::unique_ptr<MaskService> service_;
  std::unique_ptr<SolveCalls> solve_calls_;                // null when drained
  std::unique_ptr<grpc::CallbackGenericService> nothing_;  // what the port for probes has besides
  std::unique_ptr<grpc::Server> server_;                   // null when drained, as is the next
  std::unique_ptr<grpc::Server> health_server_;            // null without a port for probes
};

}  // namespace tsenor::server
