// The real command line as a child process.
#pragma once

#include <string>
#include <vector>

#include "tests/support/program.h"

namespace tsenor::testing {

// Runs `tsenor` with these arguments, against the server at `address`.
inline ProgramOutcome RunClient(const std::string& address, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), TSENOR_BINARY_DIR "/bin/tsenor");
  return RunProgram(arguments, {.environment = {"TSENOR_SERVER=" + address}});
}

}  // namespace tsenor::testing
