#include "client/cli/output_paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/checkpoint_files.h"

namespace tsenor::cli {
namespace {

using ::testing::HasSubstr;

class OutputPathsTest : public ::testing::Test {
 protected:
  OutputPathsTest() {
    WriteCheckpointFile(weights_, {GaussianMatrix("a", 8, 8)});
    WriteCheckpointFile(norms_, {GaussianMatrix("a", 8, 1)});
    std::filesystem::create_symlink("model.safetensors", link_);
    std::filesystem::create_directory(model_);
    WriteCheckpointFile(model_ + "/model.safetensors", {GaussianMatrix("a", 8, 8)});
  }

  static absl::Status Check(const std::string& input, const OutputPaths& paths) {
    const auto checkpoint = client::Checkpoint::Open(input);
    if (!checkpoint.ok()) return checkpoint.status();
    return CheckOutputPaths(paths, *checkpoint);
  }

  static void ExpectRefused(const std::string& input, const OutputPaths& paths,
                            const std::string& message) {
    EXPECT_THAT(std::string(Check(input, paths).message()), HasSubstr(message));
  }

  const TemporaryDirectory directory_;
  const std::string weights_ = directory_ / "model.safetensors";
  const std::string norms_ = directory_ / "norms.safetensors";
  const std::string link_ = directory_ / "link.safetensors";
  const std::string model_ = directory_ / "model";
  const std::string out_ = directory_ / "out.safetensors";
  const std::string report_ = directory_ / "report.json";
};

TEST_F(OutputPathsTest, NewFilesAreFine) {
  EXPECT_TRUE(Check(weights_, {.out = out_, .report = report_, .scores = "wanda:" + norms_}).ok());
}

TEST_F(OutputPathsTest, OnlyApplyMayReplaceTheInput) {
  const std::string dotted = directory_ / "./model/../model.safetensors";
  for (const std::string& out : {weights_, link_, dotted}) {
    ExpectRefused(weights_, {.out = out}, "would replace " + weights_ + ", which is read");
    ExpectRefused(link_, {.out = out}, "would replace");
    EXPECT_TRUE(Check(weights_, {.out = out, .apply = true}).ok());
    ExpectRefused(weights_, {.out = out_, .report = out}, "--report");
    ExpectRefused(weights_, {.out = out_, .report = out, .apply = true}, "would replace");
  }
}

TEST_F(OutputPathsTest, NoOtherFileThatIsReadIsReplaced) {
  const std::string scores = "wanda:" + norms_;
  for (const bool apply : {false, true}) {
    ExpectRefused(weights_, {.out = norms_, .scores = scores, .apply = apply}, "would replace");
    ExpectRefused(weights_, {.out = out_, .report = norms_, .scores = scores, .apply = apply},
                  "would replace");
  }
  ExpectRefused(model_, {.out = model_ + "/model.safetensors"}, "would replace");
  ExpectRefused(model_, {.out = model_ + "/model.safetensors.index.json"}, "would replace");
}

TEST_F(OutputPathsTest, OutAndReportDiffer) {
  ExpectRefused(weights_, {.out = out_, .report = directory_ / "./out.safetensors"},
                "is the file of --out");
  WriteWholeFile(out_, "");
  std::filesystem::create_hard_link(out_, report_);
  ExpectRefused(weights_, {.out = out_, .report = report_}, "is the file of --out");
}

TEST_F(OutputPathsTest, OnlyRegularFilesInDirectoriesThatExist) {
  const std::string missing = directory_ / "missing/file";
  for (const std::string& path : {model_, std::string("/dev/null"), out_ + "/", missing}) {
    ExpectRefused(weights_, {.out = path}, "--out: cannot write");
    ExpectRefused(weights_, {.out = path, .apply = true}, "--out: cannot write");
    ExpectRefused(weights_, {.out = out_, .report = path}, "--report: cannot write");
  }
  ExpectRefused(weights_, {.out = ""}, "names no file");
}

TEST_F(OutputPathsTest, AnAppliedDirectoryKeepsClearOfTheInput) {
  EXPECT_TRUE(Check(model_, {.out = directory_ / "pruned/", .apply = true}).ok());
  EXPECT_TRUE(Check(model_, {.out = directory_ / "model2", .apply = true}).ok());
  ExpectRefused(model_, {.out = model_ + "/", .apply = true}, "lies within the input");
  ExpectRefused(model_, {.out = model_ + "/pruned", .apply = true}, "lies within the input");
  ExpectRefused(
      model_,
      {.out = directory_ / "pruned", .report = directory_ / "pruned/report.json", .apply = true},
      "lies within the directory of --out");
}

}  // namespace
}  // namespace tsenor::cli
