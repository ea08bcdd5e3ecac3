// The header of a safetensors file: which tensors it holds, of which type, and where.
//
// A file is: 8 bytes, little-endian, the length of the header; the header, a JSON object padded
// with spaces; the data. Each tensor's "data_offsets" count from the start of the data. The tensors
// cover the data without gap or overlap.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tsenor::client {

// Longest JSON header, in bytes: the bound of the reference implementation.
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

// Bytes before the JSON header.
inline constexpr uint64_t kSafetensorsPrefixBytes = 8;

// Bits of one element of a safetensors dtype ("BF16": 16), nullopt for an unknown one.
std::optional<int> BitsOf(std::string_view dtype);

// One tensor of a file.
struct TensorInfo {
  std::string name;
  std::string dtype;  // as in the file: "F32", "BF16", "U8", ...
  std::vector<uint64_t> shape;
  uint64_t begin = 0;  // first byte, from the start of the data
  uint64_t end = 0;    // one past the last

  uint64_t size_bytes() const { return end - begin; }
};

// Bytes of a tensor of this dtype and shape. Errors: InvalidArgument for an unknown dtype, a size
// beyond 2^63 - 1 bytes, or one that is not whole bytes.
absl::StatusOr<uint64_t> SizeInBytes(std::string_view dtype, const std::vector<uint64_t>& shape);

// "[384, 1536]".
std::string ShapeString(const std::vector<uint64_t>& shape);

// Everything that a header says. Invariant of a parsed one: tensors ascend by position, cover [0,
// end of the data) without gap or overlap, agree with their dtype and shape, and have distinct
// names.
struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;
  std::map<std::string, std::string> metadata;  // "__metadata__"

  // Bytes of data that the tensors cover.
  uint64_t data_bytes() const { return tensors.empty() ? 0 : tensors.back().end; }
};

// Parses the JSON text of a header whose file has `data_bytes` bytes after it. Trusts nothing.
// Errors: InvalidArgument naming the tensor and what is wrong with it.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json,
                                                         uint64_t data_bytes);

// Gives the tensors consecutive positions in their order. Errors: those of SizeInBytes();
// InvalidArgument for a duplicate name.
absl::Status LayOut(SafetensorsHeader& header);

// The prefix and the JSON text, padded so that the data starts at a multiple of 8 bytes.
// REQUIRES: names and metadata are valid UTF-8 (as of any parsed header).
std::string SerializeSafetensorsHeader(const SafetensorsHeader& header);

}  // namespace tsenor::client
