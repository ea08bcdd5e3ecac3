#include "client/cli/mask_output.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "client/safetensors_writer.h"

namespace tsenor::cli {
namespace {

// The packed and the dense mask file.
class MaskFileOutput : public MaskOutput {
 public:
  MaskFileOutput(const Selection& selection, MaskEncoding encoding,
                 client::SafetensorsHeader header, client::SafetensorsWriter writer)
      : selection_(selection),
        encoding_(encoding),
        header_(std::move(header)),
        writer_(std::move(writer)) {}

  absl::Status WriteRows(size_t tensor, const client::MaskRows& rows) override {
    // The header's tensors are the selection's, in their order.
    const client::TensorInfo& info = header_.tensors[tensor];
    const uint64_t offset = rows.first_row * info.shape[1];
    if (encoding_ == MaskEncoding::kPacked) {
      return writer_.Write(info, offset, std::as_bytes(rows.bits));
    }
    return WriteDense(info, selection_.selected[tensor].columns, rows);
  }

  absl::Status Commit(const std::stop_token&) override { return writer_.Commit(); }

 private:
  // A few rows at a time, so that a chunk of bits is never a chunk of bytes.
  absl::Status WriteDense(const client::TensorInfo& info, uint64_t columns,
                          const client::MaskRows& rows) const {
    constexpr uint64_t kBufferBytes = 1 << 20;
    const uint64_t step = std::clamp<uint64_t>(kBufferBytes / columns, 1, rows.row_count);
    std::vector<uint8_t> dense(step * columns);
    for (uint64_t row = 0; row < rows.row_count; row += step) {
      const uint64_t count = std::min(step, rows.row_count - row);
      for (uint64_t i = 0; i < count; ++i) {
        UnpackRow(rows.bits.data() + (row + i) * PackedRowBytes(columns), columns,
                  dense.data() + i * columns);
      }
      const absl::Status status =
          writer_.Write(info, (rows.first_row + row) * columns,
                        std::as_bytes(std::span(dense).first(count * columns)));
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  const Selection& selection_;
  const MaskEncoding encoding_;
  const client::SafetensorsHeader header_;
  client::SafetensorsWriter writer_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MaskOutput>> CreateMaskFileOutput(const std::string& path,
                                                                 const Selection& selection,
                                                                 MaskEncoding encoding,
                                                                 const MaskMetadata& metadata) {
  absl::StatusOr<client::SafetensorsHeader> header = MaskFileHeader(selection, encoding, metadata);
  if (!header.ok()) return header.status();
  absl::StatusOr<client::SafetensorsWriter> writer =
      client::SafetensorsWriter::Create(path, *header);
  if (!writer.ok()) return writer.status();
  return std::make_unique<MaskFileOutput>(selection, encoding, *std::move(header),
                                          *std::move(writer));
}

}  // namespace tsenor::cli
