#include "client/atomic_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tsenor::client {
namespace {

namespace fs = std::filesystem;

// The temporary name does not depend on the target's, which may be as long as the system allows.
constexpr char kTemporaryName[] = ".tsenor.XXXXXX";

// As the kernel: more links in a row are a loop.
constexpr int kMaxLinks = 40;

// Writes from this size on go to the disk at once: a page of the page cache is 4 KiB, and pages
// that later writes touch again would go there twice.
constexpr size_t kWritebackBytes = size_t{64} << 10;

absl::Status CannotWrite(const std::string& path, const char* what, int error) {
  return absl::ErrnoToStatus(error, absl::StrCat("cannot write ", path, ": ", what));
}

// The permissions of the file that is replaced, or those that open() would have given: mkostemp()
// gives 0600.
mode_t ModeFor(const std::string& target) {
  struct stat info {};
  if (::stat(target.c_str(), &info) == 0) return info.st_mode & 0777;
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return 0666 & ~mask;
}

// Makes the new name durable. Best effort: some file systems refuse to sync a directory.
void SyncDirectory(const fs::path& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

fs::path DirectoryOf(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

}  // namespace

absl::StatusOr<std::string> FollowLinks(const std::string& path) {
  fs::path target(path);
  for (int links = 0; links < kMaxLinks; ++links) {
    std::error_code error;
    const fs::file_status status = fs::symlink_status(target, error);
    if (status.type() == fs::file_type::not_found) return target.string();
    if (error) return CannotWrite(path, "stat", error.value());
    if (!fs::is_symlink(status)) return target.string();
    const fs::path next = fs::read_symlink(target, error);
    if (error) return CannotWrite(path, "readlink", error.value());
    target = target.parent_path() / next;  // an absolute `next` stands alone
  }
  return CannotWrite(path, "symbolic links", ELOOP);
}

absl::StatusOr<std::string> ResolveTarget(const std::string& path) {
  absl::StatusOr<std::string> target = FollowLinks(path);
  if (!target.ok()) return target.status();
  if (fs::path(*target).filename().empty()) {
    return absl::InvalidArgumentError(absl::StrCat("cannot write '", path, "': names no file"));
  }
  std::error_code error;
  const fs::path directory = DirectoryOf(*target);
  if (!fs::is_directory(directory, error)) {
    return absl::NotFoundError(
        absl::StrCat("cannot write ", path, ": there is no directory ", directory.string()));
  }
  const fs::file_status status = fs::symlink_status(*target, error);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot write ", path, ": exists and is not a regular file"));
  }
  return target;
}

AtomicFile::AtomicFile(std::string path, std::string target, std::string temporary_path, int fd)
    : path_(std::move(path)),
      target_(std::move(target)),
      temporary_path_(std::move(temporary_path)),
      fd_(fd) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      target_(std::move(other.target_)),
      temporary_path_(std::exchange(other.temporary_path_, {})),
      fd_(std::exchange(other.fd_, -1)) {}

AtomicFile::~AtomicFile() { Discard(); }

void AtomicFile::Discard() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  if (!temporary_path_.empty()) ::unlink(std::exchange(temporary_path_, {}).c_str());
}

absl::Status AtomicFile::Error(const char* what, int error) const {
  return CannotWrite(path_, what, error);
}

absl::StatusOr<AtomicFile> AtomicFile::Create(const std::string& path, uint64_t size) {
  absl::StatusOr<std::string> target = ResolveTarget(path);
  if (!target.ok()) return target.status();
  const mode_t mode = ModeFor(*target);
  std::string name = DirectoryOf(*target) / kTemporaryName;
  const int fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return CannotWrite(path, "open", errno);
  AtomicFile file(path, *std::move(target), std::move(name), fd);
  if (::fchmod(fd, mode) != 0) return file.Error("fchmod", errno);
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
  const auto begin = static_cast<off_t>(offset);
  const size_t size = bytes.size();
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Error("write", errno);
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  // The disk begins now, so that Commit() has little left to wait for. A hint: it may fail.
  if (size >= kWritebackBytes) {
    ::sync_file_range(fd_, begin, static_cast<off_t>(size), SYNC_FILE_RANGE_WRITE);
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit() {
  absl::Status status;
  if (::fsync(fd_) != 0) status = Error("fsync", errno);
  if (::close(std::exchange(fd_, -1)) != 0 && status.ok()) status = Error("close", errno);
  if (status.ok() && ::rename(temporary_path_.c_str(), target_.c_str()) != 0) {
    status = Error("rename", errno);
  }
  if (status.ok()) {
    temporary_path_.clear();
    SyncDirectory(DirectoryOf(target_));
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
