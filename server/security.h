// What keeps strangers out: TLS and tokens, as the command line asks for them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace tsenor::server {

// Each is a flag (server/flags.cc) of the same name. Files are PEM. Thread-compatible.
struct Security {
  std::string tls_certificate;  // the server's, with its chain; "": no TLS
  std::string tls_key;          // the certificate's private key, without a passphrase
  std::string tls_client_ca;    // who signs clients' certificates; "": clients need none
  int tls_reload_seconds = 10;  // how often the three files are looked at
  std::string token_file;       // server/token_file.h; "": no token is needed
  bool allow_plaintext_token = false;

  // On host:port; Unix sockets have none.
  bool has_tls() const { return !tls_certificate.empty(); }
};

// Whether the options make sense together, on a server that listens on `addresses`. Reads no file.
// Errors: InvalidArgument naming the flag and what to do.
absl::Status ValidateSecurity(const Security& security, const std::vector<std::string>& addresses);

}  // namespace tsenor::server
