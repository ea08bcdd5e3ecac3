// The checksum of DataChunk, MaskChunk and their unary kin.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tsenor::wire {

// CRC-32C (Castagnoli; iSCSI, RFC 3720 appendix B.4) of `size` bytes: 0 for none.
// Thread-safe.
uint32_t Crc32c(const void* data, size_t size);

}  // namespace tsenor::wire
