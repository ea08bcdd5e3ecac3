// Files as a client names them to a server.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/tensor_spec.h"

namespace tsenor::testing {

// `size` bytes at `offset` of `file`, which is `path` below the server's directory, in its state
// of now.
inline server::FileRange RangeOf(const std::string& file, const std::string& path, uint64_t offset,
                                 uint64_t size) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0) std::abort();
  return {.path = path,
          .offset = offset,
          .size = size,
          .file_bytes = static_cast<uint64_t>(info.st_size),
          .mtime_ns = int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
}

}  // namespace tsenor::testing
