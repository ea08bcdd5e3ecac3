#include "client/cli/transfer.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "proto/wire/directory_id.h"

namespace tsenor::cli {
namespace {

namespace fs = std::filesystem;

// The path of `file` below the directory of this id, empty if none of the directories above it is
// that one. Symbolic links are resolved first: the server follows none that leads out.
std::string PathBelow(const std::string& id, const std::string& file) {
  std::error_code error;
  const fs::path path = fs::canonical(file, error);
  if (error) return "";
  for (fs::path directory = path.parent_path();; directory = directory.parent_path()) {
    if (wire::DirectoryId(directory.string()) == id) {
      return path.lexically_relative(directory).string();
    }
    if (directory == directory.root_path()) return "";
  }
}

}  // namespace

absl::StatusOr<Transfer> Transfer::Plan(const std::string& how,
                                        const client::Checkpoint& checkpoint,
                                        const v1::GetServerInfoResponse& info) {
  Transfer transfer(how == "auto", checkpoint);
  if (how == "stream") return transfer;
  const std::string& id = info.weights_directory_id();
  if (id.empty()) {
    if (how == "auto") return transfer;
    return absl::FailedPreconditionError(
        "--transfer reference: the server reads no files: it was started without "
        "--weights-directory");
  }
  for (size_t shard = 0; shard < transfer.paths_.size(); ++shard) {
    const std::string& file = checkpoint.shards()[shard].path();
    transfer.paths_[shard] = PathBelow(id, file);
    if (transfer.paths_[shard].empty() && how == "reference") {
      return absl::FailedPreconditionError(absl::StrCat(
          "--transfer reference: ", file, " does not lie below the server's weights directory"));
    }
  }
  return transfer;
}

std::optional<v1::FileRange> Transfer::RangeOf(const client::CheckpointTensor& tensor) const {
  if (paths_[tensor.shard].empty()) return std::nullopt;
  const client::SafetensorsFile& shard = checkpoint_->shards()[tensor.shard];
  v1::FileRange range;
  range.set_path(paths_[tensor.shard]);
  range.set_offset(shard.Position(*tensor.info));
  range.set_size(tensor.info->size_bytes());
  range.set_file_bytes(shard.file_bytes());
  range.set_mtime_ns(shard.mtime_ns());
  return range;
}

bool Transfer::StreamsAfter(const absl::Status& answer,
                            const client::CheckpointTensor& tensor) const {
  if (!falls_back_) return false;
  if (!absl::IsNotFound(answer) && !absl::IsPermissionDenied(answer) &&
      !absl::IsFailedPrecondition(answer)) {
    return false;
  }
  // A file that is being rewritten would be streamed half old, half new.
  const client::SafetensorsFile& shard = checkpoint_->shards()[tensor.shard];
  const auto now = client::MappedFile::Open(shard.path());
  return now.ok() && now->bytes().size() == shard.file_bytes() &&
         now->mtime_ns() == shard.mtime_ns();
}

}  // namespace tsenor::cli
