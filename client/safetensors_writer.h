// Writes a safetensors file whose header is known in advance.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/atomic_file.h"
#include "client/safetensors_header.h"

namespace tsenor::client {

// A safetensors file being written: appears under its name on Commit(), complete, or never. Bytes
// that are not written are zeros.
//
// Thread-safe: Write() may be called from several threads; Commit() after all of them.
class SafetensorsWriter {
 public:
  // Reserves the whole file and writes its header.
  // REQUIRES: `header` is parsed or laid out (LayOut()). Errors: those of AtomicFile::Create().
  static absl::StatusOr<SafetensorsWriter> Create(const std::string& path,
                                                  const SafetensorsHeader& header);

  // Writes a part of a tensor, `offset` bytes after its begin. Errors: those of
  // AtomicFile::Write(). REQUIRES: offset + bytes.size() <= tensor.size_bytes(); `tensor` is of the
  // header given to Create().
  absl::Status Write(const TensorInfo& tensor, uint64_t offset,
                     std::span<const std::byte> bytes) const;

  // Errors: those of AtomicFile::Commit().
  absl::Status Commit() { return file_.Commit(); }

 private:
  SafetensorsWriter(AtomicFile file, uint64_t data_begin);

  AtomicFile file_;
  uint64_t data_begin_ = 0;
};

}  // namespace tsenor::client
