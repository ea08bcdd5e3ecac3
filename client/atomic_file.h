// A file that appears complete or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tsenor::client {

// A file being written under a temporary name in its target's directory. Commit() gives it its
// final name; without that, nothing is left. Owns the descriptor and the temporary file.
//
// Thread-safe: Write() may be called from several threads; Commit() after all of them.
class AtomicFile {
 public:
  // Creates the temporary file and reserves `size` bytes, so that a full disk is found out before
  // any work is done. The content starts as zeros.
  // Errors: ResourceExhausted if the disk is full; others as of the system; each names `path`.
  static absl::StatusOr<AtomicFile> Create(const std::string& path, uint64_t size);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  // Writes at a position. Errors: as of Create().
  absl::Status Write(uint64_t offset, std::span<const std::byte> bytes) const;

  // Flushes to the disk and renames over `path`. Errors: as of Create(); the temporary file is gone
  // then.
  absl::Status Commit();

 private:
  AtomicFile(std::string path, std::string temporary_path, int fd);

  absl::Status Error(const char* what, int error) const;
  void Discard();

  std::string path_;
  std::string temporary_path_;  // empty once renamed or removed
  int fd_ = -1;
};

// Writes a small file in one go. Errors: as of AtomicFile.
absl::Status WriteFileAtomically(const std::string& path, std::span<const std::byte> bytes);

}  // namespace tsenor::client
