// Weights that the server reads itself: files of one directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/tensor_spec.h"

namespace tsenor::server {

// An open file, closed by the destructor. Move-only. Thread-compatible.
class FileDescriptor {
 public:
  // Holds nothing.
  FileDescriptor() = default;
  explicit FileDescriptor(int number) : number_(number) {}
  FileDescriptor(FileDescriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~FileDescriptor();

  bool is_open() const { return number_ >= 0; }
  int number() const { return number_; }

 private:
  int number_ = -1;
};

// The one directory whose files the server reads for its clients. Holds it open: what lies there
// counts, whatever becomes of its path.
//
// Thread-safe.
class WeightsDirectory {
 public:
  // Errors: InvalidArgument naming the flag and what is wrong: `path` is no directory, it has no
  // id (wire::DirectoryId()), or the system has no openat2 (Linux 5.6).
  static absl::StatusOr<WeightsDirectory> Open(const std::string& path);

  // GetServerInfoResponse.weights_directory_id.
  const std::string& id() const { return id_; }

  // Opens the regular file at `path` for reading. The kernel itself sees to it that neither ".."
  // nor a link leads out of the directory. May block for as long as the file system does. Errors:
  // NotFound; PermissionDenied, for what leads out, too; FailedPrecondition for what is no regular
  // file; Unavailable if the file system or the process can do no more.
  absl::StatusOr<FileDescriptor> OpenFile(const std::string& path) const;

 private:
  WeightsDirectory(FileDescriptor directory, std::string id)
      : directory_(std::move(directory)), id_(std::move(id)) {}

  FileDescriptor directory_;
  std::string id_;
};

// The bytes of one tensor in a file. It is read by calls, never mapped: a file that is cut short
// gives an error and no signal.
//
// Thread-compatible: one read at a time.
class WeightsFile {
 public:
  // Opens nothing yet. `directory` outlives it. REQUIRES: `range` is valid (ValidateTensor()).
  WeightsFile(const WeightsDirectory& directory, FileRange range)
      : directory_(directory), range_(std::move(range)) {}

  // Fills `bytes` with those of the tensor from `offset` on; the first call opens the file. May
  // block for as long as the file system does.
  // REQUIRES: offset + bytes.size() <= range.size.
  // Errors: those of OpenFile(); FailedPrecondition if the file is not, or no longer, in the state
  // that the client saw.
  absl::Status Read(int64_t offset, std::span<std::byte> bytes);

 private:
  // Whether size and time of modification are those that the client saw.
  absl::Status CheckState() const;

  const WeightsDirectory& directory_;
  const FileRange range_;
  FileDescriptor file_;
};

}  // namespace tsenor::server
