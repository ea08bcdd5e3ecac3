// Blocks of 4 x 4: every mask is tried, two blocks a thread.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "solver/cuda/kernels/pass.h"

namespace tsenor::cuda {

// Wider block rows are cut into segments of so many columns, each for a CTA of its own, so that few
// rows fill a device, too. An 8192 x 8192 matrix fills it without.
inline constexpr int64_t kSegmentColumns = 8192;

// Segments of a block row of a tile of so many columns.
constexpr int64_t SegmentsOfRow(int64_t columns) {
  return (columns + kSegmentColumns - 1) / kSegmentColumns;
}

// Enqueues on `stream` the kernels that write mask and stats of all tiles of the pass. Their
// workspace is pass.search_sums; it is used where a block row has more than one segment.
//
// The search is the proof, and the bound is the value: scores are compared in float32 where that
// is exact or its error too small to matter, else in float64, and summed in float64. Where a tile
// wants potentials, its stats keep the bound that is there: these potentials'.
//
// Deterministic: a block row's stats are summed in an order that depends on its width alone.
//
// REQUIRES: m = 4, 0 < n < 4; pass.first_block = 0, pass.blocks those of all its tiles.
cudaError_t LaunchExhaustive(const Pass& pass, cudaStream_t stream);

}  // namespace tsenor::cuda
