// MaskOutput for `tsenor mask --apply`.
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/mask_output.h"
#include "client/safetensors_writer.h"

namespace tsenor::cli {
namespace {

namespace fs = std::filesystem;

// Copies and zeroings work on pieces of about this size.
constexpr uint64_t kPieceBytes = 1 << 20;

absl::Status FileError(const fs::path& path, const std::error_code& error) {
  return absl::ErrnoToStatus(error.value(), absl::StrCat("cannot write ", path.string()));
}

// A directory under a temporary name, renamed on Commit(), removed otherwise. Not thread-safe.
class AtomicDirectory {
 public:
  // Errors: FailedPrecondition if `target` exists and is not an empty directory.
  static absl::StatusOr<AtomicDirectory> Create(const fs::path& target) {
    std::error_code error;
    if (fs::exists(target, error) &&
        !(fs::is_directory(target, error) && fs::is_empty(target, error))) {
      return absl::FailedPreconditionError(
          absl::StrCat(target.string(), ": exists and is not an empty directory"));
    }
    fs::path clean = target;
    if (clean.filename().empty()) clean = clean.parent_path();  // "out/"
    std::string name =
        (clean.parent_path() / absl::StrCat(".", clean.filename().string(), ".XXXXXX")).string();
    if (::mkdtemp(name.data()) == nullptr) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", target.string()));
    }
    ::chmod(name.c_str(), 0755);  // mkdtemp() gives 0700
    return AtomicDirectory(clean, name);
  }

  AtomicDirectory(AtomicDirectory&& other) noexcept
      : target_(std::move(other.target_)), temporary_(std::exchange(other.temporary_, {})) {}
  AtomicDirectory& operator=(AtomicDirectory&&) = delete;
  ~AtomicDirectory() {
    std::error_code ignored;
    if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
  }

  const fs::path& path() const { return temporary_; }

  absl::Status Commit() {
    std::error_code error;
    fs::rename(temporary_, target_, error);
    if (error) return FileError(target_, error);
    temporary_.clear();
    return absl::OkStatus();
  }

 private:
  AtomicDirectory(fs::path target, fs::path temporary)
      : target_(std::move(target)), temporary_(std::move(temporary)) {}

  fs::path target_;
  fs::path temporary_;  // empty once renamed
};

// Files beside the shards that belong to the model: everything but weights in other files or
// formats, which would still be dense.
bool IsSidecar(const fs::path& file) {
  static const std::set<std::string> weights = {
      ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".ot"};
  return fs::is_regular_file(file) && !weights.contains(file.extension().string());
}

// Sets the elements of one row that the mask drops to zero bytes, which is +0 in every float type.
void ZeroDropped(const uint8_t* bits, uint64_t columns, size_t element_bytes, std::byte* row) {
  for (uint64_t c = 0; c < columns; ++c) {
    if ((bits[c / 8] >> (c % 8) & 1) == 0) std::memset(row + c * element_bytes, 0, element_bytes);
  }
}

class AppliedOutput : public MaskOutput {
 public:
  AppliedOutput(const client::Checkpoint& checkpoint, const Selection& selection,
                std::optional<AtomicDirectory> directory,
                std::vector<client::SafetensorsWriter> writers)
      : checkpoint_(checkpoint),
        selection_(selection),
        directory_(std::move(directory)),
        writers_(std::move(writers)) {}

