#include "proto/wire/directory_id.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace tsenor::wire {
namespace {

// The first line of a regular file (not of a link to one: the line is published), which ends within
// its first `limit` bytes and is printable ASCII; nullopt if there is none. `error` is errno.
std::optional<std::string> FirstLine(const std::string& path, size_t limit, int& error) {
  // O_NONBLOCK: opening a pipe would wait for its writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  error = fd < 0 ? errno : 0;
  if (fd < 0) return std::nullopt;
  struct stat info {};
  std::string text(limit + 1, '\0');
  const bool regular = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  const ssize_t size = regular ? ::read(fd, text.data(), text.size()) : -1;
  ::close(fd);
  if (size < 0) return std::nullopt;
  text.resize(static_cast<size_t>(size));
  text.resize(std::min(text.find('\n'), text.size()));
  if (text.empty() || text.size() > limit) return std::nullopt;
  const auto printable = [](char c) { return c >= ' ' && c <= '~'; };
  if (!std::all_of(text.begin(), text.end(), printable)) return std::nullopt;
  return text;
}

}  // namespace

std::optional<std::string> DirectoryId(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) return std::nullopt;
  int error = 0;
  const auto text = FirstLine(path + "/" + kDirectoryIdFile, kMaxDirectoryIdBytes, error);
  if (text.has_value()) return "file:" + *text;
  // A file that is there and cannot be read must not turn one directory into two.
  if (error != ENOENT) return std::nullopt;
  const auto boot = FirstLine("/proc/sys/kernel/random/boot_id", kMaxDirectoryIdBytes, error);
  if (!boot.has_value()) return std::nullopt;
  return "inode:" + *boot + ":" + std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
}

}  // namespace tsenor::wire
