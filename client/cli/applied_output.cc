// MaskOutput for `tsenor mask --apply`.
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <optional>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/atomic_file.h"
#include "client/cli/mask_output.h"
#include "client/safetensors_writer.h"

namespace tsenor::cli {
namespace {

namespace fs = std::filesystem;

// Copies and zeroings work on pieces of about this size.
constexpr uint64_t kPieceBytes = 1 << 20;

// As of client::AtomicFile: independent of the length of the target's name.
constexpr char kTemporaryName[] = ".tsenor.XXXXXX";

absl::Status FileError(const fs::path& path, const std::error_code& error) {
  return absl::ErrnoToStatus(error.value(), absl::StrCat("cannot write ", path.string()));
}

// A directory under a temporary name, renamed on Commit(), removed otherwise. Not thread-safe.
class AtomicDirectory {
 public:
  // Errors: FailedPrecondition if `path` exists and is not an empty directory; those of
  // client::FollowLinks() and of the system.
  static absl::StatusOr<AtomicDirectory> Create(const std::string& path) {
    fs::path clean = path;
    if (clean.filename().empty()) clean = clean.parent_path();  // "out/"
    const absl::StatusOr<std::string> target = client::FollowLinks(clean.string());
    if (!target.ok()) return target.status();
    std::error_code error;
    const fs::file_status status = fs::symlink_status(*target, error);
    if (fs::exists(status) && !(fs::is_directory(status) && fs::is_empty(*target, error))) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, ": exists and is not an empty directory"));
    }
    std::string name = (fs::path(*target).parent_path() / kTemporaryName).string();
    if (::mkdtemp(name.data()) == nullptr) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot write '", path, "'"));
    }
    ::chmod(name.c_str(), 0755);  // mkdtemp() gives 0700
    return AtomicDirectory(*target, name);
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

// Weights, which would still be dense.
bool HoldsWeights(const fs::path& file) {
  static const std::set<std::string> weights = {
      ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".ot"};
  return weights.contains(file.extension().string());
}

// The files of a model directory, apart from its shards, by their paths within it.
struct Sidecars {
  std::vector<fs::path> copied;    // sorted
  std::vector<fs::path> left_out;  // sorted
};

// Left out are weights in other files or formats, what is neither file nor directory, and hidden
// directories, which belong to other programs (.git keeps copies of the weights). Links to files
// count as files; those to directories, which may lead anywhere, are left out.
absl::StatusOr<Sidecars> FindSidecars(const client::Checkpoint& checkpoint) {
  const fs::path root = checkpoint.path();
  std::set<fs::path> shards;
  for (const client::SafetensorsFile& shard : checkpoint.shards()) {
    shards.insert(fs::path(shard.path()).filename());
  }
  Sidecars found;
  std::error_code error;
  fs::recursive_directory_iterator entry(root, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    const fs::path inner = entry->path().lexically_relative(root);
    std::error_code ignored;  // what cannot be looked at is left out
    if (shards.contains(inner)) continue;
    if (entry->is_regular_file(ignored) && !HoldsWeights(inner)) {
      found.copied.push_back(inner);
    } else if (entry->symlink_status(ignored).type() != fs::file_type::directory) {
      found.left_out.push_back(inner);
    } else if (inner.filename().string().front() == '.') {
      entry.disable_recursion_pending();
      found.left_out.push_back(inner);
    }
  }
  if (error) {
    return absl::ErrnoToStatus(error.value(), absl::StrCat("cannot read ", root.string()));
  }
  std::sort(found.copied.begin(), found.copied.end());
  std::sort(found.left_out.begin(), found.left_out.end());
  return found;
}

// Copies them, permissions included. Errors: those of client::MappedFile and client::AtomicFile.
absl::Status CopySidecars(const fs::path& from, const std::vector<fs::path>& files,
                          const fs::path& to) {
  for (const fs::path& file : files) {
    const fs::path copy = to / file;
    std::error_code error;
    fs::create_directories(copy.parent_path(), error);
    if (error) return FileError(copy.parent_path(), error);
    const absl::StatusOr<client::MappedFile> source = client::MappedFile::Open(from / file);
    if (!source.ok()) return source.status();
    // Not fs::copy_file(): its error for a full disk does not say so.
    if (absl::Status status = client::WriteFileAtomically(copy, source->bytes()); !status.ok()) {
      return status;
    }
    fs::permissions(copy, fs::status(from / file, error).permissions(), error);
    if (error) return FileError(copy, error);
  }
  return absl::OkStatus();
}

// The directory and all of it but the shards. Tells on stderr what is left out.
absl::StatusOr<AtomicDirectory> CreateDirectory(const std::string& path,
                                                const client::Checkpoint& checkpoint) {
  absl::StatusOr<AtomicDirectory> directory = AtomicDirectory::Create(path);
  if (!directory.ok()) return directory.status();
  const absl::StatusOr<Sidecars> sidecars = FindSidecars(checkpoint);
  if (!sidecars.ok()) return sidecars.status();
  absl::Status status = CopySidecars(checkpoint.path(), sidecars->copied, directory->path());
  if (!status.ok()) return status;
  for (const fs::path& file : sidecars->left_out) {
    std::cerr << "left out of " << path << ": " << file.string() << std::endl;
  }
  return directory;
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
    absl::StatusOr<AtomicDirectory> created = CreateDirectory(path, checkpoint);
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
