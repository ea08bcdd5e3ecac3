#include "solver/cuda/host_copy.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace tsenor::cuda {
namespace {

// What a thread takes at a time: long enough that taking costs nothing, short enough that all end
// together.
constexpr int64_t kPartBytes = 256 << 10;

void Copy(const RowCopy& copy) {
  for (int64_t r = 0; r < copy.rows; ++r) {
    std::memcpy(static_cast<std::byte*>(copy.to) + r * copy.to_stride,
                static_cast<const std::byte*>(copy.from) + r * copy.from_stride, copy.bytes);
  }
}

// Rows without gaps are one row, which can be cut anywhere.
RowCopy Joined(RowCopy copy) {
  if (copy.from_stride != copy.bytes || copy.to_stride != copy.bytes) return copy;
  copy.bytes *= copy.rows;
  copy.rows = 1;
  return copy;
}

// Appends `copy` in parts of about kPartBytes.
void Cut(const RowCopy& copy, std::vector<RowCopy>& parts) {
  const int64_t bytes = std::min(copy.bytes, kPartBytes);
  const int64_t rows = std::max<int64_t>(1, kPartBytes / std::max<int64_t>(1, copy.bytes));
  for (int64_t row = 0; row < copy.rows; row += rows) {
    for (int64_t byte = 0; byte < copy.bytes; byte += bytes) {
      RowCopy part = copy;
      part.from = static_cast<const std::byte*>(copy.from) + row * copy.from_stride + byte;
      part.to = static_cast<std::byte*>(copy.to) + row * copy.to_stride + byte;
      part.bytes = std::min(bytes, copy.bytes - byte);
      part.rows = std::min(rows, copy.rows - row);
      parts.push_back(part);
    }
  }
}

// Where shares of consecutive parts begin, each of at least kPartBytes but the last, and the end.
std::vector<size_t> SharesOf(const std::vector<RowCopy>& parts) {
  std::vector<size_t> starts = {0};
  int64_t bytes = 0;
  for (size_t k = 0; k < parts.size(); ++k) {
    bytes += parts[k].bytes * parts[k].rows;
    if (bytes < kPartBytes && k + 1 < parts.size()) continue;
    starts.push_back(k + 1);
    bytes = 0;
  }
  return starts;
}

}  // namespace

void CopyRows(const std::vector<RowCopy>& copies, cpu::ThreadPool& helpers) {
  std::vector<RowCopy> parts;
  for (const RowCopy& copy : copies) Cut(Joined(copy), parts);
  if (parts.empty()) return;
  const std::vector<size_t> starts = SharesOf(parts);
  std::atomic<size_t> next = 0;
  helpers.Run(static_cast<int>(starts.size()) - 2, [&] {
    for (size_t share; (share = next++) + 1 < starts.size();) {
      for (size_t k = starts[share]; k < starts[share + 1]; ++k) Copy(parts[k]);
    }
  });
}

bool IsPinned(const void* memory, int64_t bytes) {
  const auto is_pinned = [](const void* at) {
    cudaPointerAttributes attributes;
    return cudaPointerGetAttributes(&attributes, at) == cudaSuccess &&
           attributes.type == cudaMemoryTypeHost;
  };
  return is_pinned(memory) && is_pinned(static_cast<const std::byte*>(memory) + bytes - 1);
}

}  // namespace tsenor::cuda
