// tsenor-server: composes solver, engine, metrics and gRPC server, and waits for a signal.
//
// Prints "listening on ADDRESS" (the real port) for each address, "metrics on ADDRESS" and "health
// on ADDRESS" to standard output as soon as it serves; logs go to standard error. Exit codes: 0
// after SIGTERM or SIGINT; 1 if it cannot start, or has lost every device that it solved on; others
// for a bad command line.

#include <pthread.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "proto/grpc_library.h"
#include "server/backends.h"
#include "server/clock.h"
#include "server/engine.h"
#include "server/flags.h"
#include "server/log_format.h"
#include "server/metrics.h"
#include "server/server.h"
#include "server/watched_solver.h"
#include "server/weights_directory.h"

namespace tsenor::server {
namespace {

// The signals that end the server, blocked in every thread that is started after.
sigset_t BlockEndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a client that is gone is an error of one call
  return signals;
}

void Log(const Backends& backends) {
  for (const auto& solver : backends.solvers) {
    const SolverInfo& info = solver->info();
    const std::string threads = info.threads > 0 ? fmt::format(", {} threads", info.threads) : "";
    spdlog::info("tsenor-server " TSENOR_VERSION " solves with backend {}: {}{}", info.name,
                 info.device, threads);
  }
  for (const std::string& reason : backends.left_out) spdlog::warn("a GPU is left out: {}", reason);
  if (!backends.fallback_reason.empty()) {
    spdlog::info("no GPU solves: {}", backends.fallback_reason);
  }
}

// Waits for one of `signals`. Returns 0 instead once no solver is left; tells of each that is lost.
int WaitForEnd(const sigset_t& signals, std::span<Solver* const> solvers) {
  constexpr timespec kPeriod = {.tv_sec = 1, .tv_nsec = 0};
  std::set<const Solver*> lost;
  while (lost.size() < solvers.size()) {
    const int signal = sigtimedwait(&signals, nullptr, &kPeriod);
    if (signal > 0) return signal;
    for (const Solver* solver : solvers) {
      const absl::Status health = solver->health();
      if (!health.ok() && lost.insert(solver).second) spdlog::error("{}", health.ToString());
    }
  }
  return 0;
}

// Ends the process without its threads: one in a solver that hangs would never be joined.
[[noreturn]] void EndAtOnce(int exit_code) {
  spdlog::shutdown();
  std::cout.flush();
  std::_Exit(exit_code);
}

// What a full batch is, if the command line does not say.
BatchConfig ChooseBatch(BatchConfig batch, const SolverInfo& info) {
  if (batch.max_batch_elements == 0) batch.max_batch_elements = info.efficient_batch_elements;
  if (batch.max_batch_elements == 0) batch.max_batch_elements = BatchConfig().max_batch_elements;
  return batch;
}

absl::Status Serve(const Flags& flags, const sigset_t& end_signals) {
  const auto backends = MakeBackends(flags);
  if (!backends.ok()) return backends.status();
  Log(*backends);
  std::vector<std::string> names;
  for (const auto& solver : backends->solvers) names.push_back(solver->info().name);
  const SteadyClock clock;
  Metrics metrics(names, flags.limits.memory_budget_bytes);
  CanaryConfig canary = flags.canary;
  if (flags.backend == "null") canary.interval = Duration::zero();  // it has no right answer
  std::vector<std::unique_ptr<WatchedSolver>> watched;
  std::vector<Solver*> solvers;
  for (const auto& solver : backends->solvers) {
    watched.push_back(std::make_unique<WatchedSolver>(*solver, canary, clock, metrics));
    solvers.push_back(watched.back().get());
  }
  std::optional<WeightsDirectory> weights;
  if (!flags.weights_directory.empty()) {
    auto opened = WeightsDirectory::Open(flags.weights_directory);
    if (!opened.ok()) return opened.status();
    weights.emplace(*std::move(opened));
    spdlog::info("every client may have files below {} read", flags.weights_directory);
  }
  Engine engine(flags.limits, ChooseBatch(flags.batch, solvers.front()->info()), solvers, clock,
                metrics, weights.has_value() ? &*weights : nullptr, backends->fallback_reason);

  std::unique_ptr<MetricsEndpoint> endpoint;
  if (!flags.metrics_listen.empty()) {
    auto started = MetricsEndpoint::Start(flags.metrics_listen, metrics);
    if (!started.ok()) return started.status();
    endpoint = *std::move(started);
    std::cout << "metrics on " << endpoint->address() << std::endl;
  }
  auto server = Server::Start(flags.listen, engine, flags.security, flags.health_listen);
  if (!server.ok()) return server.status();
  for (const std::string& address : (*server)->addresses()) {
    std::cout << "listening on " << address << std::endl;
  }
  if (!flags.health_listen.empty()) {
    std::cout << "health on " << (*server)->health_address() << std::endl;
  }

  const int signal = WaitForEnd(end_signals, solvers);
  spdlog::info("{}: draining for at most {} s",
               signal > 0 ? fmt::format("received {}", strsignal(signal)) : "no solver is left",
               Seconds(flags.drain_delay + flags.drain_timeout));
  // From here on the default applies: a second signal ends the process at once.
  pthread_sigmask(SIG_UNBLOCK, &end_signals, nullptr);
  if (!(*server)->Drain(flags.drain_timeout, flags.drain_delay)) {
    spdlog::warn("cancelled the calls that were left after the drain timeout");
  }
  const bool all_live =
      std::ranges::all_of(solvers, [](auto* each) { return each->health().ok(); });
  if (!all_live) {
    spdlog::info("stopped, without waiting for the solvers that are lost");
    EndAtOnce(signal > 0 ? 0 : 1);
  }
  engine.Stop();
  spdlog::info("stopped");
  return signal > 0 ? absl::OkStatus() : absl::UnavailableError("no solver is left");
}

}  // namespace
}  // namespace tsenor::server

int main(int argc, char** argv) {
  using namespace tsenor::server;
  const ParsedFlags parsed = ParseFlags(argc, argv, std::cout, std::cerr);
  if (!parsed.flags.has_value()) return parsed.exit_code;
  spdlog::set_default_logger(spdlog::stderr_logger_mt("tsenor-server"));
  spdlog::set_formatter(MakeLogFormatter(parsed.flags->log_format == "json"));
  spdlog::set_level(spdlog::level::from_str(parsed.flags->log_level));
  const sigset_t end_signals = BlockEndSignals();
  const tsenor::GrpcLibrary grpc;
  const absl::Status status = Serve(*parsed.flags, end_signals);
  if (status.ok()) return 0;
  spdlog::error("{}", status.ToString());
  return 1;
}
