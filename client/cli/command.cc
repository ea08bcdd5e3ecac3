#include "client/cli/command.h"

#include <iostream>

namespace tsenor::cli {

int Fail(const absl::Status& status, ExitCode code) {
  std::cerr << "tsenor: " << status.message() << std::endl;
  return code;
}

CLI::Option* AddServerOption(CLI::App& command, std::string& server) {
  return command.add_option("--server", server, "Server: host:port or unix:PATH")
      ->envname("TSENOR_SERVER")
      ->capture_default_str();
}

}  // namespace tsenor::cli
