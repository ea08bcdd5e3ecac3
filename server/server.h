// The gRPC server: ports, services, life and death.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/clock.h"
#include "server/engine.h"

namespace grpc {
class Server;
}  // namespace grpc

namespace tsenor::server {

class MaskService;

// Serves tsenor.v1.MaskService, grpc.health.v1.Health and server reflection. Health is told of ""
// and of "tsenor.v1.MaskService".
//
// Owns its sockets; does not own the engine, which outlives it. Thread-compatible.
class Server {
 public:
  // Listens on every one of `addresses` (host:port, where port 0 is any free one, or unix:PATH).
  // Errors: those of PrepareAddress(); Unavailable if an address cannot be bound.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const std::vector<std::string>& addresses,
                                                       Engine& engine);
  // Drains without patience.
  ~Server();

  // As given to Start(), with the real ports.
  const std::vector<std::string>& addresses() const { return addresses_; }

  // Reports NOT_SERVING, refuses new RPCs with UNAVAILABLE, and waits for those in flight; cancels
  // what is left after `patience`. Returns whether nothing was. Once it has returned, no session
  // has a peer.
  bool Drain(Duration patience);

 private:
  explicit Server(Engine& engine);

  Engine& engine_;
  std::vector<std::string> addresses_;
  std::unique_ptr<MaskService> service_;
  std::unique_ptr<grpc::Server> server_;  // null when drained
};

}  // namespace tsenor::server
