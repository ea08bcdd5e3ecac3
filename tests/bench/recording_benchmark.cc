// What the server's metrics cost: all that it tells its observer of one small streamed tensor.
#include <benchmark/benchmark.h>

#include "server/metrics.h"

namespace tsenor::server {
namespace {

// A 64 x 64 float32 tensor in one chunk: two messages each way, one piece, one batch.
void RecordTensor(Observer& observer) {
  constexpr char kMethod[] = "SolveStream";
  constexpr int64_t kBytes = 64 * 64 * 4;
  BatchReport report;
  report.backend = "null";
  report.elements = 64 * 64;
  report.full_elements = int64_t{1} << 20;
  report.pieces = 1;
  report.seconds = 1e-6;
  report.stats.blocks = 4;
  observer.OnRpcStarted(kMethod);
  observer.OnMessageReceived(kMethod, 40);
  observer.OnMemoryChange(kBytes);
  observer.OnMessageReceived(kMethod, kBytes);
  observer.OnStage(Stage::kReceive, 1e-4);
  observer.OnQueueChange(64 * 64, kBytes);
  observer.OnQueueChange(-64 * 64, -kBytes);
  observer.OnStage(Stage::kQueue, 1e-5);
  observer.OnStage(Stage::kSolve, 1e-6);
  observer.OnBatch(report);
  observer.OnMemoryChange(512 - kBytes);
  observer.OnMessageSent(kMethod, 530);
  observer.OnStage(Stage::kSend, 1e-5);
  observer.OnMemoryChange(-512);
  observer.OnTensorDone(report.problem, report.stats);
  observer.OnMessageSent(kMethod, 120);
  observer.OnRpcHandled(kMethod, absl::StatusCode::kOk, 3e-4);
}

void BM_RecordTensor(benchmark::State& state) {
  static Metrics metrics({"null"}, int64_t{1} << 30);
  for (auto _ : state) RecordTensor(metrics);
}
BENCHMARK(BM_RecordTensor)->Threads(1)->Threads(4)->UseRealTime();

}  // namespace
}  // namespace tsenor::server

BENCHMARK_MAIN();
