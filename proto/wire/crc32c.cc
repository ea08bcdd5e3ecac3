#include "proto/wire/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace tsenor::wire {

uint32_t Crc32c(const void* data, size_t size) {
  // The library counts in int and leaves both inversions of the standard to its caller.
  constexpr size_t kMaxRun = size_t{1} << 30;
  auto* bytes = static_cast<unsigned char*>(const_cast<void*>(data));  // read only
  uint32_t crc = ~uint32_t{0};
  while (size > 0) {
    const size_t run = std::min(size, kMaxRun);
    crc = crc32_iscsi(bytes, static_cast<int>(run), crc);
    bytes += run;
    size -= run;
  }
  return ~crc;
}

}  // namespace tsenor::wire
