#include "client/cli/selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/checkpoint_files.h"

namespace tsenor::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SelectTensorsTest : public ::testing::Test {
 protected:
  SelectTensorsTest() {
    const auto zeros = [](uint64_t bytes) { return std::string(bytes, '\0'); };
    WriteCheckpointFile(directory_ / "model.safetensors",
                        {{"bf", "BF16", {8, 16}, zeros(256)},
                         {"bias", "F32", {8}, zeros(32)},
                         {"conv", "F32", {2, 2, 2}, zeros(32)},
                         {"empty", "F32", {0, 8}, ""},
                         {"f16", "F16", {8, 8}, zeros(128)},
                         {"f32", "F32", {8, 8}, zeros(256)},
                         {"f8 e4m3", "F8_E4M3", {8, 8}, zeros(64)},
                         {"f8 e5m2", "F8_E5M2", {8, 8}, zeros(64)},
                         {"f8 scale", "F8_E8M0", {8, 8}, zeros(64)},
                         {"ids", "I64", {8, 8}, zeros(512)},
                         {"odd", "F32", {8, 9}, zeros(288)},
                         {std::string(1025, 'x'), "F32", {8, 8}, zeros(256)}});
    auto checkpoint = client::Checkpoint::Open(directory_.path());
    if (!checkpoint.ok()) std::abort();
    checkpoint_.emplace(*std::move(checkpoint));
  }

  std::vector<std::string> Names(const SelectionRules& rules) const {
    std::vector<std::string> names;
    for (const SelectedTensor& tensor : SelectTensors(*checkpoint_, rules).selected) {
      names.push_back(tensor.name());
    }
    return names;
  }

  TemporaryDirectory directory_;
  std::optional<client::Checkpoint> checkpoint_;
};

TEST_F(SelectTensorsTest, TakesFloatMatricesThatThePatternDivides) {
  EXPECT_THAT(Names({.m = 8}), ElementsAre("bf", "f16", "f32", "f8 e4m3", "f8 e5m2"));
  EXPECT_THAT(Names({.m = 16}), ElementsAre());
  EXPECT_THAT(Names({.m = 8, .pad = true}),
              ElementsAre("bf", "f16", "f32", "f8 e4m3", "f8 e5m2", "odd"));
}

TEST_F(SelectTensorsTest, IncludeAndExcludeSearchTheName) {
  EXPECT_THAT(Names({.include = "^f[13]", .m = 8}), ElementsAre("f16", "f32"));
  EXPECT_THAT(Names({.exclude = "6$|8", .m = 8}), ElementsAre("bf", "f32"));
  EXPECT_THAT(Names({.include = "f", .exclude = "1|3|8", .m = 8}), ElementsAre("bf"));
}

TEST_F(SelectTensorsTest, TellsWhyForEveryTensorThatItSkips) {
  const Selection selection = SelectTensors(*checkpoint_, {.exclude = "^bf$", .m = 8});
  std::map<std::string, std::string> reasons;
  for (const SkippedTensor& tensor : selection.skipped) reasons[tensor.name] = tensor.reason;
  EXPECT_EQ(reasons["bf"], "matched by --exclude");
  EXPECT_EQ(reasons["bias"], "not a matrix (1-D)");
  EXPECT_EQ(reasons["conv"], "not a matrix (3-D)");
  EXPECT_EQ(reasons["empty"], "empty");
  EXPECT_EQ(reasons["f8 scale"], "dtype F8_E8M0");
  EXPECT_EQ(reasons["ids"], "dtype I64");
  EXPECT_EQ(reasons["odd"], "shape [8, 9] is not divided by 8");
  EXPECT_EQ(reasons[std::string(1025, 'x')], "name longer than 1024 bytes");
  EXPECT_EQ(reasons.size() + selection.selected.size(), 12u);
  EXPECT_THAT(selection.SkippedByReason(), HasSubstr("1 dtype F8_E8M0, 1 dtype I64, 1 empty"));
}

TEST_F(SelectTensorsTest, KnowsShapesAndTypes) {
  const Selection selection = SelectTensors(*checkpoint_, {.m = 8});
  EXPECT_EQ(selection.selected[0].dtype, v1::DATA_TYPE_BFLOAT16);
  EXPECT_EQ(selection.selected[1].dtype, v1::DATA_TYPE_FLOAT16);
  EXPECT_EQ(selection.selected[2].dtype, v1::DATA_TYPE_FLOAT32);
  EXPECT_EQ(selection.selected[3].dtype, v1::DATA_TYPE_FLOAT8_E4M3);
  EXPECT_EQ(selection.selected[4].dtype, v1::DATA_TYPE_FLOAT8_E5M2);
  EXPECT_EQ(selection.selected[0].rows, 8u);
  EXPECT_EQ(selection.selected[0].columns, 16u);
  EXPECT_EQ(selection.weights(), 128u + 4 * 64);
}

}  // namespace
}  // namespace tsenor::cli
