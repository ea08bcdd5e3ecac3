// `tsenor report`: one table over several reports.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <vector>

#include "client/cli/command.h"
#include "client/cli/report.h"

namespace tsenor::cli {
namespace {

int RunReport(const std::vector<std::string>& paths) {
  std::vector<Report> reports;
  for (const std::string& path : paths) {
    absl::StatusOr<Report> report = ReadReport(path);
    if (!report.ok()) return Fail(report.status());
    reports.push_back(*std::move(report));
  }
  PrintTable(reports, std::cout);
  return kOk;
}

}  // namespace

void AddReportCommand(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("report", "Print one table over reports of `tsenor mask`");
  const auto paths = std::make_shared<std::vector<std::string>>();
  command->add_option("REPORT", *paths, "Files written by --report")->required();
  command->callback([paths, &exit_code] { exit_code = RunReport(*paths); });
}

}  // namespace tsenor::cli
