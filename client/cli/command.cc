#include "client/cli/command.h"

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

CLI::Validator Within(double least, double most) {
  const auto check = [least, most](const std::string& text) -> std::string {
    double value = 0;
    if (absl::SimpleAtod(text, &value) && value >= least && value <= most) return "";
    return absl::StrCat("must be a number from ", least, " to ", most, ", not '", text, "'");
  };
  return CLI::Validator(check, "");
}

}  // namespace tsenor::cli
