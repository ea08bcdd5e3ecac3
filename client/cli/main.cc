// `tsenor`: the command line. Composes the commands; each lives in its own file.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "client/cli/command.h"

int main(int argc, char** argv) {
  using namespace tsenor::cli;
  // A full quota or a closed pipe is then an error with a message.
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  // gRPC's own log repeats each failure to connect, of which we tell once.
  ::setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);

  CLI::App app("Proven-optimal transposable N:M masks for model weights.", "tsenor");
  app.set_version_flag("--version", std::string("tsenor ") + TSENOR_VERSION);
  // CLI11 reads no variable for this one option. A file that is named must be there.
  const char* config = std::getenv("TSENOR_CONFIG");
  app.set_config("--config", config == nullptr ? "" : config,
                 "Read options from this TOML or INI file, one section per command "
                 "(Env:TSENOR_CONFIG)",
                 /*config_required=*/config != nullptr);
  app.footer(
      "Every option of a command can also be given as TSENOR_<OPTION>, as in TSENOR_SERVER.\n"
      "Exit codes: 0 ok, 1 failure, 2 usage, 3 no server, 4 infeasible mask, 130 interrupted.");
  app.require_subcommand(1);
  app.fallthrough();
  app.allow_config_extras(CLI::config_extras_mode::error);  // a typing error is no default
  int exit_code = kOk;
  AddMaskCommand(app, exit_code);
  AddVerifyCommand(app, exit_code);
  AddInfoCommand(app, exit_code);
  AddReportCommand(app, exit_code);
  AddBenchCommand(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // --help and --version too
    if (app.exit(error) != 0) return kUsage;
  }
  // All that a command prints: half a table is no success.
  if (!std::cout.flush() && exit_code == kOk) {
    return Fail(absl::DataLossError("cannot write to standard output"));
  }
  return exit_code;
}
