// Bytes with an owner.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

namespace tsenor::server {

// A run of writable bytes and whatever keeps them alive. Pieces deal in buffers, never in a
// particular kind of memory, so that staging memory may be heap, pinned, or a mapped region.
//
// Move-only; destruction lets go of the owner. Thread-compatible.
class Buffer {
 public:
  // Holds nothing.
  Buffer() = default;
  // `bytes` stay valid for as long as `owner` lives.
  Buffer(std::span<std::byte> bytes, std::shared_ptr<void> owner)
      : bytes_(bytes), owner_(std::move(owner)) {}

  Buffer(Buffer&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})), owner_(std::move(other.owner_)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    bytes_ = std::exchange(other.bytes_, {});
    owner_ = std::move(other.owner_);
    return *this;
  }

  // `size` uninitialised bytes of heap memory, aligned for vector loads and cache lines.
  static Buffer Allocate(size_t size);

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_;
  std::shared_ptr<void> owner_;
};

}  // namespace tsenor::server