  absl::Status WriteRows(size_t index, const client::MaskRows& rows) override {
    const SelectedTensor& tensor = selection_.selected[index];
    const client::TensorInfo& info = *tensor.source.info;
    const client::SafetensorsFile& shard = checkpoint_.shards()[tensor.source.shard];
    const uint64_t row_bytes = info.size_bytes() / tensor.rows;
    const uint64_t step = std::clamp<uint64_t>(kPieceBytes / row_bytes, 1, rows.row_count);
    std::vector<std::byte> piece(step * row_bytes);
    for (uint64_t row = 0; row < rows.row_count; row += step) {
      const uint64_t count = std::min(step, rows.row_count - row);
      const uint64_t offset = (rows.first_row + row) * row_bytes;
      const auto source = shard.Data(info).subspan(offset, count * row_bytes);
      std::memcpy(piece.data(), source.data(), source.size());
      shard.Release(source);
      for (uint64_t i = 0; i < count; ++i) {
        ZeroDropped(rows.bits.data() + (row + i) * PackedRowBytes(tensor.columns), tensor.columns,
                    row_bytes / tensor.columns, piece.data() + i * row_bytes);
      }
      const absl::Status status = writers_[tensor.source.shard].Write(
          info, offset, std::span(piece).first(count * row_bytes));
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status Commit(const std::stop_token& stop) override {
    if (absl::Status status = CopyOtherTensors(stop); !status.ok()) return status;
    for (client::SafetensorsWriter& writer : writers_) {
      if (absl::Status status = writer.Commit(); !status.ok()) return status;
    }
    if (!directory_) return absl::OkStatus();
    if (absl::Status status = CopySidecars(); !status.ok()) return status;
    return directory_->Commit();
  }

 private:
  absl::Status CopyOtherTensors(const std::stop_token& stop) const {
    std::set<const client::TensorInfo*> masked;
    for (const SelectedTensor& tensor : selection_.selected) masked.insert(tensor.source.info);
    for (const client::CheckpointTensor& tensor : checkpoint_.Tensors()) {
      if (masked.contains(tensor.info)) continue;
      const client::SafetensorsFile& shard = checkpoint_.shards()[tensor.shard];
      const std::span<const std::byte> data = shard.Data(*tensor.info);
      for (uint64_t offset = 0; offset < data.size(); offset += kPieceBytes) {
        if (stop.stop_requested()) return absl::CancelledError("interrupted");
        const auto piece = data.subspan(offset, std::min(kPieceBytes, data.size() - offset));
        const absl::Status status = writers_[tensor.shard].Write(*tensor.info, offset, piece);
        if (!status.ok()) return status;
        shard.Release(piece);
      }
    }
    return absl::OkStatus();
  }

  absl::Status CopySidecars() const {
    std::error_code error;
    for (const fs::directory_entry& file : fs::directory_iterator(checkpoint_.path(), error)) {
      if (!IsSidecar(file.path())) continue;
      const fs::path copy = directory_->path() / file.path().filename();
      fs::copy_file(file.path(), copy, error);
      if (error) return FileError(copy, error);
    }
    return error ? FileError(checkpoint_.path(), error) : absl::OkStatus();
  }

  const client::Checkpoint& checkpoint_;
  const Selection& selection_;
  std::optional<AtomicDirectory> directory_;        // outlives the writers inside it
  std::vector<client::SafetensorsWriter> writers_;  // one per shard
};

}  // namespace

absl::StatusOr<std::unique_ptr<MaskOutput>> CreateAppliedOutput(
    const std::string& path, const client::Checkpoint& checkpoint, const Selection& selection) {
  std::optional<AtomicDirectory> directory;
  if (checkpoint.is_directory()) {
    absl::StatusOr<AtomicDirectory> created = AtomicDirectory::Create(path);
    if (!created.ok()) return created.status();
    directory.emplace(*std::move(created));
  }
  std::vector<client::SafetensorsWriter> writers;
  for (const client::SafetensorsFile& shard : checkpoint.shards()) {
    const std::string name =
        directory ? (directory->path() / fs::path(shard.path()).filename()).string() : path;
    absl::StatusOr<client::SafetensorsWriter> writer =
        client::SafetensorsWriter::Create(name, shard.header());
    if (!writer.ok()) return writer.status();
    writers.push_back(*std::move(writer));
  }
  return std::make_unique<AppliedOutput>(checkpoint, selection, std::move(directory),
                                         std::move(writers));
}

}  // namespace tsenor::cli
