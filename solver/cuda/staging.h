// The way of a piece of host memory through the device and back.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "solver/cuda/launch_config.h"
#include "solver/cuda/resources.h"
#include "solver/problem.h"

namespace tsenor::cuda {

// Enqueues on `stream` the kernels for tiles in device memory. `workspace` is of
// config.workspace_bytes; `unsolved` takes the number of blocks that have no optimum. Errors:
// Unavailable.
absl::Status EnqueueTiles(const Problem& problem, std::span<const Tile> tiles,
                          const LaunchConfig& config, std::byte* workspace, int32_t* unsolved,
                          cudaStream_t stream);

// Pinned buffers, device buffers and a stream for one piece at a time; all are kept for the next.
//
// Not thread-safe: one piece, one thread at a time. Used with its device current.
class Staging {
 public:
  // Waits for what is under way.
  ~Staging();

  // Copies the inputs of `tiles` (host memory) and enqueues copies and kernels. Errors:
  // Unavailable. REQUIRES: no piece under way.
  absl::Status Begin(const Problem& problem, std::vector<Tile> tiles);

  // Waits for the piece under way, if there is one, and copies its outputs to the caller's memory.
  // Errors: Unavailable; Internal if a block has no optimum.
  absl::Status End();

 private:
  // Where a tile's arrays lie in the buffers.
  struct Place {
    int64_t weights, norms;           // in the inputs
    int64_t mask, stats, potentials;  // in the outputs
  };

  void PlaceTiles();
  absl::Status ReserveBuffers();
  void CopyInputs();
  void CopyOutputs() const;
  std::vector<Tile> TilesOnDevice() const;
  absl::Status Enqueue();

  int64_t PotentialsOf(const Tile& tile) const;

  Stream stream_;
  PinnedBuffer inputs_, outputs_;
  DeviceBuffer device_inputs_, device_outputs_, workspace_;
  // Of the piece under way; no tiles if there is none.
  Problem problem_;
  std::vector<Tile> tiles_;
  std::vector<Place> places_;
  LaunchConfig config_;
  int64_t input_bytes_ = 0;
  int64_t output_bytes_ = 0;  // they begin with the number of unsolved blocks
};

}  // namespace tsenor::cuda
