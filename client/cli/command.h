// What the commands of `tsenor` share: exit codes, and how each one joins the command line.
#pragma once

#include "absl/status/status.h"
#include "client/security.h"

namespace CLI {
class App;
class Option;
class Validator;
}  // namespace CLI

namespace tsenor::cli {

// Exit codes of `tsenor` (client/README.md).
enum ExitCode : int {
  kOk = 0,
  kFailure = 1,     // input, output or the server's answer
  kUsage = 2,       // the command line itself
  kNoServer = 3,    // no server answers at the address
  kInfeasible = 4,  // `verify` found a mask that breaks its pattern
  kInterrupted = 130,
};

// Prints "tsenor: MESSAGE" on stderr, fit for a terminal (Printable()), and returns `code`.
int Fail(const absl::Status& status, ExitCode code = kFailure);

// Each adds one command to `app`. The command runs when the line is parsed and leaves its exit code
// in `exit_code`, which outlives `app`.
void AddMaskCommand(CLI::App& app, int& exit_code);
void AddVerifyCommand(CLI::App& app, int& exit_code);
void AddInfoCommand(CLI::App& app, int& exit_code);
void AddReportCommand(CLI::App& app, int& exit_code);
void AddBenchCommand(CLI::App& app, int& exit_code);

// Options that several commands have, each also read from its environment variable.
// The server's is refused unless it is host:port or unix:PATH.
CLI::Option* AddServerOption(CLI::App& command, std::string& server);
void AddSecurityOptions(CLI::App& command, client::Security& security);

// The exit code for a MaskClient::Connect() that failed.
ExitCode ExitCodeOfConnect(const absl::Status& failure);

// Accepts numbers from `least` to `most`; not NaN, which CLI::Range lets through.
CLI::Validator Within(double least, double most);

}  // namespace tsenor::cli
