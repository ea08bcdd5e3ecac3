#include "client/cli/bench_report.h"

#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/table.h"

namespace tsenor::cli {
namespace {

using nlohmann::json;

constexpr char kFormat[] = "tsenor.bench/1";

double PerSecond(int64_t count, const Window& window) {
  return window.seconds > 0 ? static_cast<double>(count) / window.seconds : 0;
}

// Mean over the calls that ended well.
double PerMask(double sum, const Window& window) {
  return window.masks > 0 ? sum / static_cast<double>(window.masks) : 0;
}

double PerGigabyte(double seconds, const Window& window) {
  return window.sent_bytes > 0 ? seconds * 1e9 / static_cast<double>(window.sent_bytes) : 0;
}

json LatencyJson(const LatencyHistogram& latency) {
  return {{"p50", latency.Quantile(0.5)},
          {"p90", latency.Quantile(0.9)},
          {"p99", latency.Quantile(0.99)},
          {"max", latency.max_seconds()}};
}

json LevelJson(const LevelResult& result) {
  const Window& sum = result.sum;
  json level = {{"stable", result.stable},
                {"windows", result.windows},
                {"seconds", sum.seconds},
                {"masks", sum.masks},
                {"masks_per_second", sum.masks_per_second()},
                {"weights_per_second", PerSecond(sum.weights, sum)},
                {"sent_bytes_per_second", PerSecond(sum.sent_bytes, sum)},
                {"received_bytes_per_second", PerSecond(sum.received_bytes, sum)},
                {"latency_seconds", LatencyJson(sum.latency)},
                {"failed_latency_seconds", LatencyJson(sum.failed_latency)},
                {"server_seconds",
                 {{"receive", PerMask(sum.receive_seconds, sum)},
                  {"queue", PerMask(sum.queue_seconds, sum)},
                  {"solve", PerMask(sum.solve_seconds, sum)},
                  {"total", PerMask(sum.total_seconds, sum)}}},
                {"late_seconds", sum.late_seconds},
                {"client_cpu_seconds_per_gigabyte", PerGigabyte(sum.client_cpu_seconds, sum)},
                {"errors", sum.errors}};
  if (sum.server_cpu_seconds) {
    level["server_cpu_seconds_per_gigabyte"] = PerGigabyte(*sum.server_cpu_seconds, sum);
  }
  if (result.level.concurrency > 0) {
    level["concurrency"] = result.level.concurrency;
  } else {
    level["rate"] = result.level.rate;
  }
  return level;
}

std::string LevelText(const LoadLevel& level) {
  return level.concurrency > 0 ? absl::StrCat(level.concurrency, " in flight")
                               : absl::StrFormat("%g per s", level.rate);
}

std::string MillisecondsText(double seconds) { return absl::StrFormat("%.3f ms", 1e3 * seconds); }

std::string ErrorText(const Window& sum) {
  std::string text;
  for (const auto& [code, count] : sum.errors) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", count, " ", code);
  }
  return text;
}

TableRow LoadRow(const LevelResult& result) {
  const Window& sum = result.sum;
  return {LevelText(result.level),
          absl::StrFormat("%.1f", sum.masks_per_second()),
          SpeedText(static_cast<double>(sum.weights), sum.seconds),
          absl::StrFormat("%.1f MB", PerSecond(sum.sent_bytes, sum) * 1e-6),
          MillisecondsText(sum.latency.Quantile(0.5)),
          MillisecondsText(sum.latency.Quantile(0.9)),
          MillisecondsText(sum.latency.Quantile(0.99)),
          MillisecondsText(sum.latency.max_seconds()),
          absl::StrCat(sum.failed()),
          result.stable ? "yes" : "no"};
}

TableRow TimeRow(const LevelResult& result) {
  const Window& sum = result.sum;
  const auto seconds = [](double value) { return absl::StrFormat("%.3f s", value); };
  return {LevelText(result.level),
          MillisecondsText(PerMask(sum.receive_seconds, sum)),
          MillisecondsText(PerMask(sum.queue_seconds, sum)),
          MillisecondsText(PerMask(sum.solve_seconds, sum)),
          MillisecondsText(PerMask(sum.total_seconds, sum)),
          seconds(PerGigabyte(sum.client_cpu_seconds, sum)),
          sum.server_cpu_seconds ? seconds(PerGigabyte(*sum.server_cpu_seconds, sum)) : "-"};
}

}  // namespace

json ToJson(const BenchReport& report) {
  json levels = json::array();
  for (const LevelResult& level : report.levels) levels.push_back(LevelJson(level));
  json backends = json::array();
  for (const v1::Backend& backend : report.server.backends()) {
    backends.push_back({{"name", backend.name()}, {"device", backend.device()}});
  }
  return {{"format", kFormat},
          {"server",
           {{"address", report.load.server},
            {"version", report.server.version()},
            {"backends", std::move(backends)}}},
          {"shapes", report.workload.shapes},
          {"patterns", report.workload.patterns},
          {"dtypes", report.workload.dtypes},
          {"methods", report.workload.methods},
          {"rpc", report.workload.rpc},
          {"chunk_bytes", report.workload.chunk_bytes},
          {"seed", report.workload.seed},
          {"connections", report.load.connections},
          {"window_seconds", report.measure.window_seconds},
          {"warm_up_seconds", report.measure.warm_up_seconds},
          {"tolerance", report.measure.tolerance},
          {"levels", std::move(levels)}};
}

void PrintBench(const BenchReport& report, std::ostream& out) {
  std::vector<TableRow> loads = {
      {"load", "masks/s", "weights/s", "sent/s", "p50", "p90", "p99", "max", "errors", "stable"}};
  std::vector<TableRow> times = {
      {"server's mean", "receive", "queue", "solve", "total", "client CPU/GB", "server CPU/GB"}};
  for (const LevelResult& level : report.levels) {
    loads.push_back(LoadRow(level));
    times.push_back(TimeRow(level));
  }
  PrintAligned(loads, out);
  out << '\n';
  PrintAligned(times, out);
  for (const v1::Backend& backend : report.server.backends()) {
    out << "solved by " << Printable(backend.name()) << ": "
        << Printable(DeviceText(backend.device(), backend.threads())) << '\n';
  }
  for (const LevelResult& level : report.levels) {
    if (level.sum.failed() == 0) continue;
    out << LevelText(level.level) << ": " << ErrorText(level.sum)
        << "; the first failure: " << Printable(std::string(level.first_failure.message())) << '\n';
  }
}

}  // namespace tsenor::cli
