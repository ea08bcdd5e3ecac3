#include "client/cli/mask_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "tests/support/checkpoint_files.h"

namespace tsenor::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A 2 x 9 weight "w" and a mask file made by the test.
class MaskFileTest : public ::testing::Test {
 protected:
  MaskFileTest() {
    WriteCheckpointFile(directory_ / "model.safetensors", {GaussianMatrix("w", 2, 9)});
    auto checkpoint = client::Checkpoint::Open(directory_.path());
    if (!checkpoint.ok()) std::abort();
    checkpoint_.emplace(*std::move(checkpoint));
    selection_ = SelectTensors(*checkpoint_, {.m = 4, .pad = true});
  }

  // Writes masks and reads row 0 of "w".
  absl::Status ReadRow(const std::vector<TestTensor>& masks,
                       const std::map<std::string, std::string>& metadata = {}) {
    WriteCheckpointFile(directory_ / "masks.safetensors", masks, metadata);
    auto file = MaskFile::Open(directory_ / "masks.safetensors");
    if (!file.ok()) return file.status();
    bits_.assign(2, 0);
    return file->ReadRows(selection_.selected[0], 0, 1, bits_);
  }

  TemporaryDirectory directory_;
  std::optional<client::Checkpoint> checkpoint_;
  Selection selection_;
  std::vector<uint8_t> bits_;
};

const std::string kPackedRows("\x05\x01\x00\x00", 4);
const std::string kDenseRows(
    "\1\0\1\0\0\0\0\0\1"
    "\0\0\0\0\0\0\0\0\0",
    18);

TEST_F(MaskFileTest, ReadsBothEncodingsAsBits) {
  ASSERT_TRUE(ReadRow({{"w", "U8", {2, 2}, kPackedRows}}).ok());
  EXPECT_THAT(bits_, ElementsAre(5, 1));
  ASSERT_TRUE(ReadRow({{"w", "U8", {2, 9}, kDenseRows}}).ok());
  EXPECT_THAT(bits_, ElementsAre(5, 1));
}

TEST_F(MaskFileTest, UnpackingInvertsPacking) {
  std::vector<uint8_t> dense(9);
  UnpackRow(reinterpret_cast<const uint8_t*>(kPackedRows.data()), 9, dense.data());
  EXPECT_EQ(std::string(dense.begin(), dense.end()), kDenseRows.substr(0, 9));
}

TEST_F(MaskFileTest, RefusesWhatIsNoMask) {
  const auto message = [](const absl::Status& status) { return std::string(status.message()); };
  EXPECT_THAT(message(ReadRow({{"v", "U8", {2, 2}, kPackedRows}})), HasSubstr("no mask for 'w'"));
  EXPECT_THAT(message(ReadRow({{"w", "U8", {1, 4}, kPackedRows}})),
              HasSubstr("is U8 [1, 4], expected"));
  EXPECT_THAT(message(ReadRow({{"w", "I8", {2, 2}, kPackedRows}})), HasSubstr("is I8"));
  EXPECT_THAT(message(ReadRow({{"w", "U8", {2, 2}, "\x05\x02__"}})), HasSubstr("spare bit"));
  std::string two = kDenseRows;
  two[4] = 2;
  EXPECT_THAT(message(ReadRow({{"w", "U8", {2, 9}, two}})), HasSubstr("other than 0 and 1"));
}

TEST_F(MaskFileTest, MetadataDecidesTheEncoding) {
  EXPECT_FALSE(ReadRow({{"w", "U8", {2, 2}, kPackedRows}}, {{"encoding", "dense"}}).ok());
  EXPECT_TRUE(ReadRow({{"w", "U8", {2, 2}, kPackedRows}}, {{"encoding", "packed"}}).ok());
  EXPECT_FALSE(ReadRow({{"w", "U8", {2, 2}, kPackedRows}},
                       {{"format", "tsenor.masks/1"}, {"encoding", "zip"}})
                   .ok());
}

TEST_F(MaskFileTest, HeaderTellsEverythingAboutTheMasks) {
  const auto packed = MaskFileHeader(selection_, MaskEncoding::kPacked, {{"pattern", "2:4"}});
  ASSERT_TRUE(packed.ok());
  EXPECT_THAT(packed->tensors[0].shape, ElementsAre(2, 2));
  EXPECT_EQ(packed->metadata.at("format"), "tsenor.masks/1");
  EXPECT_EQ(packed->metadata.at("encoding"), "packed");
  EXPECT_EQ(packed->metadata.at("bit_order"), "little");
  EXPECT_EQ(packed->metadata.at("pattern"), "2:4");
  EXPECT_EQ(packed->metadata.at("shapes"), R"({"w":[2,9]})");
  const auto dense = MaskFileHeader(selection_, MaskEncoding::kDense, {});
  ASSERT_TRUE(dense.ok());
  EXPECT_THAT(dense->tensors[0].shape, ElementsAre(2, 9));
}

}  // namespace
}  // namespace tsenor::cli
