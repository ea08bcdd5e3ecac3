// What `tsenor bench` found: as JSON, and as a table.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "client/cli/bench_load.h"
#include "nlohmann/json.hpp"

namespace tsenor::cli {

// One run of `tsenor bench`.
struct BenchReport {
  WorkloadFlags workload;
  LoadOptions load;
  MeasureOptions measure;
  v1::GetServerInfoResponse server;
  std::vector<LevelResult> levels;
};

// The file format "tsenor.bench/1" (client/README.md).
nlohmann::json ToJson(const BenchReport& report);

// Two tables, a line a level: throughput and latency; where the time went. Below, a line for each
// backend, and for each level whose calls failed or whose windows did not agree.
void PrintBench(const BenchReport& report, std::ostream& out);

}  // namespace tsenor::cli
