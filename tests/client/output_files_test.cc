// What `tsenor` reads and writes besides masks: outputs in the wrong place, full disks, and the
// other files of a model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/client/fake_mask_service.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/program.h"

namespace tsenor {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class OutputFiles : public ::testing::Test {
 protected:
  OutputFiles() { WriteCheckpointFile(weights_, {GaussianMatrix("a", 8, 16)}); }

  ProgramOutcome Mask(const std::string& input, const std::string& out,
                      const std::vector<std::string>& more = {},
                      const ProgramOptions& options = {}) const {
    std::vector<std::string> arguments = {TSENOR_BINARY_DIR "/bin/tsenor",
                                          "mask",
                                          input,
                                          "--server",
                                          server_.address(),
                                          "--pattern",
                                          "2:4",
                                          "--out",
                                          out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunProgram(arguments, options);
  }

  // A directory with a checkpoint and what else models bring.
  void WriteModel() {
    fs::create_directories(model_ + "/1_Pooling");
    fs::create_directories(model_ + "/.git/lfs");
    fs::rename(weights_, model_ + "/model.safetensors");
    WriteWholeFile(model_ + "/config.json", "{}");
    WriteWholeFile(model_ + "/1_Pooling/config.json", "[]");
    WriteWholeFile(model_ + "/1_Pooling/pytorch_model.bin", "dense");
    WriteWholeFile(model_ + "/other.safetensors", "dense");
    WriteWholeFile(model_ + "/.git/lfs/object", "dense");
    fs::create_symlink("config.json", model_ + "/linked.json");
    fs::create_symlink("loop", model_ + "/loop");
  }

  const FakeServer server_;
  const TemporaryDirectory directory_;
  const std::string weights_ = directory_ / "model.safetensors";
  const std::string model_ = directory_ / "model";
  const std::string out_ = directory_ / "out";
};

TEST_F(OutputFiles, TheInputIsNotReplacedByItsMasks) {
  const std::string before = ReadWholeFile(weights_);
  for (const auto& outcome :
       {Mask(weights_, weights_), Mask(weights_, out_, {"--report", weights_}),
        Mask(weights_, weights_, {"--apply", "--report", weights_})}) {
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_THAT(outcome.err, HasSubstr("would replace " + weights_));
  }
  EXPECT_EQ(ReadWholeFile(weights_), before);
  EXPECT_THAT(directory_.Names(), ElementsAre("model.safetensors"));
  EXPECT_EQ(server_.service().attempts(), 0);
}

TEST_F(OutputFiles, ApplyMayReplaceItsInput) {
  const std::string before = ReadWholeFile(weights_);
  ASSERT_EQ(::chmod(weights_.c_str(), 0640), 0);
  const ProgramOutcome outcome = Mask(weights_, weights_, {"--apply"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(ReadWholeFile(weights_), before);
  EXPECT_EQ(ReadWholeFile(weights_).size(), before.size());
  EXPECT_EQ(fs::status(weights_).permissions(), fs::perms(0640));
}

TEST_F(OutputFiles, DevicesStayDevices) {
  EXPECT_THAT(Mask(weights_, "/dev/null").err, HasSubstr("not a regular file"));
  EXPECT_THAT(Mask(weights_, out_, {"--report", "/dev/null"}).err, HasSubstr("not a regular file"));
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(OutputFiles, AReportThatCannotBeWrittenCostsNoWork) {
  const std::string report = directory_ / "missing/report.json";
  const ProgramOutcome outcome = Mask(weights_, out_, {"--report", report});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr(report));
  EXPECT_EQ(server_.service().attempts(), 0);
  EXPECT_THAT(directory_.Names(), ElementsAre("model.safetensors"));
}

TEST_F(OutputFiles, APipeIsNoInput) {
  const std::string pipe = directory_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const ProgramOutcome outcome = Mask(pipe, out_);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr(pipe + " is not a regular file"));
}

TEST_F(OutputFiles, AnAppliedDirectoryKeepsItsOtherFilesAndTellsWhatItLeavesOut) {
  WriteModel();
  const ProgramOutcome outcome = Mask(model_, out_, {"--apply"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(ReadWholeFile(out_ + "/config.json"), "{}");
  EXPECT_EQ(ReadWholeFile(out_ + "/linked.json"), "{}");
  EXPECT_EQ(ReadWholeFile(out_ + "/1_Pooling/config.json"), "[]");
  for (const char* name : {"1_Pooling/pytorch_model.bin", "other.safetensors", ".git", "loop"}) {
    EXPECT_THAT(outcome.err, HasSubstr("left out of " + out_ + ": " + name + "\n"));
    EXPECT_FALSE(fs::exists(fs::symlink_status(out_ + "/" + name))) << name;
  }
  EXPECT_THAT(outcome.err, Not(HasSubstr(": model.safetensors\n")));
}

TEST_F(OutputFiles, AFullDiskIsFoundBeforeAnyWork) {
  WriteModel();
  WriteWholeFile(model_ + "/tokenizer.json", std::string(100'000, 'x'));
  const ProgramOutcome outcome = Mask(model_, out_, {"--apply"}, {.file_size_limit = 50'000});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("tokenizer.json: reserving space: File too large"));
  EXPECT_THAT(directory_.Names(), ElementsAre("model"));
  EXPECT_EQ(server_.service().attempts(), 0);
}

TEST_F(OutputFiles, AHeaderOfManyTensorsTakesFewTimesItsSize) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "sanitizers change how much memory the program takes";
#endif
  client::SafetensorsHeader header;
  for (int i = 0; i < 300'000; ++i) {
    header.tensors.push_back({.name = "w" + std::to_string(i), .dtype = "U8", .shape = {0}});
  }
  ASSERT_TRUE(client::LayOut(header).ok());
  const std::string bytes = client::SerializeSafetensorsHeader(header);
  WriteWholeFile(weights_, bytes);
  const ProgramOutcome outcome = Mask(weights_, out_);
  EXPECT_THAT(outcome.err, HasSubstr("no matching tensor: 300000 not a matrix (1-D)"));
  EXPECT_LT(outcome.peak_resident_bytes, 12 * static_cast<int64_t>(bytes.size()));
  RecordProperty("bytes_per_header_byte",
                 std::to_string(static_cast<double>(outcome.peak_resident_bytes) /
                                static_cast<double>(bytes.size())));
}

TEST_F(OutputFiles, VerifyTellsInOneSentenceWhatIsWrongWithAWeight) {
  ASSERT_EQ(Mask(weights_, out_).exit_code, 0);
  TestTensor matrix = GaussianMatrix("a", 8, 16);
  const uint32_t nan = 0x7fc00000;
  std::memcpy(matrix.bytes.data() + 4 * (3 * 16 + 7), &nan, sizeof nan);
  WriteCheckpointFile(weights_, {matrix});
  const std::vector<std::string> verify = {
      TSENOR_BINARY_DIR "/bin/tsenor", "verify", weights_, out_, "--pattern", "2:4"};
  EXPECT_EQ(RunProgram(verify).err, "tsenor: tensor 'a': element (3, 7) is NaN\n");
}

}  // namespace
}  // namespace tsenor
