// A file that appears complete or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tsenor::client {

// What writing to `path` replaces: the end of its symbolic links, whether or not it exists.
// Errors: as of the system (a loop of links, a name that is too long); each names `path`.
absl::StatusOr<std::string> FollowLinks(const std::string& path);

// As FollowLinks(), for a path under which a file can appear: its directory exists, and it is free
// or a regular file. Errors: those of FollowLinks(); InvalidArgument for a path that names no file;
// NotFound if the directory is missing; FailedPrecondition if something else than a regular file
// (a directory, a device, a pipe) has the name.
absl::StatusOr<std::string> ResolveTarget(const std::string& path);

// A file being written under a temporary name in its target's directory. Commit() gives it its
// final name; without that, nothing is left. Owns the descriptor and the temporary file.
//
// Thread-safe: Write() may be called from several threads; Commit() after all of them.
class AtomicFile {
 public:
  // Creates the temporary file and reserves `size` bytes, so that a full disk is found out before
  // any work is done. The content starts as zeros. Symbolic links are followed; the permissions are
  // those of the file that is replaced, if there is one.
  // Errors: those of ResolveTarget(); ResourceExhausted if the disk is full; others as of the
  // system; each names `path`.
  static absl::StatusOr<AtomicFile> Create(const std::string& path, uint64_t size);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  // Writes at a position. Errors: as of Create().
  absl::Status Write(uint64_t offset, std::span<const std::byte> bytes) const;

  // Flushes to the disk and renames over what Create() resolved. Errors: as of Create(); the
  // temporary file is gone then.
  absl::Status Commit();

 private:
  AtomicFile(std::string path, std::string target, std::string temporary_path, int fd);

  absl::Status Error(const char* what, int error) const;
  void Discard();

  std::string path_;            // as given: for messages
  std::string target_;          // what it resolved to
  std::string temporary_path_;  // empty once renamed or removed
  int fd_ = -1;
};

// Writes a small file in one go. Errors: as of AtomicFile.
absl::Status WriteFileAtomically(const std::string& path, std::span<const std::byte> bytes);

}  // namespace tsenor::client
