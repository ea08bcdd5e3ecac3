#include "client/cli/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "client/cli/table.h"
#include "tests/support/temporary_directory.h"

namespace tsenor::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Report SomeReport() {
  Report report;
  report.input = "in";
  report.output = "out";
  report.pattern = "2:4";
  report.method = "optimal";
  report.scores = "magnitude";
  report.edge = "refuse";
  report.server = "unix:socket";
  report.server_version = "1.2.3";
  report.backends = {"cpu"};
  report.devices = {"a processor, 2 threads"};
  report.fallback_reason = "there is no GPU";
  report.seconds = 2;
  TensorReport tensor;
  tensor.name = "w";
  tensor.dtype = "F32";
  tensor.rows = 1000;
  tensor.columns = 2000;
  tensor.pattern = "2:4";
  tensor.transfer = "reference";
  tensor.value = 75;
  tensor.bound = 75.75;
  tensor.score_sum = 100;
  tensor.relative_gap = 0.75 / 75.75;
  tensor.seconds = 0.5;
  report.tensors = {tensor};
  report.skipped = {{"bias", "not a matrix (1-D)"}};
  return report;
}

TEST(Report, ReadsWhatItWrote) {
  const TemporaryDirectory directory;
  auto file = ReportFile::Create(directory / "r.json");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_FALSE(std::filesystem::exists(directory / "r.json"));
  ASSERT_TRUE(file->Write(SomeReport()).ok());
  const auto report = ReadReport(directory / "r.json");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(ToJson(*report), ToJson(SomeReport()));
  EXPECT_EQ(report->tensors[0].value, 75);
  EXPECT_EQ(report->tensors[0].transfer, "reference");
  EXPECT_EQ(report->skipped[0].reason, "not a matrix (1-D)");
}

TEST(Report, LeavesNothingWithoutWrite) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(ReportFile::Create(directory / "r.json").ok());
  EXPECT_TRUE(directory.Names().empty());
}

TEST(Report, RefusesWhatIsNone) {
  const TemporaryDirectory directory;
  for (const char* text :
       {"", "{}", "[1]", R"({"format":"tsenor.report/1"})", R"({"format":"other"})"}) {
    WriteWholeFile(directory / "r.json", text);
    const auto report = ReadReport(directory / "r.json");
    EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(report.status().message()), HasSubstr("r.json"));
  }
  EXPECT_EQ(ReadReport(directory / "absent").status().code(), absl::StatusCode::kNotFound);
}

TEST(Report, TableHasALinePerTensorAndATotal) {
  std::ostringstream out;
  PrintTable({SomeReport(), SomeReport()}, out);
  EXPECT_EQ(out.str(),
            "tensor                   shape  pattern  kept |w|  proven gap     time  weights/s\n"
            "w                  1000 x 2000      2:4  75.000 %     9.9e-03  0.500 s     4.00 M\n"
            "w                  1000 x 2000      2:4  75.000 %     9.9e-03  0.500 s     4.00 M\n"
            "total (2 tensors)      4000000           75.000 %     9.9e-03  4.000 s     1.00 M\n"
            "solved by cpu: a processor, 2 threads (there is no GPU)\n");
}

TEST(Report, TableTellsEachDeviceThatSolvedOnce) {
  Report gpus = SomeReport();
  gpus.backends = {"cuda:0", "cuda:1"};
  gpus.devices = {"a GPU", "a GPU"};
  gpus.fallback_reason = "";
  std::ostringstream out;
  PrintTable({gpus, SomeReport(), gpus}, out);
  EXPECT_THAT(out.str(), HasSubstr("1.00 M\nsolved by cpu: a processor, 2 threads (there is no "
                                   "GPU)\nsolved by cuda:0: a GPU\nsolved by cuda:1: a GPU\n"));
}

TEST(Report, ReadsReportsOfBeforeDevicesWereTold) {
  const TemporaryDirectory directory;
  nlohmann::json old = ToJson(SomeReport());
  old["server"].erase("devices");
  old["server"].erase("fallback_reason");
  WriteWholeFile(directory / "r.json", old.dump());
  const auto report = ReadReport(directory / "r.json");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->devices.empty());
}

TEST(Report, TableTellsWhichMasksAreOfRowsOrColumnsAlone) {
  Report rows = SomeReport(), columns = SomeReport();
  rows.method = "row-nm";
  columns.method = "column-nm";
  std::ostringstream out;
  PrintTable({rows, columns}, out);
  EXPECT_THAT(out.str(), AllOf(HasSubstr("  2:4 rows  75"), HasSubstr("  2:4 columns  75")));
}

TEST(Table, WritesNumbersForPeople) {
  EXPECT_EQ(ShareText(1, 3), "33.333 %");
  EXPECT_EQ(ShareText(0, 0), "-");
  EXPECT_EQ(GapText(1, 1), "0");
  EXPECT_EQ(GapText(1 + 1e-16, 1), "0");
  EXPECT_EQ(GapText(0, 0), "0");
  EXPECT_EQ(GapText(1.001, 1), "-");
  EXPECT_EQ(SpeedText(5e9, 2), "2.50 G");
  EXPECT_EQ(SpeedText(500, 1), "0.50 k");
  EXPECT_EQ(SpeedText(1, 0), "-");
}

}  // namespace
}  // namespace tsenor::cli
