// The mask file format "tsenor.masks/1": written by `tsenor mask`, read by `tsenor verify`.
//
// A safetensors file with one U8 tensor for each masked weight, under the weight's own name:
//
//   packed (default)  shape [rows, ceil(columns / 8)], one bit per weight, 1 = kept; the bit of
//   column c
//                     is bit c mod 8, from the least significant, of byte c / 8; spare bits are 0
//   dense             the weight's own shape, one byte per weight, 0 or 1
//
// __metadata__: format, encoding ("packed" or "dense"), bit_order ("little"), pattern ("16:32"),
// method, scores, edge, and shapes: a JSON object from name to the weight's [rows, columns].
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/selection.h"
#include "client/safetensors.h"

namespace tsenor::cli {

enum class MaskEncoding { kPacked, kDense };

// Bytes of one packed row.
constexpr uint64_t PackedRowBytes(uint64_t columns) { return (columns + 7) / 8; }

// What was asked for, as it stands in the metadata: "pattern", "method", "scores", "edge".
using MaskMetadata = std::map<std::string, std::string>;

// The header of a mask file for these tensors, laid out, in their order.
// Errors: those of client::LayOut().
absl::StatusOr<client::SafetensorsHeader> MaskFileHeader(const Selection& selection,
                                                         MaskEncoding encoding,
                                                         const MaskMetadata& metadata);

// Spreads `columns` bits of one packed row into bytes of 0 or 1.
void UnpackRow(const uint8_t* bits, uint64_t columns, uint8_t* bytes);

// A mask file, mapped. Thread-safe.
class MaskFile {
 public:
  // Opens a file of either encoding; one without metadata is told by the shapes of its tensors.
  // Errors: those of client::SafetensorsFile::Open(); InvalidArgument for another format.
  static absl::StatusOr<MaskFile> Open(const std::string& path);

  const client::SafetensorsFile& file() const { return file_; }

  // Copies rows [first_row, first_row + row_count) of a weight's mask, packed, to `bits`
  // (row_count * PackedRowBytes(columns) bytes) and releases their pages.
  // Errors: InvalidArgument if there is no mask of this name, dtype or shape, or its values are not
  // masks.
  absl::Status ReadRows(const SelectedTensor& weight, uint64_t first_row, uint64_t row_count,
                        std::span<uint8_t> bits) const;

 private:
  explicit MaskFile(client::SafetensorsFile file) : file_(std::move(file)) {}

  absl::StatusOr<MaskEncoding> EncodingOf(const SelectedTensor& weight,
                                          const client::TensorInfo& mask) const;

  client::SafetensorsFile file_;
};

}  // namespace tsenor::cli
