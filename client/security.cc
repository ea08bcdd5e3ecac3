#include "client/security.h"

#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace tsenor::client {
namespace {

// Errors of both: FailedPrecondition naming option and file.
absl::Status Unusable(const char* option, const std::string& file, const std::string& reason) {
  return absl::FailedPreconditionError(
      absl::StrCat("--", option, ": cannot use ", file, ": ", reason));
}

bool IsUnix(const std::string& address) { return absl::StartsWith(address, "unix:"); }

absl::StatusOr<std::string> ReadPem(const char* option, const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path);
  std::string text;
  for (std::string line; std::getline(file, line);) absl::StrAppend(&text, line, "\n");
  if (!file.is_open() || file.bad()) return Unusable(option, path, std::strerror(errno));
  if (!absl::StrContains(text, "-----BEGIN ")) return Unusable(option, path, "it is no PEM file");
  return text;
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  while (line.empty() && std::getline(file, line)) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
  }
  if (!file.is_open() || file.bad()) return Unusable("token-file", path, std::strerror(errno));
  if (line.empty()) return Unusable("token-file", path, "it has no token");
  if (!std::all_of(line.begin(), line.end(), [](char c) { return c > ' ' && c <= '~'; })) {
    return Unusable("token-file", path, "a token has printable ASCII characters and no space");
  }
  return line;
}

absl::Status CheckOptions(const std::string& address, const Security& security) {
  const bool is_unix = IsUnix(address);
  if (is_unix && security.uses_tls()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--tls: ", address, " is a Unix socket, which has no TLS: leave it out"));
  }
  if (security.tls_certificate.empty() != security.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-certificate and --tls-key go together: set both");
  }
  if (!security.token_file.empty() && !is_unix && !security.uses_tls() &&
      !security.allow_plaintext_token) {
    return absl::InvalidArgumentError(
        absl::StrCat("--token-file: on the way to ", address,
                     " everybody could read the token: set --tls-ca or --tls, or, if that is no "
                     "matter, --allow-plaintext-token"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const std::string& address, const Security& security) {
  if (absl::Status status = CheckOptions(address, security); !status.ok()) return status;
  if (!security.token_file.empty()) {
    if (const auto token = ReadToken(security.token_file); !token.ok()) return token.status();
  }
  if (!security.uses_tls()) return grpc::InsecureChannelCredentials();
  const auto ca = ReadPem("tls-ca", security.tls_ca);
  const auto certificate = ReadPem("tls-certificate", security.tls_certificate);
  const auto key = ReadPem("tls-key", security.tls_key);
  for (const auto* file : {&ca, &certificate, &key}) {
    if (!file->ok()) return file->status();
  }
  return grpc::SslCredentials(
      {.pem_root_certs = *ca, .pem_private_key = *key, .pem_cert_chain = *certificate});
}

absl::Status AddToken(const Security& security, grpc::ClientContext& context) {
  if (security.token_file.empty()) return absl::OkStatus();
  const absl::StatusOr<std::string> token = ReadToken(security.token_file);
  if (!token.ok()) return token.status();
  context.AddMetadata("authorization", absl::StrCat("Bearer ", *token));
  return absl::OkStatus();
}

std::string AdviceOnTls(const std::string& address, const std::string& message,
                        const Security& security) {
  if (IsUnix(address)) return "";
  const auto tells = [&message](const char* text) { return absl::StrContains(message, text); };
  // The other side hung up: in gRPC's words, or in the kernel's.
  const bool hung_up = tells("Socket closed") || tells("Connection reset") || tells("Broken pipe");
  if (!security.uses_tls()) {
    return hung_up ? " (does the server want TLS? set --tls-ca or --tls)" : "";
  }
  if (tells("certificate verify failed")) {
    return absl::StrCat(
        " (TLS: the server's certificate has expired, or is not signed by ",
        security.tls_ca.empty() ? "an authority of the system: set --tls-ca" : security.tls_ca,
        ")");
  }
  if (tells("is not in peer certificate")) {
    return " (TLS: set --tls-server-name to a name that the server's certificate has)";
  }
  if (tells("wrong version number")) {
    return " (the server has no TLS at this address: leave --tls out)";
  }
  if (!hung_up) return "";
  return security.tls_certificate.empty()
             ? " (TLS: does the server want a client certificate? set --tls-certificate, --tls-key)"
             : absl::StrCat(" (TLS: does the server refuse ", security.tls_certificate,
                            ", as expired or signed by a stranger?)");
}

}  // namespace tsenor::client
