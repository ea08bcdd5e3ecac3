#include "client/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/checkpoint_files.h"
#include "tests/support/temporary_directory.h"

namespace tsenor::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kGoodIndex[] =
    R"({"metadata":{"total_size":32},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})";

// Two shards, with one tensor each, and an index.
class CheckpointDirectory : public ::testing::Test {
 protected:
  CheckpointDirectory() {
    WriteCheckpointFile(directory_ / "one.safetensors", {GaussianMatrix("a", 2, 2)});
    WriteCheckpointFile(directory_ / "two.safetensors", {GaussianMatrix("b", 2, 2)});
  }

  absl::StatusOr<Checkpoint> OpenWithIndex(std::string_view index) {
    WriteWholeFile(directory_ / kIndexFileName, index);
    return Checkpoint::Open(directory_.path());
  }

  void ExpectRefused(std::string_view index, const std::string& message) {
    const auto checkpoint = OpenWithIndex(index);
    ASSERT_FALSE(checkpoint.ok());
    EXPECT_THAT(std::string(checkpoint.status().message()), HasSubstr(message));
  }

  TemporaryDirectory directory_;
};

std::vector<std::string> NamesOf(const Checkpoint& checkpoint) {
  std::vector<std::string> names;
  for (const CheckpointTensor& tensor : checkpoint.Tensors()) names.push_back(tensor.info->name);
  return names;
}

TEST_F(CheckpointDirectory, OpensEveryShardOfTheIndex) {
  const auto checkpoint = OpenWithIndex(kGoodIndex);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE(checkpoint->is_directory());
  EXPECT_EQ(checkpoint->shards().size(), 2u);
  EXPECT_THAT(NamesOf(*checkpoint), ElementsAre("a", "b"));
}

TEST_F(CheckpointDirectory, OpensOneFile) {
  const auto checkpoint = Checkpoint::Open(directory_ / "one.safetensors");
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_FALSE(checkpoint->is_directory());
  EXPECT_THAT(NamesOf(*checkpoint), ElementsAre("a"));
}

TEST_F(CheckpointDirectory, OpensTheSingleFileWithoutIndex) {
  WriteCheckpointFile(directory_ / kSingleFileName, {GaussianMatrix("only", 2, 2)});
  const auto checkpoint = Checkpoint::Open(directory_.path());
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_TRUE(checkpoint->is_directory());
  EXPECT_THAT(NamesOf(*checkpoint), ElementsAre("only"));
}

TEST_F(CheckpointDirectory, WithoutModelIsNotFound) {
  const auto checkpoint = Checkpoint::Open(directory_.path());
  EXPECT_EQ(checkpoint.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(checkpoint.status().message()), HasSubstr(kIndexFileName));
}

TEST_F(CheckpointDirectory, AbsentPathIsNotFound) {
  const auto checkpoint = Checkpoint::Open(directory_ / "absent");
  EXPECT_EQ(checkpoint.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(checkpoint.status().message()), HasSubstr("no such file"));
}

TEST_F(CheckpointDirectory, RefusesAnIndexThatIsNone) {
  ExpectRefused("{", "no JSON object");
  ExpectRefused("{}", "weight_map");
  ExpectRefused(R"({"weight_map":{}})", "empty");
  ExpectRefused(R"({"weight_map":{"a":1}})", "not a file name");
}

TEST_F(CheckpointDirectory, RefusesAShardOutsideTheDirectory) {
  ExpectRefused(R"({"weight_map":{"a":"../one.safetensors"}})", "not a file name");
  ExpectRefused(R"({"weight_map":{"a":".."}})", "not a file name");
}

TEST_F(CheckpointDirectory, RefusesAMissingShard) {
  ExpectRefused(R"({"weight_map":{"a":"three.safetensors"}})", "three.safetensors");
}

TEST_F(CheckpointDirectory, RefusesAnIndexThatDisagreesWithItsShards) {
  ExpectRefused(R"({"weight_map":{"a":"two.safetensors","b":"one.safetensors"}})",
                "does not place");
  ExpectRefused(R"({"weight_map":{"a":"one.safetensors","c":"two.safetensors"}})",
                "does not place 'b'");
  ExpectRefused(
      R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"}})",
      "names 3 tensors");
}

TEST_F(CheckpointDirectory, RefusesATensorInTwoShards) {
  WriteCheckpointFile(directory_ / "two.safetensors",
                      {GaussianMatrix("a", 2, 2), GaussianMatrix("b", 2, 2)});
  ExpectRefused(kGoodIndex, "does not place 'a'");
}

}  // namespace
}  // namespace tsenor::client
