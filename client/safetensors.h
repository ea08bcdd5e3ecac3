// A safetensors file, mapped and never read whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/safetensors_header.h"

namespace tsenor::client {

// A read-only mapping of a whole file. Owns the mapping. The file must not shrink meanwhile.
// Thread-safe.
class MappedFile {
 public:
  // Errors: NotFound, PermissionDenied, ... as of the system; InvalidArgument if it is no regular
  // file.
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // When the file was last modified, as of Open(), in nanoseconds since 1970.
  int64_t mtime_ns() const { return mtime_ns_; }

  // Takes the whole pages of a part of bytes() out of this process's resident memory. They stay
  // readable: the next access fetches them again.
  void Release(std::span<const std::byte> part) const;

 private:
  MappedFile(const std::byte* data, size_t size, int64_t mtime_ns)
      : data_(data), size_(size), mtime_ns_(mtime_ns) {}

  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  int64_t mtime_ns_ = 0;
};

// A safetensors file whose header has been checked (ParseSafetensorsHeader()). Owns its mapping.
// Thread-safe.
class SafetensorsFile {
 public:
  // Errors: those of MappedFile::Open(); InvalidArgument if the file is malformed; each names the
  // path.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  const std::string& path() const { return path_; }
  const SafetensorsHeader& header() const { return header_; }

  // The tensor of this name, null if there is none. Lives as long as this object.
  const TensorInfo* Find(std::string_view name) const;

  // A tensor's bytes. Not aligned beyond 1 byte. REQUIRES: `tensor` is one of header().tensors.
  std::span<const std::byte> Data(const TensorInfo& tensor) const {
    return file_.bytes().subspan(data_begin_ + tensor.begin, tensor.size_bytes());
  }

  // Position of a tensor's first byte within the file. REQUIRES: as of Data().
  uint64_t Position(const TensorInfo& tensor) const { return data_begin_ + tensor.begin; }

  // The file's state when it was opened: size in bytes, and as MappedFile::mtime_ns().
  uint64_t file_bytes() const { return file_.bytes().size(); }
  int64_t mtime_ns() const { return file_.mtime_ns(); }

  // As MappedFile::Release().
  void Release(std::span<const std::byte> part) const { file_.Release(part); }

 private:
  SafetensorsFile(std::string path, MappedFile file, SafetensorsHeader header, uint64_t data_begin);

  std::string path_;
  MappedFile file_;
  SafetensorsHeader header_;
  uint64_t data_begin_ = 0;
  // Name -> position in header_.tensors, which holds the names: it never changes, and moves with
  // this object.
  std::unordered_map<std::string_view, size_t> index_;
};

}  // namespace tsenor::client
