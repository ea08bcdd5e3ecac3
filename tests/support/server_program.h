// The real server as a child process.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/program.h"

namespace tsenor::testing {

// A tsenor-server on a free loopback port, with more flags at will. Not thread-safe.
class ServerProgram {
 public:
  explicit ServerProgram(const std::vector<std::string>& flags = {}, const char* port = "0")
      : program_(Arguments(flags, port)) {
    address_ = program_.WaitForLine("listening on ");
    EXPECT_NE(address_, "") << "the server does not start";
  }

  // The first address, with its real port.
  const std::string& address() const { return address_; }
  Program& program() { return program_; }

 private:
  static std::vector<std::string> Arguments(const std::vector<std::string>& flags,
                                            const char* port) {
    std::vector<std::string> arguments = {TSENOR_BINARY_DIR "/bin/tsenor-server", "--listen",
                                          std::string("127.0.0.1:") + port};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return arguments;
  }

  Program program_;
  std::string address_;
};

}  // namespace tsenor::testing
