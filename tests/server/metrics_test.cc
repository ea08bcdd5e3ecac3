#include "server/metrics.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <ctime>
#include <map>
#include <sstream>
#include <string>

#include "server/process_metrics.h"

namespace tsenor::server {
namespace {

using ::testing::HasSubstr;

std::string Scrape(const Metrics& metrics) {
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, metrics.registry()->Collect());
  return text.str();
}

TEST(Metrics, EverySeriesExistsBeforeAnythingHappens) {
  const Metrics metrics({"cpu"}, 1 << 20);
  const std::string text = Scrape(metrics);
  for (const char* line : {
           "tsenor_build_info{version=\"",
           "tsenor_memory_budget_bytes 1048576",
           "tsenor_memory_used_bytes 0",
           "grpc_server_started_total{grpc_method=\"SolveStream\"} 0",
           "grpc_server_handled_total{grpc_code=\"INVALID_ARGUMENT\",grpc_method=\"Solve\"} 0",
           "grpc_server_handling_seconds_count{grpc_method=\"GetServerInfo\"} 0",
           "tsenor_stage_seconds_count{stage=\"queue\"} 0",
           "tsenor_queue_elements 0",
           "tsenor_batch_pieces_count 0",
           "tsenor_batch_fill_ratio_count 0",
           "tsenor_solver_seconds_total{backend=\"cpu\"} 0",
           "tsenor_solver_wasted_seconds_total{backend=\"cpu\"} 0",
           "tsenor_backend_up{backend=\"cpu\"} 1",
           "tsenor_canary_success_timestamp_seconds{backend=\"cpu\"} 0",
           "tsenor_weights_solved_total{backend=\"cpu\",dtype=\"bfloat16\",method=\"tsenor\"} 0",
           "tsenor_blocks_solved_total{backend=\"cpu\",dtype=\"float8_e4m3\",method=\"tsenor\"} 0",
           "tsenor_blocks_solved_total{backend=\"cpu\",dtype=\"float8_e5m2\",method=\"tsenor\"} 0",
           "tsenor_blocks_solved_total{backend=\"cpu\",dtype=\"float32\",method=\"column_nm\"} 0",
           "tsenor_relative_gap_count 0",
           "tsenor_rejected_total{reason=\"invalid\"} 0",
           "tsenor_dropped_total{reason=\"deadline\"} 0",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(Metrics, CountWhatTheObserverHears) {
  Metrics metrics({"cpu"}, 1 << 20);
  metrics.OnMemoryChange(5000);
  metrics.OnMemoryChange(-1000);
  metrics.OnQueueChange(64, 256);
  metrics.OnFileRead(700);
  metrics.OnRejected(RejectReason::kFile);
  metrics.OnStage(Stage::kSolve, 0.5);
  BatchReport report;
  report.backend = "cpu";
  report.problem.dtype = DType::kFloat16;
  report.elements = 4096;
  report.full_elements = 8192;
  report.pieces = 3;
  report.seconds = 2;
  report.wasted_seconds = 0.5;
  report.stats.blocks = 10;
  report.stats.blocks_proven = 9;
  report.stats.sweeps = 70;
  report.stats.augmentations = 8;
  metrics.OnBatch(report);
  report.status = absl::UnavailableError("device lost");
  metrics.OnBatch(report);
  metrics.OnDropped(DropReason::kShutdown);
  metrics.OnRejected(RejectReason::kStreams);
  metrics.OnRpcStarted("Solve");
  metrics.OnRpcHandled("Solve", absl::StatusCode::kUnavailable, 0.25);
  metrics.OnMessageReceived("Solve", 100);
  metrics.OnMessageSent("Solve", 10);
  SolveStats stats;
  stats.bound = 1;
  stats.value = 0.75;
  metrics.OnTensorDone(report.problem, stats);

  const std::string text = Scrape(metrics);
  for (const char* line : {
           "tsenor_memory_used_bytes 4000",
           "tsenor_queue_elements 64",
           "tsenor_file_read_bytes_total 700",
           "tsenor_rejected_total{reason=\"file\"} 1",
           "tsenor_queue_bytes 256",
           "tsenor_stage_seconds_sum{stage=\"solve\"} 0.5",
           "tsenor_batch_elements_sum 8192",
           "tsenor_batch_pieces_sum 6",
           "tsenor_batch_failures_total 1",
           "tsenor_batch_fill_ratio_sum 1",
           "tsenor_solver_seconds_total{backend=\"cpu\"} 4",
           "tsenor_solver_wasted_seconds_total{backend=\"cpu\"} 1",
           "tsenor_weights_solved_total{backend=\"cpu\",dtype=\"float16\",method=\"optimal\"} 4096",
           "tsenor_blocks_solved_total{backend=\"cpu\",dtype=\"float16\",method=\"optimal\"} 10",
           "tsenor_blocks_proven_total 9",
           "tsenor_blocks_unproven_total 1",
           "tsenor_sweeps_total 70",
           "tsenor_augmentations_total 8",
           "tsenor_dropped_total{reason=\"shutdown\"} 1",
           "tsenor_rejected_total{reason=\"streams\"} 1",
           "grpc_server_started_total{grpc_method=\"Solve\"} 1",
           "grpc_server_handled_total{grpc_code=\"UNAVAILABLE\",grpc_method=\"Solve\"} 1",
           "grpc_server_handling_seconds_sum{grpc_method=\"Solve\"} 0.25",
           "tsenor_received_bytes_total{grpc_method=\"Solve\"} 100",
           "tsenor_sent_bytes_total{grpc_method=\"Solve\"} 10",
           "tsenor_relative_gap_sum 0.25",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(Metrics, CountTimesThatAreToldTogetherAsIfOneByOne) {
  Metrics together({"cpu"}, 1), one_by_one({"cpu"}, 1);
  const double times[] = {0, 1e-4, 2e-4, 3e-4, 0.5, 1e9};
  together.OnStages(Stage::kSend, times);
  for (const double time : times) one_by_one.OnStage(Stage::kSend, time);
  EXPECT_EQ(Scrape(together), Scrape(one_by_one));
  EXPECT_THAT(Scrape(together), HasSubstr("tsenor_stage_seconds_count{stage=\"send\"} 6"));
}

TEST(ProcessMetrics, AreThoseOfThisProcess) {
  std::map<std::string, double> values;
  for (const prometheus::MetricFamily& family : ProcessMetrics().Collect()) {
    const prometheus::ClientMetric& metric = family.metric.at(0);
    values[family.name] =
        family.type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value;
  }
  EXPECT_EQ(values.size(), 4u);
  const double clock = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  EXPECT_NEAR(values["process_cpu_seconds_total"], clock, 0.1);
  EXPECT_GT(values["process_resident_memory_bytes"], 1e6);
  EXPECT_GT(values["process_virtual_memory_bytes"], values["process_resident_memory_bytes"]);
  EXPECT_GE(values["process_open_fds"], 3);
  const int file = ::open("/dev/null", O_RDONLY);
  EXPECT_EQ(ProcessMetrics().Collect().at(3).metric.at(0).gauge.value,
            values["process_open_fds"] + 1);
  ::close(file);
}

TEST(MetricsEndpoint, SaysWhereItListensAndFailsWhereItCannot) {
  const Metrics metrics({"cpu"}, 1 << 20);
  const auto endpoint = MetricsEndpoint::Start("127.0.0.1:0", metrics);
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_THAT((*endpoint)->address(), ::testing::MatchesRegex("127.0.0.1:[1-9][0-9]*"));
  const absl::Status taken = MetricsEndpoint::Start((*endpoint)->address(), metrics).status();
  EXPECT_EQ(taken.message(), "metrics-listen: cannot listen on " + (*endpoint)->address());
  EXPECT_EQ(taken.code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace tsenor::server
