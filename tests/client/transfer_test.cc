#include "client/cli/transfer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "proto/wire/directory_id.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/temporary_directory.h"

namespace tsenor::cli {
namespace {

using ::testing::HasSubstr;

// A checkpoint of two tensors in a folder of a folder.
class TransferTest : public ::testing::Test {
 protected:
  TransferTest() {
    std::filesystem::create_directories(directory_ / "volume/model");
    WriteCheckpointFile(file_, {GaussianMatrix("a", 4, 4), GaussianMatrix("b", 8, 4)});
    info_.set_weights_directory_id(*wire::DirectoryId(directory_ / "volume"));
  }

  absl::StatusOr<Transfer> Plan(const std::string& how) { return PlanFor(how, file_); }
  absl::StatusOr<Transfer> PlanFor(const std::string& how, const std::string& path) {
    checkpoint_.emplace(*client::Checkpoint::Open(path));
    return Transfer::Plan(how, *checkpoint_, info_);
  }
  std::optional<v1::FileRange> RangeOfB(const std::string& how) {
    const auto transfer = Plan(how);
    if (!transfer.ok()) {
      ADD_FAILURE() << transfer.status();
      return std::nullopt;
    }
    return transfer->RangeOf(checkpoint_->Tensors()[1]);
  }

  const TemporaryDirectory directory_;
  const std::string file_ = directory_ / "volume/model/w.safetensors";
  v1::GetServerInfoResponse info_;
  std::optional<client::Checkpoint> checkpoint_;
};

TEST_F(TransferTest, NamesTheBytesOfATensorBelowTheServersDirectory) {
  for (const char* how : {"auto", "reference"}) {
    const auto range = RangeOfB(how);
    ASSERT_TRUE(range.has_value()) << how;
    EXPECT_EQ(range->path(), "model/w.safetensors");
    EXPECT_EQ(range->size(), 8u * 4 * 4);
    const std::string content = ReadWholeFile(file_);
    EXPECT_EQ(range->file_bytes(), content.size());
    EXPECT_EQ(content.substr(range->offset(), range->size()), GaussianMatrix("b", 8, 4).bytes);
    struct stat state {};
    ASSERT_EQ(::stat(file_.c_str(), &state), 0);
    EXPECT_EQ(range->mtime_ns(),
              int64_t{state.st_mtim.tv_sec} * 1'000'000'000 + state.st_mtim.tv_nsec);
  }
}

TEST_F(TransferTest, StreamsWhenAsked) { EXPECT_FALSE(RangeOfB("stream").has_value()); }

TEST_F(TransferTest, StreamsWhatDoesNotLieThere) {
  info_.set_weights_directory_id("inode:elsewhere");
  EXPECT_FALSE(RangeOfB("auto").has_value());
  const absl::Status refused = Plan("reference").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr(file_ + " does not lie below"));
}

TEST_F(TransferTest, StreamsToAServerThatReadsNoFiles) {
  info_.clear_weights_directory_id();
  EXPECT_FALSE(RangeOfB("auto").has_value());
  const absl::Status refused = Plan("reference").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("--weights-directory"));
}

TEST_F(TransferTest, LinksAreResolvedFirst) {
  const std::string link = directory_ / "link.safetensors";
  std::filesystem::create_symlink(file_, link);
  const auto into = PlanFor("reference", link);
  ASSERT_TRUE(into.ok()) << into.status();
  EXPECT_EQ(into->RangeOf(checkpoint_->Tensors()[0])->path(), "model/w.safetensors");

  const std::string outside = directory_ / "outside.safetensors";
  WriteCheckpointFile(outside, {GaussianMatrix("a", 4, 4)});
  const std::string out = directory_ / "volume/out.safetensors";
  std::filesystem::create_symlink(outside, out);
  EXPECT_FALSE(PlanFor("reference", out).ok());
}

TEST_F(TransferTest, OnlyAutoFallsBackAndOnlyFromFilesThatCannotBeRead) {
  const Transfer automatic = *Plan("auto");
  const client::CheckpointTensor tensor = checkpoint_->Tensors()[0];
  EXPECT_TRUE(automatic.StreamsAfter(absl::NotFoundError(""), tensor));
  EXPECT_TRUE(automatic.StreamsAfter(absl::PermissionDeniedError(""), tensor));
  EXPECT_TRUE(automatic.StreamsAfter(absl::FailedPreconditionError(""), tensor));
  EXPECT_FALSE(automatic.StreamsAfter(absl::InvalidArgumentError(""), tensor));
  EXPECT_FALSE(automatic.StreamsAfter(absl::UnavailableError(""), tensor));
  EXPECT_FALSE(automatic.StreamsAfter(absl::OkStatus(), tensor));
  const absl::StatusOr<Transfer> reference = Plan("reference");
  EXPECT_FALSE(reference->StreamsAfter(absl::NotFoundError(""), checkpoint_->Tensors()[0]));
}

TEST_F(TransferTest, AFileThatHasChangedIsNotStreamedHalfOldHalfNew) {
  const Transfer automatic = *Plan("auto");
  const client::CheckpointTensor tensor = checkpoint_->Tensors()[0];
  const absl::Status changed = absl::FailedPreconditionError("has changed");
  EXPECT_TRUE(automatic.StreamsAfter(changed, tensor));
  std::filesystem::last_write_time(
      file_, std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_FALSE(automatic.StreamsAfter(changed, tensor));
  std::filesystem::remove(file_);
  EXPECT_FALSE(automatic.StreamsAfter(changed, tensor));
}

}  // namespace
}  // namespace tsenor::cli
