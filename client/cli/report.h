// What a run found: as JSON, and as a table.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/atomic_file.h"
#include "client/cli/selection.h"
#include "nlohmann/json.hpp"

namespace tsenor::cli {

// One masked tensor. Field names are those of the JSON file.
struct TensorReport {
  std::string name;
  std::string dtype;
  uint64_t rows = 0;
  uint64_t columns = 0;
  std::string pattern;  // "16:32"
  double value = 0;     // sum of the scores kept
  double bound = 0;     // proven bound on the value of any mask
  double relative_gap = 0;
  double score_sum = 0;
  uint64_t kept = 0;
  uint64_t blocks = 0;
  uint64_t blocks_proven_optimal = 0;
  uint64_t blocks_short = 0;
  double seconds = 0;  // from sending the header to the summary
  std::string backend;
  std::string transfer;  // how the weights came to the server: "stream", "reference"
  // The server's own account: receive, queue, solve.
  double receive_seconds = 0;
  double queue_seconds = 0;
  double solve_seconds = 0;
};

// One run of `tsenor mask`.
struct Report {
  std::string input;
  std::string output;
  std::string pattern;
  std::string method;
  std::string scores;
  std::string edge;
  std::string server;  // address
  std::string server_version;
  std::vector<std::string> backends;
  std::vector<std::string> devices;  // of the backends, in words
  std::string fallback_reason;       // why no GPU solves; may be empty
  double seconds = 0;                // from the first header to the last summary
  std::vector<TensorReport> tensors;
  std::vector<SkippedTensor> skipped;
};

// The file format "tsenor.report/1" (client/README.md).
nlohmann::json ToJson(const Report& report);

// Errors: InvalidArgument naming `path` and what is missing.
absl::StatusOr<Report> ReadReport(const std::string& path);

// A report that will be written: its file is created before the work that it reports on, so that a
// path that cannot be written is found out first. Appears on Write(), complete, or never. Owns the
// file. Not thread-safe.
class ReportFile {
 public:
  // Errors: those of client::AtomicFile::Create().
  static absl::StatusOr<ReportFile> Create(const std::string& path);

  // Writes the report and gives the file its name. Call at most once.
  // Errors: those of client::AtomicFile.
  absl::Status Write(const Report& report);

 private:
  explicit ReportFile(client::AtomicFile file) : file_(std::move(file)) {}

  client::AtomicFile file_;
};

// One line per tensor and a total: tensor, shape, pattern, kept share of the scores, proven gap,
// time, weights per second. The total's time is the sum of the runs' times. Below, a line for each
// device that solved them.
void PrintTable(const std::vector<Report>& reports, std::ostream& out);

}  // namespace tsenor::cli
