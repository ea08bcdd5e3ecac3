#include "client/cli/report.h"

#include <algorithm>
#include <ostream>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/method_flags.h"
#include "client/cli/table.h"
#include "client/safetensors.h"

namespace tsenor::cli {
namespace {

using nlohmann::json;

constexpr char kFormat[] = "tsenor.report/1";

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TensorReport, name, dtype, rows, columns, pattern, value, bound,
                                   relative_gap, score_sum, kept, blocks, blocks_proven_optimal,
                                   blocks_short, seconds, backend, transfer, receive_seconds,
                                   queue_seconds, solve_seconds)

// "16:32", or "16:32 rows" for a mask of rows alone.
std::string PatternText(const std::string& method, const TensorReport& tensor) {
  const std::string one_side = OneSideOf(method);
  return one_side.empty() ? tensor.pattern : absl::StrCat(tensor.pattern, " ", one_side);
}

TableRow TensorRow(const std::string& method, const TensorReport& tensor) {
  const double weights = static_cast<double>(tensor.rows) * static_cast<double>(tensor.columns);
  return {tensor.name,
          MatrixText(tensor.rows, tensor.columns),
          PatternText(method, tensor),
          ShareText(tensor.value, tensor.score_sum),
          GapText(tensor.value, tensor.bound),
          TimeText(tensor.seconds),
          SpeedText(weights, tensor.seconds)};
}

TableRow TotalRow(const std::vector<Report>& reports) {
  double value = 0, bound = 0, score_sum = 0, seconds = 0, weights = 0;
  size_t tensors = 0;
  for (const Report& report : reports) {
    seconds += report.seconds;
    tensors += report.tensors.size();
    for (const TensorReport& tensor : report.tensors) {
      value += tensor.value;
      bound += tensor.bound;
      score_sum += tensor.score_sum;
      weights += static_cast<double>(tensor.rows) * static_cast<double>(tensor.columns);
    }
  }
  return {absl::StrCat("total (", tensors, tensors == 1 ? " tensor)" : " tensors)"),
          absl::StrFormat("%.0f", weights),
          "",
          ShareText(value, score_sum),
          GapText(value, bound),
          TimeText(seconds),
          SpeedText(weights, seconds)};
}

// "solved by cpu: AMD EPYC 9R14, 2 threads (there is no GPU)", a line a device.
std::set<std::string> DeviceLines(const std::vector<Report>& reports) {
  std::set<std::string> lines;
  for (const Report& report : reports) {
    const std::string& reason = report.fallback_reason;
    for (size_t k = 0; k < std::min(report.backends.size(), report.devices.size()); ++k) {
      lines.insert(absl::StrCat("solved by ", report.backends[k], ": ", report.devices[k],
                                reason.empty() ? "" : absl::StrCat(" (", reason, ")")));
    }
  }
  return lines;
}

Report FromJson(const json& root) {
  Report report;
  root.at("input").get_to(report.input);
  root.at("output").get_to(report.output);
  root.at("pattern").get_to(report.pattern);
  root.at("method").get_to(report.method);
  root.at("scores").get_to(report.scores);
  root.at("edge").get_to(report.edge);
  root.at("server").at("address").get_to(report.server);
  root.at("server").at("version").get_to(report.server_version);
  root.at("server").at("backends").get_to(report.backends);
  report.devices = root.at("server").value("devices", report.devices);
  report.fallback_reason = root.at("server").value("fallback_reason", "");
  root.at("seconds").get_to(report.seconds);
  for (const json& tensor : root.at("tensors")) from_json(tensor, report.tensors.emplace_back());
  for (const json& skipped : root.at("skipped")) {
    report.skipped.push_back({skipped.at("name"), skipped.at("reason")});
  }
  return report;
}

}  // namespace

json ToJson(const Report& report) {
  json tensors = json::array();
  for (const TensorReport& tensor : report.tensors) to_json(tensors.emplace_back(), tensor);
  json skipped = json::array();
  for (const SkippedTensor& tensor : report.skipped) {
    skipped.push_back({{"name", tensor.name}, {"reason", tensor.reason}});
  }
  return {{"format", kFormat},
          {"input", report.input},
          {"output", report.output},
          {"pattern", report.pattern},
          {"method", report.method},
          {"scores", report.scores},
          {"edge", report.edge},
          {"server",
           {{"address", report.server},
            {"version", report.server_version},
            {"backends", report.backends},
            {"devices", report.devices},
            {"fallback_reason", report.fallback_reason}}},
          {"seconds", report.seconds},
          {"tensors", std::move(tensors)},
          {"skipped", std::move(skipped)}};
}

absl::StatusOr<Report> ReadReport(const std::string& path) {
  const absl::StatusOr<client::MappedFile> file = client::MappedFile::Open(path);
  if (!file.ok()) return file.status();
  const auto* text = reinterpret_cast<const char*>(file->bytes().data());
  try {
    const json root = json::parse(text, text + file->bytes().size());
    if (root.at("format") != kFormat) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": format is not ", kFormat));
    }
    return FromJson(root);
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a report: ", error.what()));
  }
}

absl::StatusOr<ReportFile> ReportFile::Create(const std::string& path) {
  absl::StatusOr<client::AtomicFile> file = client::AtomicFile::Create(path, 0);
  if (!file.ok()) return file.status();
  return ReportFile(*std::move(file));
}

absl::Status ReportFile::Write(const Report& report) {
  // Paths may hold bytes that are not UTF-8: those are replaced.
  const std::string text =
      ToJson(report).dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  if (absl::Status status = file_.Write(0, std::as_bytes(std::span(text))); !status.ok()) {
    return status;
  }
  return file_.Commit();
}

void PrintTable(const std::vector<Report>& reports, std::ostream& out) {
  std::vector<TableRow> rows = {
      {"tensor", "shape", "pattern", "kept |w|", "proven gap", "time", "weights/s"}};
  for (const Report& report : reports) {
    for (const TensorReport& tensor : report.tensors) {
      rows.push_back(TensorRow(report.method, tensor));
    }
  }
  rows.push_back(TotalRow(reports));
  PrintAligned(rows, out);
  for (const std::string& line : DeviceLines(reports)) out << Printable(line) << '\n';
}

}  // namespace tsenor::cli
