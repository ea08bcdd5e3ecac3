// The server's command line.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "server/batch_policy.h"
#include "server/clock.h"
#include "server/limits.h"
#include "server/security.h"
#include "server/watched_solver.h"

namespace tsenor::server {

// Everything that can be set from outside. Thread-compatible.
struct Flags {
  std::vector<std::string> listen = {"127.0.0.1:50051"};
  std::string metrics_listen;  // "": no metrics endpoint
  std::string health_listen;   // "": no port for probes alone
  Security security;
  std::string weights_directory;  // "": no files are read
  std::string backend = "auto";   // auto, cpu, cuda, reference or null
  std::vector<int> devices;       // of backend cuda; empty: all GPUs that can be used
  int threads = 0;                // of the CPU backend; 0: one per core
  std::string log_level = "info";
  std::string log_format = "text";  // or json
  Duration drain_delay = Duration::zero();
  Duration drain_timeout = std::chrono::seconds(30);  // after the delay
  Limits limits;
  CanaryConfig canary;
  BatchConfig batch;  // max_batch_elements 0: what the backend calls efficient
};

// What came of a command line: flags, or the exit code of a process that has nothing more to do.
struct ParsedFlags {
  std::optional<Flags> flags;
  int exit_code = 0;
};

// Reads flags from the command line; what it leaves unset, from the file of --config; what that
// leaves unset, from TSENOR_SERVER_* variables. Help and version go to `out`; errors, with exit
// codes > 0, to `err`.
ParsedFlags ParseFlags(int argc, const char* const* argv, std::ostream& out, std::ostream& err);

}  // namespace tsenor::server
