// tsenor-server: composes solver, engine, metrics and gRPC server, and waits for a signal.
//
// Prints "listening on ADDRESS" (the real port) for each address and "metrics on ADDRESS" to
// standard output as soon as it serves; logs go to standard error. Exit codes: 0 after SIGTERM or
// SIGINT; 1 if it cannot start; others for a bad command line.

#include <malloc.h>
#include <pthread.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <csignal>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "server/clock.h"
#include "server/engine.h"
#include "server/flags.h"
#include "server/metrics.h"
#include "server/server.h"
#include "server/weights_directory.h"
#include "solver/cpu/cpu_solver.h"
#include "solver/reference/reference_solver.h"

namespace tsenor::server {
namespace {

// By default glibc gives big buffers back to the kernel when they are freed and fetches them, page
// fault by page fault, when the next message arrives. They stay in the process instead: buffers up
// to the greatest threshold that glibc accepts come from the heap, and up to 128 MiB of free heap
// is kept, a bound on what the process holds besides its memory budget. That bound holds for each
// of glibc's arenas, so there is one: a 4 GB tensor file through a budget of 128 MiB took 521 MB
// with the default number of them, and 239 MB with one (2026-11-22, AMD EPYC, 2 cores: the tests of
// memory, tests/e2e).
void KeepFreedBuffers() {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 128 << 20);
}

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

absl::StatusOr<std::unique_ptr<Solver>> MakeSolver(const Flags& flags) {
  if (flags.backend == "reference") return MakeReferenceSolver();
  return MakeCpuSolver({.threads = flags.threads});
}

// What a full batch is, if the command line does not say.
BatchConfig ChooseBatch(BatchConfig batch, const SolverInfo& info) {
  if (batch.max_batch_elements == 0) batch.max_batch_elements = info.efficient_batch_elements;
  if (batch.max_batch_elements == 0) batch.max_batch_elements = BatchConfig().max_batch_elements;
  return batch;
}

absl::Status Serve(const Flags& flags, const sigset_t& end_signals) {
  auto solver = MakeSolver(flags);
  if (!solver.ok()) return solver.status();
  const SolverInfo& info = (*solver)->info();
  const SteadyClock clock;
  Metrics metrics({info.name}, flags.limits.memory_budget_bytes);
  std::optional<WeightsDirectory> weights;
  if (!flags.weights_directory.empty()) {
    auto opened = WeightsDirectory::Open(flags.weights_directory);
    if (!opened.ok()) return opened.status();
    weights.emplace(*std::move(opened));
    spdlog::info("every client may have files below {} read", flags.weights_directory);
  }
  Engine engine(flags.limits, ChooseBatch(flags.batch, info), {solver->get()}, clock, metrics,
                weights.has_value() ? &*weights : nullptr);

  std::unique_ptr<MetricsEndpoint> endpoint;
  if (!flags.metrics_listen.empty()) {
    auto started = MetricsEndpoint::Start(flags.metrics_listen, metrics);
    if (!started.ok()) return started.status();
    endpoint = *std::move(started);
    std::cout << "metrics on " << endpoint->address() << std::endl;
  }
  auto server = Server::Start(flags.listen, engine);
  if (!server.ok()) return server.status();
  spdlog::info("tsenor-server " TSENOR_VERSION " serves with backend {} ({}, {} threads)",
               info.name, info.device, info.threads);
  for (const std::string& address : (*server)->addresses()) {
    std::cout << "listening on " << address << std::endl;
  }

  int signal = 0;
  sigwait(&end_signals, &signal);
  spdlog::info("received {}: draining for at most {} s", strsignal(signal),
               Seconds(flags.drain_timeout));
  // From here on the default applies: a second signal ends the process at once.
  pthread_sigmask(SIG_UNBLOCK, &end_signals, nullptr);
  if (!(*server)->Drain(flags.drain_timeout)) {
    spdlog::warn("cancelled the calls that were left after the drain timeout");
  }
  engine.Stop();
  spdlog::info("stopped");
  return absl::OkStatus();
}

}  // namespace
}  // namespace tsenor::server

int main(int argc, char** argv) {
  using namespace tsenor::server;
  const ParsedFlags parsed = ParseFlags(argc, argv, std::cout, std::cerr);
  if (!parsed.flags.has_value()) return parsed.exit_code;
  spdlog::set_default_logger(spdlog::stderr_logger_mt("tsenor-server"));
  spdlog::set_level(spdlog::level::from_str(parsed.flags->log_level));
  KeepFreedBuffers();
  const absl::Status status = Serve(*parsed.flags, BlockEndSignals());
  if (status.ok()) return 0;
  spdlog::error("{}", status.ToString());
  return 1;
}
