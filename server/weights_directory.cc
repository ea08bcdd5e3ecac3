#include "server/weights_directory.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "proto/wire/directory_id.h"

namespace tsenor::server {
namespace {

// openat2(2), for which Debian 12's C library has no function. O_NONBLOCK: opening a pipe would
// wait for its writer.
int OpenBeneath(int directory, const std::string& path) {
  struct open_how how {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof(how)));
}

// What came of the file at `path`, as a client may hear it.
absl::Status FileError(int error, const std::string& file_path) {
  const std::string path = Shown(file_path);
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:  // a part of it is longer than any name
      return absl::NotFoundError(absl::StrCat("file.path ", path, ": no such file"));
    case EXDEV:
      return absl::PermissionDeniedError(
          absl::StrCat("file.path ", path, " leads out of the server's directory"));
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(
          absl::StrCat("file.path ", path, ": the server may not read it"));
    case ELOOP:
    case ENXIO:  // a socket, or a device that is not there
      return absl::FailedPreconditionError(
          absl::StrCat("file.path ", path, " is not a regular file"));
    case ESTALE:
      return absl::FailedPreconditionError(
          absl::StrCat("file.path ", path, ": the file was replaced on its server"));
    default:
      return absl::UnavailableError(absl::StrCat("file.path ", path, ": ", std::strerror(error)));
  }
}

int64_t MtimeNs(const struct stat& info) {
  return int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (is_open()) ::close(number_);
}

absl::StatusOr<WeightsDirectory> WeightsDirectory::Open(const std::string& path) {
  const auto refuse = [&path](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat("weights-directory ", path, ": ", why));
  };
  FileDescriptor directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory.is_open()) return refuse(std::strerror(errno));
  const FileDescriptor probe(OpenBeneath(directory.number(), "."));
  if (!probe.is_open()) {
    return refuse(errno == ENOSYS ? "this system has no openat2, which Linux has since 5.6"
                                  : std::strerror(errno));
  }
  std::optional<std::string> id = wire::DirectoryId(path);
  if (!id.has_value()) {
    return refuse(absl::StrCat("no id: ", wire::kDirectoryIdFile,
                               " in it is unreadable, empty or longer than ",
                               wire::kMaxDirectoryIdBytes, " bytes, or the system has no boot id"));
  }
  return WeightsDirectory(std::move(directory), *std::move(id));
}

absl::StatusOr<FileDescriptor> WeightsDirectory::OpenFile(const std::string& path) const {
  FileDescriptor file(OpenBeneath(directory_.number(), path));
  if (!file.is_open()) return FileError(errno, path);
  struct stat info {};
  if (::fstat(file.number(), &info) != 0) return FileError(errno, path);
  if (!S_ISREG(info.st_mode)) return FileError(ELOOP, path);
  return file;
}

absl::Status WeightsFile::Read(int64_t offset, std::span<std::byte> bytes) {
  if (!file_.is_open()) {
    absl::StatusOr<FileDescriptor> file = directory_.OpenFile(range_.path);
    if (!file.ok()) return file.status();
    file_ = *std::move(file);
    if (absl::Status status = CheckState(); !status.ok()) return status;
  }
  auto position = static_cast<off_t>(range_.offset) + offset;
  while (!bytes.empty()) {
    const ssize_t count = ::pread(file_.number(), bytes.data(), bytes.size(), position);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FileError(errno, range_.path);
    if (count == 0) break;  // cut short meanwhile
    bytes = bytes.subspan(static_cast<size_t>(count));
    position += count;
  }
  if (absl::Status status = CheckState(); !status.ok() || bytes.empty()) return status;
  return absl::FailedPreconditionError(
      absl::StrCat("file.path ", Shown(range_.path), " ended at byte ", position));
}

absl::Status WeightsFile::CheckState() const {
  struct stat info {};
  if (::fstat(file_.number(), &info) != 0) return FileError(errno, range_.path);
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size == range_.file_bytes && MtimeNs(info) == range_.mtime_ns) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("file.path ", Shown(range_.path), " is another file or has changed: it has ",
                   size, " bytes and was modified at ", MtimeNs(info), " ns; file.file_bytes is ",
                   range_.file_bytes, " and file.mtime_ns ", range_.mtime_ns));
}

}  // namespace tsenor::server
