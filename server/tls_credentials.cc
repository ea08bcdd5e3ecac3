#include "server/tls_credentials.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <spdlog/spdlog.h>

#include <array>
#include <ctime>
#include <string>

#include "absl/strings/str_cat.h"

namespace tsenor::server {
namespace {

// That the file of `flag` cannot be used, for the reason that OpenSSL gave first.
absl::Status Unusable(const char* flag, const std::string& file) {
  std::array<char, 256> reason;
  ERR_error_string_n(ERR_peek_error(), reason.data(), reason.size());
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrCat(flag, ": cannot use ", file, ": ", reason.data()));
}

void LogValidity(const std::string& file, const X509& certificate) {
  const ASN1_TIME* end = X509_get0_notAfter(&certificate);
  std::tm time = {};
  std::array<char, 32> text = {};
  if (ASN1_TIME_to_tm(end, &time) == 1) {
    std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &time);
  }
  if (X509_cmp_current_time(end) < 0) {
    spdlog::warn("tls-certificate: {} expired at {}: clients refuse it", file, text.data());
  } else {
    spdlog::info("tls-certificate: {} is valid until {}", file, text.data());
  }
}

// gRPC would tell of files that it cannot use in its own log alone, and refuse every client.
absl::Status CheckFiles(const Security& security) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_server_method()),
                                                                  &SSL_CTX_free);
  // By default OpenSSL asks the terminal for the passphrase of a key.
  SSL_CTX_set_default_passwd_cb(context.get(), [](char*, int, int, void*) { return 0; });
  if (SSL_CTX_use_certificate_chain_file(context.get(), security.tls_certificate.c_str()) != 1) {
    return Unusable("tls-certificate", security.tls_certificate);
  }
  // This also fails if the key is not the certificate's.
  if (SSL_CTX_use_PrivateKey_file(context.get(), security.tls_key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return Unusable("tls-key", security.tls_key);
  }
  const std::string& client_ca = security.tls_client_ca;
  if (!client_ca.empty() &&
      SSL_CTX_load_verify_locations(context.get(), client_ca.c_str(), nullptr) != 1) {
    return Unusable("tls-client-ca", client_ca);
  }
  LogValidity(security.tls_certificate, *SSL_CTX_get0_certificate(context.get()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeTlsCredentials(
    const Security& security) {
  if (absl::Status status = CheckFiles(security); !status.ok()) return status;
  namespace tls = grpc::experimental;
  tls::TlsServerCredentialsOptions options(std::make_shared<tls::FileWatcherCertificateProvider>(
      security.tls_key, security.tls_certificate, security.tls_client_ca,
      static_cast<unsigned>(security.tls_reload_seconds)));
  options.watch_identity_key_cert_pairs();
  if (!security.tls_client_ca.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return tls::TlsServerCredentials(options);
}

}  // namespace tsenor::server
