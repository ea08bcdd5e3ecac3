#include "client/safetensors_writer.h"

#include <utility>

namespace tsenor::client {

SafetensorsWriter::SafetensorsWriter(AtomicFile file, uint64_t data_begin)
    : file_(std::move(file)), data_begin_(data_begin) {}

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(const std::string& path,
                                                            const SafetensorsHeader& header) {
  const std::string start = SerializeSafetensorsHeader(header);
  absl::StatusOr<AtomicFile> file = AtomicFile::Create(path, start.size() + header.data_bytes());
  if (!file.ok()) return file.status();
  if (absl::Status status = file->Write(0, std::as_bytes(std::span(start))); !status.ok()) {
    return status;
  }
  return SafetensorsWriter(*std::move(file), start.size());
}

absl::Status SafetensorsWriter::Write(const TensorInfo& tensor, uint64_t offset,
                                      std::span<const std::byte> bytes) const {
  return file_.Write(data_begin_ + tensor.begin + offset, bytes);
}

}  // namespace tsenor::client
