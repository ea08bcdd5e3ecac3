#include "server/security.h"

#include "absl/strings/str_cat.h"
#include "server/listen_address.h"

namespace tsenor::server {

absl::Status ValidateSecurity(const Security& security, const std::vector<std::string>& addresses) {
  if (security.tls_certificate.empty() != security.tls_key.empty()) {
    const bool has_key = !security.tls_key.empty();
    return absl::InvalidArgumentError(
        absl::StrCat(has_key ? "tls-key" : "tls-certificate", " is set; ",
                     has_key ? "--tls-certificate" : "--tls-key", " must then be set, too"));
  }
  if (!security.tls_client_ca.empty() && !security.has_tls()) {
    return absl::InvalidArgumentError(
        "tls-client-ca is set; --tls-certificate and --tls-key must then be set, too");
  }
  if (security.token_file.empty() || security.has_tls() || security.allow_plaintext_token) {
    return absl::OkStatus();
  }
  for (const std::string& address : addresses) {
    if (!UnixPath(address).empty()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("token-file is set, but on ", address,
                     " everybody on the way could read the tokens: set --tls-certificate and "
                     "--tls-key, listen on Unix sockets alone, or set --allow-plaintext-token"));
  }
  return absl::OkStatus();
}

}  // namespace tsenor::server
