// Load on a scripted server.
#include "client/cli/bench_load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "client/cli/server_cpu.h"
#include "tests/client/fake_mask_service.h"

namespace tsenor::cli {
namespace {

using std::chrono::milliseconds;
using Stream = FakeMaskService::Stream;

absl::StatusOr<std::optional<double>> NobodyKnows() { return std::nullopt; }

Workload SmallWorkload() {
  WorkloadFlags flags;
  flags.shapes = {"8x8"};
  flags.patterns = {"2:4"};
  return *Workload::Make(flags);
}

absl::StatusOr<LevelResult> Measure(const FakeServer& server, const LoadLevel& level,
                                    MeasureOptions measure, LoadOptions load = {},
                                    const std::stop_token& stop = {},
                                    const ServerCpu& server_cpu = NobodyKnows) {
  load.server = server.address();
  const Workload workload = SmallWorkload();
  return MeasureLevel(level, load, measure, workload, server_cpu, stop);
}

constexpr MeasureOptions kBrief = {
    .warm_up_seconds = 0.1, .window_seconds = 0.2, .duration_seconds = 0.6, .tolerance = 0};

TEST(MeasureLevel, AClosedLoopKeepsItsCallsInFlight) {
  std::atomic<int> in_flight = 0;
  std::atomic<int> most = 0;
  const FakeServer server([&](int, grpc::ServerContext&, Stream& stream) {
    const int now = ++in_flight;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    std::this_thread::sleep_for(milliseconds(10));
    const grpc::Status status = FakeMaskService::Answer(stream);
    --in_flight;
    return status;
  });
  const auto result = Measure(server, {.concurrency = 4}, kBrief);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(most, 4);
  EXPECT_EQ(in_flight, 0) << "calls are left behind";
  EXPECT_EQ(result->windows, 3);
  EXPECT_GT(result->sum.masks, 20);
  EXPECT_LE(result->sum.masks_per_second(), 4 / 0.010 * 1.1);
  EXPECT_EQ(result->sum.weights, result->sum.masks * 64);
  EXPECT_EQ(result->sum.sent_bytes, result->sum.masks * 256);
  EXPECT_GE(result->sum.latency.Quantile(0.5), 0.010);
  EXPECT_GT(result->sum.client_cpu_seconds, 0);
  EXPECT_EQ(result->sum.failed(), 0);
}

TEST(MeasureLevel, AnOpenLoopCountsTheWaitForAServerThatStalls) {
  const FakeServer server([&](int attempt, grpc::ServerContext&, Stream& stream) {
    if (attempt == 1) std::this_thread::sleep_for(milliseconds(400));
    return FakeMaskService::Answer(stream);
  });
  LoadOptions load;
  load.max_in_flight = 1;  // so that the calls behind the one that stalls cannot even begin
  const auto result = Measure(
      server, {.rate = 200},
      {.warm_up_seconds = 0, .window_seconds = 0.8, .duration_seconds = 0.8, .tolerance = 0}, load);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GE(result->sum.masks, 80);
  EXPECT_GE(result->sum.latency.max_seconds(), 0.38);
  // Some 80 calls fell due during the stall; a generator that counts from when they began would
  // find a single slow one.
  EXPECT_GE(result->sum.latency.Quantile(0.8), 0.1);
  EXPECT_GE(result->sum.late_seconds, 0.2);
}

TEST(MeasureLevel, AnOpenLoopKeepsItsRate) {
  const FakeServer server;
  const auto result =
      Measure(server, {.rate = 100},
              {.warm_up_seconds = 0.2, .window_seconds = 2, .duration_seconds = 2, .tolerance = 0});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NEAR(result->sum.masks_per_second(), 100, 40);  // five standard deviations, and a margin
}

TEST(MeasureLevel, EndsAsSoonAsItIsStable) {
  const FakeServer server([&](int, grpc::ServerContext&, Stream& stream) {
    std::this_thread::sleep_for(milliseconds(5));
    return FakeMaskService::Answer(stream);
  });
  MeasureOptions measure = kBrief;
  measure.tolerance = 1;
  measure.duration_seconds = 60;
  const auto result = Measure(server, {.concurrency = 1}, measure);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->stable);
  EXPECT_LT(result->windows, 30);
}

TEST(MeasureLevel, CountsErrorsByCode) {
  const FakeServer server([&](int attempt, grpc::ServerContext&, Stream& stream) {
    std::this_thread::sleep_for(milliseconds(1));
    switch (attempt % 3) {
      case 0:
        return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "full");
      case 1:
        return FakeMaskService::Answer(stream, FakeMaskService::Fault::kBadCrc);
      default:
        return FakeMaskService::Answer(stream);
    }
  });
  const auto result = Measure(server, {.concurrency = 2}, kBrief);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GT(result->sum.masks, 0);
  EXPECT_EQ(result->sum.errors.size(), 2u);
  EXPECT_GT(result->sum.errors.at("RESOURCE_EXHAUSTED"), 0);
  EXPECT_GT(result->sum.errors.at("DATA_LOSS"), 0);
  EXPECT_EQ(result->sum.failed_latency.count(), result->sum.failed());
  EXPECT_GE(result->sum.failed_latency.Quantile(0.5), 1e-3);  // each takes a millisecond
  EXPECT_FALSE(result->first_failure.ok());
  EXPECT_FALSE(result->stable);
}

TEST(MeasureLevel, AStopCancelsWhatIsInFlight) {
  const FakeServer server([&](int, grpc::ServerContext& context, Stream&) {
    while (!context.IsCancelled()) std::this_thread::sleep_for(milliseconds(5));
    return grpc::Status(grpc::StatusCode::CANCELLED, "");
  });
  std::stop_source stop;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(milliseconds(200));
    stop.request_stop();
  });
  const auto start = std::chrono::steady_clock::now();
  MeasureOptions measure = kBrief;
  measure.duration_seconds = 60;
  measure.window_seconds = 60;
  const auto result = Measure(server, {.concurrency = 8}, measure, {}, stop.get_token());
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST(MeasureLevel, TellsTheServersProcessorTimeIfSomebodyKnows) {
  const FakeServer server;
  double seconds = 100;
  const auto result =
      Measure(server, {.concurrency = 1}, kBrief, {}, {},
              [&]() -> absl::StatusOr<std::optional<double>> { return seconds += 0.25; });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->sum.server_cpu_seconds, 0.75);  // of three windows
  const auto failed = Measure(server, {.concurrency = 1}, kBrief, {}, {},
                              []() -> absl::StatusOr<std::optional<double>> {
                                return absl::UnavailableError("no metrics");
                              });
  EXPECT_EQ(failed.status().message(), "no metrics");
}

TEST(ServerCpu, IsASampleOfTheMetrics) {
  const auto seconds = ParseCpuSeconds(
      "# HELP process_cpu_seconds_total Total\n# TYPE process_cpu_seconds_total counter\n"
      "other_process_cpu_seconds_total 1\nprocess_cpu_seconds_total 12.5\n");
  ASSERT_TRUE(seconds.ok()) << seconds.status();
  EXPECT_EQ(*seconds, 12.5);
  EXPECT_EQ(ParseCpuSeconds("up 1\n").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ScrapeCpuSeconds("http://127.0.0.1:1/metrics").status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(ScrapeCpuSeconds("file:///etc/hostname").status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace tsenor::cli
