#include "client/atomic_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tsenor::client {
namespace {

// The permissions that open() would have given: mkostemp() gives 0600.
mode_t NewFileMode() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return 0666 & ~mask;
}

// Makes the new name durable. Best effort: some file systems refuse to sync a directory.
void SyncDirectory(const std::filesystem::path& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

std::filesystem::path DirectoryOf(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

}  // namespace

AtomicFile::AtomicFile(std::string path, std::string temporary_path, int fd)
    : path_(std::move(path)), temporary_path_(std::move(temporary_path)), fd_(fd) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_path_(std::exchange(other.temporary_path_, {})),
      fd_(std::exchange(other.fd_, -1)) {}

AtomicFile::~AtomicFile() { Discard(); }

void AtomicFile::Discard() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  if (!temporary_path_.empty()) ::unlink(std::exchange(temporary_path_, {}).c_str());
}

absl::Status AtomicFile::Error(const char* what, int error) const {
  return absl::ErrnoToStatus(error, absl::StrCat("cannot write ", path_, ": ", what));
}

absl::StatusOr<AtomicFile> AtomicFile::Create(const std::string& path, uint64_t size) {
  const std::filesystem::path target(path);
  std::string name = DirectoryOf(path) / absl::StrCat(".", target.filename().string(), ".XXXXXX");
  const int fd = ::mkostemp(name.data(), O_CLOEXEC);
  AtomicFile file(path, fd < 0 ? "" : name, fd);
  if (fd < 0) return file.Error("open", errno);
  if (::fchmod(fd, NewFileMode()) != 0) return file.Error("fchmod", errno);
  if (size == 0) return file;
  const int error = ::posix_fallocate(fd, 0, static_cast<off_t>(size));
  // A file system that cannot reserve finds a full disk while writing.
  if (error == EOPNOTSUPP || error == EINVAL) {
    if (::ftruncate(fd, static_cast<off_t>(size)) != 0) return file.Error("ftruncate", errno);
  } else if (error != 0) {
    return file.Error("reserving space", error);
  }
  return file;
}

absl::Status AtomicFile::Write(uint64_t offset, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Error("write", errno);
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit() {
  absl::Status status;
  if (::fsync(fd_) != 0) status = Error("fsync", errno);
  if (::close(std::exchange(fd_, -1)) != 0 && status.ok()) status = Error("close", errno);
  if (status.ok() && ::rename(temporary_path_.c_str(), path_.c_str()) != 0) {
    status = Error("rename", errno);
  }
  if (status.ok()) {
    temporary_path_.clear();
    SyncDirectory(DirectoryOf(path_));
  }
  Discard();
  return status;
}

absl::Status WriteFileAtomically(const std::string& path, std::span<const std::byte> bytes) {
  absl::StatusOr<AtomicFile> file = AtomicFile::Create(path, bytes.size());
  if (!file.ok()) return file.status();
  if (absl::Status status = file->Write(0, bytes); !status.ok()) return status;
  return file->Commit();
}

}  // namespace tsenor::client
