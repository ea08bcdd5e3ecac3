// Copies within host memory, on several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "solver/cpu/thread_pool.h"

namespace tsenor::cuda {

// `rows` rows of `bytes` each, from one stride to another.
struct RowCopy {
  const void* from;
  int64_t from_stride;
  void* to;
  int64_t to_stride;
  int64_t bytes;
  int64_t rows;
};

// Does all copies, in parts, with the help of `helpers` where there is enough to copy; they must
// not overlap. Returns when all is copied.
void CopyRows(const std::vector<RowCopy>& copies, cpu::ThreadPool& helpers);

// Whether both ends of host memory of `bytes` at `memory` are pinned: known to CUDA, so that the
// device copies it by itself.
bool IsPinned(const void* memory, int64_t bytes);

}  // namespace tsenor::cuda
