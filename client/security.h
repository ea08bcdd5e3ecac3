// How a client and its server make sure of each other: TLS, and a token.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace grpc {
class ChannelCredentials;
class ClientContext;
}  // namespace grpc

namespace tsenor::client {

// Files are PEM. The command line has each as an option, by which errors name it: --tls-ca.
// Thread-compatible.
struct Security {
  bool tls = false;         // any other member of the same prefix turns TLS on, too
  std::string tls_ca = {};  // who signs the server's certificate; "": the system's authorities
  std::string tls_certificate = {};  // the client's, with its chain, if the server wants one
  std::string tls_key = {};          // the certificate's private key
  std::string tls_server_name = {};  // as in the server's certificate; "": the address's host
  std::string token_file = {};       // its first line that is not empty goes along with every call
  bool allow_plaintext_token = false;  // else a token needs TLS or a Unix socket

  bool uses_tls() const {
    return tls || !tls_ca.empty() || !tls_certificate.empty() || !tls_key.empty() ||
           !tls_server_name.empty();
  }
};

// Credentials of a channel to `address`. The files of TLS are read here, once.
// Errors: InvalidArgument if the options do not go together or with the address (Unix sockets have
// no TLS); FailedPrecondition if a file cannot be used, that of the token included.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const std::string& address, const Security& security);

// Sends the token along with the call of `context`, if there is a token. Reads its file, so that a
// token may be exchanged while the client lives.
// Errors: FailedPrecondition if the file cannot be read, or holds no token.
absl::Status AddToken(const Security& security, grpc::ClientContext& context);

// What to do about gRPC's `message` on a connection to `address` that failed, from " (" to ")"; ""
// if TLS has nothing to do with it.
std::string AdviceOnTls(const std::string& address, const std::string& message,
                        const Security& security);

}  // namespace tsenor::client
