// `tsenor bench`: a server under load.
#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <iostream>
#include <limits>
#include <memory>
#include <optional>
#include <stop_token>

#include "absl/strings/str_cat.h"
#include "client/atomic_file.h"
#include "client/cli/bench_load.h"
#include "client/cli/bench_report.h"
#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/method_flags.h"
#include "client/cli/problem_flags.h"
#include "client/cli/server_cpu.h"
#include "client/mask_client.h"
#include "proto/grpc_library.h"

namespace tsenor::cli {
namespace {

struct BenchFlags {
  WorkloadFlags workload;
  LoadOptions load{.server = "127.0.0.1:50051"};
  MeasureOptions measure;
  std::vector<int> concurrency;
  std::vector<double> rates;
  double timeout_seconds = 60;
  std::string metrics;  // URL, or empty
  std::string json;     // file, or empty
};

std::vector<LoadLevel> LevelsOf(const BenchFlags& flags) {
  std::vector<LoadLevel> levels;
  for (const int concurrency : flags.concurrency) levels.push_back({.concurrency = concurrency});
  for (const double rate : flags.rates) levels.push_back({.rate = rate});
  if (levels.empty()) levels.push_back({.concurrency = 1});
  return levels;
}

ServerCpu ServerCpuOf(const BenchFlags& flags) {
  return [url = flags.metrics]() -> absl::StatusOr<std::optional<double>> {
    if (url.empty()) return std::nullopt;
    const absl::StatusOr<double> seconds = ScrapeCpuSeconds(url);
    if (!seconds.ok()) return seconds.status();
    return *seconds;
  };
}

absl::StatusOr<BenchReport> Bench(const BenchFlags& flags, const v1::GetServerInfoResponse& server,
                                  const Workload& workload, const std::stop_token& interrupt) {
  BenchReport report{.workload = flags.workload,
                     .load = flags.load,
                     .measure = flags.measure,
                     .server = server,
                     .levels = {}};
  for (const LoadLevel& level : LevelsOf(flags)) {
    absl::StatusOr<LevelResult> result =
        MeasureLevel(level, flags.load, flags.measure, workload, ServerCpuOf(flags), interrupt);
    if (!result.ok()) return result.status();
    if (result->sum.masks == 0) {
      return absl::Status(
          result->first_failure.ok() ? absl::StatusCode::kDeadlineExceeded
                                     : result->first_failure.code(),
          absl::StrCat("no tensor was solved: ", result->first_failure.ok()
                                                     ? "no call ended in time; see --duration"
                                                     : result->first_failure.ToString()));
    }
    report.levels.push_back(*std::move(result));
  }
  return report;
}

absl::Status WriteJson(const BenchReport& report, const std::string& path) {
  using nlohmann::json;
  const std::string text =
      ToJson(report).dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  absl::StatusOr<client::AtomicFile> file = client::AtomicFile::Create(path, 0);
  if (!file.ok()) return file.status();
  if (absl::Status status = file->Write(0, std::as_bytes(std::span(text))); !status.ok()) {
    return status;
  }
  return file->Commit();
}

int RunBench(BenchFlags flags) {
  const std::stop_source interrupt;
  const InterruptWatcher watcher(interrupt);
  const auto fail = [&](const absl::Status& status, ExitCode code) {
    const bool interrupted = absl::IsCancelled(status) && interrupt.stop_requested();
    return Fail(status, interrupted ? kInterrupted : code);
  };
  const absl::StatusOr<Workload> workload = Workload::Make(flags.workload);
  if (!workload.ok()) return fail(workload.status(), kUsage);
  flags.load.seed = flags.workload.seed;
  flags.load.call.timeout =
      std::chrono::milliseconds(static_cast<int64_t>(flags.timeout_seconds * 1e3));
  client::ClientOptions options;
  options.security = flags.load.call.security;
  const GrpcLibrary grpc;
  const auto client =
      client::MaskClient::Connect(flags.load.server, options, interrupt.get_token());
  if (!client.ok()) return fail(client.status(), ExitCodeOfConnect(client.status()));
  const auto credentials = client::MakeChannelCredentials(flags.load.server, options.security);
  if (!credentials.ok()) return fail(credentials.status(), kFailure);
  flags.load.credentials = *credentials;
  const absl::StatusOr<v1::GetServerInfoResponse> server =
      (*client)->GetServerInfo(interrupt.get_token());
  if (!server.ok()) return fail(server.status(), kFailure);
  const absl::StatusOr<BenchReport> report =
      Bench(flags, *server, *workload, interrupt.get_token());
  if (!report.ok()) return fail(report.status(), kFailure);
  PrintBench(*report, std::cout);
  if (flags.json.empty()) return kOk;
  const absl::Status written = WriteJson(*report, flags.json);
  return written.ok() ? kOk : Fail(written);
}

// An option whose values stand in one list, separated by commas.
template <typename Value>
CLI::Option* AddList(CLI::App& command, const std::string& flag, std::vector<Value>& values,
                     const std::string& help) {
  return command.add_option(flag, values, help)->delimiter(',')->capture_default_str();
}

void AddWorkloadFlags(CLI::App& command, WorkloadFlags& flags) {
  AddList(command, "--shape", flags.shapes,
          "Shapes of the tensors, with shares, as in 64x64:0.9,4096x4096:0.1")
      ->envname("TSENOR_SHAPE");
  AddList(command, "--pattern", flags.patterns, "Patterns, as in 2:4,16:32, in equal shares")
      ->envname("TSENOR_PATTERN");
  AddList(command, "--dtype", flags.dtypes, "Data types, in equal shares")
      ->envname("TSENOR_DTYPE")
      ->check(CLI::IsMember(DataTypeNames()));
  AddList(command, "--method", flags.methods, "Methods, in equal shares")
      ->envname("TSENOR_METHOD")
      ->check(CLI::IsMember(MethodNames()));
  command.add_option("--rpc", flags.rpc, "stream: SolveStream, in chunks; unary: Solve")
      ->envname("TSENOR_RPC")
      ->check(CLI::IsMember({"stream", "unary"}))
      ->capture_default_str();
  command
      .add_option("--chunk-bytes", flags.chunk_bytes, "stream: bytes of a tensor in one message")
      ->envname("TSENOR_CHUNK_BYTES")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  AddPriorityFlag(command, flags.priority);
  command.add_option("--seed", flags.seed, "Of the weights, the mix and the arrivals")
      ->envname("TSENOR_SEED")
      ->capture_default_str();
}

void AddLoadFlags(CLI::App& command, BenchFlags& flags) {
  AddServerOption(command, flags.load.server);
  AddSecurityOptions(command, flags.load.call.security);
  CLI::Option* concurrency = AddList(command, "--concurrency", flags.concurrency,
                                     "Closed loop: calls in flight, one level after the other [1]")
                                 ->envname("TSENOR_CONCURRENCY")
                                 ->check(CLI::Range(1, 65536));
  AddList(command, "--rate", flags.rates,
          "Open loop: calls begun per second at random (Poisson) times, one level after the other; "
          "latencies count from when a call was due")
      ->envname("TSENOR_RATE")
      ->check(Within(1e-3, 1e6))
      ->excludes(concurrency);
  command
      .add_option("--max-in-flight", flags.load.max_in_flight,
                  "Open loop: calls in flight at most; later ones wait, and their wait counts")
      ->envname("TSENOR_MAX_IN_FLIGHT")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command.add_option("--connections", flags.load.connections, "Connections that share the calls")
      ->envname("TSENOR_CONNECTIONS")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command.add_option("--timeout", flags.timeout_seconds, "Seconds for one call")
      ->envname("TSENOR_TIMEOUT")
      ->check(Within(0.001, 86400))
      ->capture_default_str();
}

void AddMeasureFlags(CLI::App& command, BenchFlags& flags) {
  constexpr double kDay = 86400;
  const auto add = [&](const std::string& flag, double& value, const std::string& variable,
                       double least, double most, const std::string& help) {
    command.add_option(flag, value, help)
        ->envname(variable)
        ->check(Within(least, most))
        ->capture_default_str();
  };
  MeasureOptions& measure = flags.measure;
  add("--warm-up", measure.warm_up_seconds, "TSENOR_WARM_UP", 0, kDay,
      "Seconds of load before anything counts");
  add("--window", measure.window_seconds, "TSENOR_WINDOW", 0.01, kDay, "Seconds of one window");
  add("--duration", measure.duration_seconds, "TSENOR_DURATION", 0.01, kDay,
      "Seconds of one level at most, without the warm-up");
  add("--tolerance", measure.tolerance, "TSENOR_TOLERANCE", 0, 1,
      "A level ends when masks/s and p99 of its last three windows differ by no more from their "
      "mean");
  command
      .add_option("--metrics", flags.metrics,
                  "The server's metrics, http://HOST:PORT/metrics: what processor time it takes")
      ->envname("TSENOR_METRICS");
  command.add_option("--json", flags.json, "Also write what was found as JSON")
      ->envname("TSENOR_JSON");
}

}  // namespace

void AddBenchCommand(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("bench", "Put a server under load and measure it");
  const auto flags = std::make_shared<BenchFlags>();
  AddLoadFlags(*command, *flags);
  AddWorkloadFlags(*command, flags->workload);
  AddMeasureFlags(*command, *flags);
  command->callback([flags, &exit_code] { exit_code = RunBench(*flags); });
}

}  // namespace tsenor::cli
