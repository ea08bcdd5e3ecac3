#include "client/cli/mask_file.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace tsenor::cli {
namespace {

constexpr char kFormat[] = "tsenor.masks/1";
constexpr char kPacked[] = "packed";
constexpr char kDense[] = "dense";

// Packs a row of bytes. Returns false if one is neither 0 nor 1.
bool PackRow(const uint8_t* bytes, uint64_t columns, uint8_t* bits) {
  std::fill_n(bits, PackedRowBytes(columns), uint8_t{0});
  uint8_t seen = 0;
  for (uint64_t c = 0; c < columns; ++c) {
    seen |= bytes[c];
    bits[c / 8] |= static_cast<uint8_t>((bytes[c] & 1) << (c % 8));
  }
  return seen <= 1;
}

// True if no bit beyond the last column is set.
bool SpareBitsAreClear(const uint8_t* row, uint64_t columns) {
  return columns % 8 == 0 || (row[columns / 8] >> (columns % 8)) == 0;
}

}  // namespace

absl::StatusOr<client::SafetensorsHeader> MaskFileHeader(const Selection& selection,
                                                         MaskEncoding encoding,
                                                         const MaskMetadata& metadata) {
  const bool dense = encoding == MaskEncoding::kDense;
  client::SafetensorsHeader header;
  nlohmann::json shapes = nlohmann::json::object();
  for (const SelectedTensor& tensor : selection.selected) {
    const uint64_t width = dense ? tensor.columns : PackedRowBytes(tensor.columns);
    header.tensors.push_back({.name = tensor.name(), .dtype = "U8", .shape = {tensor.rows, width}});
    shapes[tensor.name()] = {tensor.rows, tensor.columns};
  }
  header.metadata = metadata;
  header.metadata["format"] = kFormat;
  header.metadata["encoding"] = dense ? kDense : kPacked;
  header.metadata["bit_order"] = "little";
  header.metadata["shapes"] = shapes.dump();
  if (absl::Status status = client::LayOut(header); !status.ok()) return status;
  return header;
}

void UnpackRow(const uint8_t* bits, uint64_t columns, uint8_t* bytes) {
  for (uint64_t c = 0; c < columns; ++c) bytes[c] = (bits[c / 8] >> (c % 8)) & 1;
}

absl::StatusOr<MaskFile> MaskFile::Open(const std::string& path) {
  absl::StatusOr<client::SafetensorsFile> file = client::SafetensorsFile::Open(path);
  if (!file.ok()) return file.status();
  const auto& metadata = file->header().metadata;
  const auto format = metadata.find("format");
  const auto encoding = metadata.find("encoding");
  const bool ours = format != metadata.end() && format->second == kFormat;
  if (ours &&
      (encoding == metadata.end() || (encoding->second != kPacked && encoding->second != kDense))) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no known encoding in its metadata"));
  }
  return MaskFile(*std::move(file));
}

absl::StatusOr<MaskEncoding> MaskFile::EncodingOf(const SelectedTensor& weight,
                                                  const client::TensorInfo& mask) const {
  const std::vector<uint64_t> packed = {weight.rows, PackedRowBytes(weight.columns)};
  const std::vector<uint64_t> dense = {weight.rows, weight.columns};
  const auto& metadata = file_.header().metadata;
  const auto encoding = metadata.find("encoding");
  const bool may_be_packed = encoding == metadata.end() || encoding->second != kDense;
  const bool may_be_dense = encoding == metadata.end() || encoding->second != kPacked;
  if (mask.dtype == "U8" && may_be_packed && mask.shape == packed) return MaskEncoding::kPacked;
  if (mask.dtype == "U8" && may_be_dense && mask.shape == dense) return MaskEncoding::kDense;
  return absl::InvalidArgumentError(
      absl::StrCat(file_.path(), ": the mask of '", weight.name(), "' is ", mask.dtype, " ",
                   client::ShapeString(mask.shape), ", expected U8 ", client::ShapeString(packed),
                   " (packed) or ", client::ShapeString(dense), " (dense)"));
}

absl::Status MaskFile::ReadRows(const SelectedTensor& weight, uint64_t first_row,
                                uint64_t row_count, std::span<uint8_t> bits) const {
  const client::TensorInfo* mask = file_.Find(weight.name());
  if (mask == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(file_.path(), ": no mask for '", weight.name(), "'"));
  }
  const absl::StatusOr<MaskEncoding> encoding = EncodingOf(weight, *mask);
  if (!encoding.ok()) return encoding.status();
  const uint64_t width = mask->shape[1];
  const uint64_t packed_width = PackedRowBytes(weight.columns);
  const std::span<const std::byte> rows =
      file_.Data(*mask).subspan(first_row * width, row_count * width);
  const auto* from = reinterpret_cast<const uint8_t*>(rows.data());
  bool good = true;
  for (uint64_t row = 0; row < row_count && good; ++row) {
    uint8_t* to = bits.data() + row * packed_width;
    if (*encoding == MaskEncoding::kDense) {
      good = PackRow(from + row * width, weight.columns, to);
    } else {
      std::memcpy(to, from + row * width, width);
      good = SpareBitsAreClear(to, weight.columns);
    }
    if (!good) {
      return absl::InvalidArgumentError(
          absl::StrCat(file_.path(), ": the mask of '", weight.name(), "', row ", first_row + row,
                       *encoding == MaskEncoding::kDense ? ": a value other than 0 and 1"
                                                         : ": a spare bit is set"));
    }
  }
  file_.Release(rows);
  return absl::OkStatus();
}

}  // namespace tsenor::cli
