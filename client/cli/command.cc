#include "client/cli/command.h"

#include <CLI/CLI.hpp>
#include <cstdint>
#include <iostream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/cli/table.h"

namespace tsenor::cli {
namespace {

// Empty if `address` is host:port or unix:PATH, as CLI11 has it. An IPv6 host stands in brackets.
std::string CheckServer(const std::string& address) {
  constexpr char kUnix[] = "unix:";
  const std::string wrong = "server must be host:port or unix:PATH, not '" + address + "'";
  if (address.rfind(kUnix, 0) == 0) return address.size() > sizeof(kUnix) - 1 ? "" : wrong;
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) return wrong;
  const std::string host = address.substr(0, colon);
  const std::string port = address.substr(colon + 1);
  const bool bracketed = host.front() == '[' && host.back() == ']';
  if (!bracketed && host.find(':') != std::string::npos) return wrong;
  if (host.find('/') != std::string::npos) return wrong;
  constexpr int kMaxPort = 65535;
  int number = 0;
  const bool digits = port.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || !absl::SimpleAtoi(port, &number) || number < 1 || number > kMaxPort) return wrong;
  return "";
}

}  // namespace

int Fail(const absl::Status& status, ExitCode code) {
  std::cerr << "tsenor: " << Printable(std::string(status.message())) << std::endl;
  return code;
}

CLI::Option* AddServerOption(CLI::App& command, std::string& server) {
  return command.add_option("--server", server, "Server: host:port or unix:PATH")
      ->envname("TSENOR_SERVER")
      ->check(CLI::Validator(CheckServer, ""))
      ->capture_default_str();
}

void AddSecurityOptions(CLI::App& command, client::Security& security) {
  command
      .add_flag("--tls", security.tls,
                "TLS, trusting the system's authorities; every other --tls option turns it on, too")
      ->envname("TSENOR_TLS");
  const auto add = [&command](const char* option, const char* variable, std::string& value,
                              const char* help) {
    command.add_option(option, value, help)->envname(variable)->type_name("FILE");
  };
  add("--tls-ca", "TSENOR_TLS_CA", security.tls_ca,
      "PEM file: who signs the server's certificate, in place of the system's authorities");
  add("--tls-certificate", "TSENOR_TLS_CERTIFICATE", security.tls_certificate,
      "PEM file: this client's certificate and its chain, if the server wants one");
  add("--tls-key", "TSENOR_TLS_KEY", security.tls_key, "PEM file: the certificate's key");
  command
      .add_option("--tls-server-name", security.tls_server_name,
                  "Name that the server's certificate must have; unset: the host of --server")
      ->envname("TSENOR_TLS_SERVER_NAME")
      ->type_name("NAME");
  add("--token-file", "TSENOR_TOKEN_FILE", security.token_file,
      "File whose first line, a bearer token, goes along with every call");
  command
      .add_flag("--allow-plaintext-token", security.allow_plaintext_token,
                "Send the token to host:port without TLS, where others may read it")
      ->envname("TSENOR_ALLOW_PLAINTEXT_TOKEN");
}

ExitCode ExitCodeOfConnect(const absl::Status& failure) {
  if (absl::IsInvalidArgument(failure)) return kUsage;
  return absl::IsFailedPrecondition(failure) ? kFailure : kNoServer;
}

CLI::Validator Within(double least, double most) {
  const auto check = [least, most](const std::string& text) -> std::string {
    double value = 0;
    if (absl::SimpleAtod(text, &value) && value >= least && value <= most) return "";
    return absl::StrCat("must be a number from ", least, " to ", most, ", not '", text, "'");
  };
  return CLI::Validator(check, "");
}

}  // namespace tsenor::cli
