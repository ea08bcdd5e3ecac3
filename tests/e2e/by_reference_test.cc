// `tsenor mask` with a server that reads the checkpoint itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/checkpoint_files.h"
#include "tests/support/client_program.h"
#include "tests/support/server_program.h"
#include "tests/support/temporary_directory.h"

namespace tsenor {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kData[] = TSENOR_SOURCE_DIR "/tests/data";
constexpr char kRealWeights[] = TSENOR_SOURCE_DIR "/tests/data/minilm.safetensors";

class ByReferenceTest : public ::testing::Test {
 protected:
  // `tsenor mask` of `input` with 16:32 and `more`.
  ProgramOutcome Mask(const testing::ServerProgram& server, const std::string& input,
                      const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"mask",      input,   "--out",    out_,
                                          "--pattern", "16:32", "--report", report_};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return testing::RunClient(server.address(), arguments);
  }
  // The masks of that, or "" if it failed.
  std::string MasksOf(const testing::ServerProgram& server, const std::string& input,
                      const std::vector<std::string>& more = {}) {
    const ProgramOutcome outcome = Mask(server, input, more);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.exit_code == 0 ? ReadWholeFile(out_) : "";
  }
  // How the tensors of the last run came to the server.
  std::set<std::string> Transfers() const {
    std::set<std::string> transfers;
    const auto report = nlohmann::json::parse(ReadWholeFile(report_));
    for (const auto& tensor : report["tensors"]) transfers.insert(tensor["transfer"]);
    return transfers;
  }

  const TemporaryDirectory directory_;
  const std::string out_ = directory_ / "masks.safetensors";
  const std::string report_ = directory_ / "report.json";
};

TEST_F(ByReferenceTest, GivesTheSameBitsAsStreaming) {
  testing::ServerProgram server({"--weights-directory", kData, "--piece-bytes", "64KiB"});
  const std::string streamed = MasksOf(server, kRealWeights, {"--transfer", "stream"});
  EXPECT_EQ(Transfers(), std::set<std::string>{"stream"});
  for (const char* how : {"reference", "auto"}) {
    EXPECT_TRUE(MasksOf(server, kRealWeights, {"--transfer", how}) == streamed) << how;
    EXPECT_EQ(Transfers(), std::set<std::string>{"reference"});
  }
}

TEST_F(ByReferenceTest, TakesColumnNormsAndEveryShard) {
  std::filesystem::create_directory(directory_ / "model");
  WriteCheckpointFile(directory_ / "model/one.safetensors", {GaussianMatrix("a", 64, 32)});
  WriteCheckpointFile(directory_ / "model/two.safetensors", {GaussianMatrix("b", 32, 96, 2)});
  WriteWholeFile(directory_ / "model/model.safetensors.index.json",
                 R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  TestTensor a = GaussianMatrix("a", 1, 32, 5);
  TestTensor b = GaussianMatrix("b", 1, 96, 6);
  for (TestTensor* norms : {&a, &b}) {
    norms->shape = {norms->shape[1]};
    for (size_t k = 3; k < norms->bytes.size(); k += 4) norms->bytes[k] &= 0x7f;  // the sign
  }
  WriteCheckpointFile(directory_ / "norms.safetensors", {a, b});
  const std::string scores = "wanda:" + (directory_ / "norms.safetensors");

  testing::ServerProgram server({"--weights-directory", directory_.path().string()});
  const std::string model = directory_ / "model";
  const std::string read = MasksOf(server, model, {"--transfer", "reference", "--scores", scores});
  EXPECT_TRUE(MasksOf(server, model, {"--transfer", "stream", "--scores", scores}) == read);
  EXPECT_TRUE(MasksOf(server, model, {"--transfer", "reference"}) != read);
}

TEST_F(ByReferenceTest, AutoStreamsWhatTheServerDoesNotSee) {
  testing::ServerProgram without;
  testing::ServerProgram elsewhere({"--weights-directory", directory_.path().string()});
  for (testing::ServerProgram* server : {&without, &elsewhere}) {
    EXPECT_NE(MasksOf(*server, kRealWeights), "");
    EXPECT_EQ(Transfers(), std::set<std::string>{"stream"});
    const ProgramOutcome refused = Mask(*server, kRealWeights, {"--transfer", "reference"});
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_THAT(refused.err, HasSubstr("--transfer reference: "));
  }
}

// Two directories that claim to be the same volume.
TEST_F(ByReferenceTest, AutoSaysThatItStreamsWhatTheServerCannotReadAfterAll) {
  for (const char* name : {"here", "there"}) {
    std::filesystem::create_directory(directory_ / name);
    WriteWholeFile((directory_ / name) + "/.tsenor-directory-id", "the same");
  }
  const std::string model = directory_ / "here/w.safetensors";
  WriteCheckpointFile(model, {GaussianMatrix("a", 64, 32)});
  testing::ServerProgram server({"--weights-directory", directory_ / "there"});

  const ProgramOutcome refused = Mask(server, model, {"--transfer", "reference"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("tensor 'a': file.path w.safetensors: no such file"));

  const ProgramOutcome streamed = Mask(server, model);
  EXPECT_EQ(streamed.exit_code, 0) << streamed.err;
  EXPECT_THAT(streamed.err, HasSubstr("a is streamed: file.path w.safetensors: no such file"));
  EXPECT_EQ(Transfers(), std::set<std::string>{"stream"});

  WriteCheckpointFile(directory_ / "there/w.safetensors", {GaussianMatrix("a", 64, 32, 2)});
  const ProgramOutcome other = Mask(server, model);  // of the same size, but not the same
  EXPECT_EQ(other.exit_code, 0) << other.err;
  EXPECT_THAT(other.err, HasSubstr("is another file or has changed"));
  const ProgramOutcome quiet = Mask(server, model, {"--quiet"});
  EXPECT_THAT(quiet.err, Not(HasSubstr("is streamed")));
}

TEST_F(ByReferenceTest, AServerWithoutItsDirectoryDoesNotStart) {
  const ProgramOutcome outcome =
      RunProgram({TSENOR_BINARY_DIR "/bin/tsenor-server", "--listen", "127.0.0.1:0",
                  "--weights-directory", directory_ / "missing"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("weights-directory " + (directory_ / "missing")));
}

TEST_F(ByReferenceTest, InfoTellsWhetherTheServerReadsFiles) {
  testing::ServerProgram with({"--weights-directory", kData});
  EXPECT_THAT(testing::RunClient(with.address(), {"info"}).out,
              HasSubstr("reads files     below inode:"));
  testing::ServerProgram without;
  EXPECT_THAT(testing::RunClient(without.address(), {"info"}).out, HasSubstr("reads files     no"));
}

}  // namespace
}  // namespace tsenor
