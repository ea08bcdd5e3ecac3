// TLS for the ports of the server.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/security.h"

namespace grpc {
class ServerCredentials;
}  // namespace grpc

namespace tsenor::server {

// Credentials of a port with TLS 1.2 or 1.3. Looks at the files of `security` again every
// tls_reload_seconds, and serves what they hold then to new connections; those that are open stay
// as they are. With tls_client_ca, clients without a certificate that it has signed get no
// connection. Logs until when the certificate is valid.
//
// REQUIRES: security.has_tls(); ValidateSecurity() is OK.
// Errors: InvalidArgument naming flag, file and reason, unless the files can be read, hold what
// they should, and the key is the certificate's.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeTlsCredentials(
    const Security& security);

}  // namespace tsenor::server
