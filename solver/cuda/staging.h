// The way of a piece of host memory through the device and back.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "solver/cpu/thread_pool.h"
#include "solver/cuda/launch_config.h"
#include "solver/cuda/resources.h"
#include "solver/problem.h"

namespace tsenor::cuda {

// Enqueues on `stream` the kernels for tiles in device memory; `list` is a copy of `tiles` there,
// read only if ListBytes() says that there must be one. `workspace` is of config.workspace_bytes;
// `unsolved` takes the number of blocks that have no optimum, if config.counts_unsolved(). Errors:
// Unavailable.
absl::Status EnqueueTiles(const Problem& problem, std::span<const PassTile> tiles,
                          const PassTile* list, const LaunchConfig& config, std::byte* workspace,
                          int32_t* unsolved, cudaStream_t stream);

// Pinned buffers, device buffers and a stream for one piece at a time; all are kept for the next.
// Large arrays of the caller's that are pinned themselves go straight to the device and back, the
// rest by way of the pinned buffers.
//
// Not thread-safe: one piece, one thread at a time. Used with its device current.
class Staging {
 public:
  // `copiers` help to copy, and outlive the staging.
  explicit Staging(cpu::ThreadPool& copiers) : copiers_(copiers) {}
  // Waits for what is under way.
  ~Staging();

  // Copies the inputs of `tiles` (host memory) and enqueues copies and kernels. Errors:
  // Unavailable. REQUIRES: no piece under way; the tiles' arrays stay until End().
  absl::Status Begin(const Problem& problem, std::vector<Tile> tiles);

  // Waits for the piece under way, if there is one, and copies its outputs to the caller's memory.
  // Errors: Unavailable; Internal if a block has no optimum.
  absl::Status End();

 private:
  // Where a tile's arrays lie in the buffers, and which of them skip the pinned ones.
  struct Place {
    int64_t weights, norms;           // in the inputs
    int64_t mask, stats, potentials;  // in the outputs
    bool direct_weights, direct_mask;
  };

  void PlaceTiles();
  absl::Status ReserveBuffers();
  void CopyInputs();
  void CopyOutputs();
  std::vector<Tile> TilesOnDevice() const;
  absl::Status Enqueue();
  absl::Status EnqueueInputs();
  absl::Status EnqueueOutputs();

  int64_t WeightBytes(const Tile& tile) const;
  int64_t PotentialsOf(const Tile& tile) const;

  cpu::ThreadPool& copiers_;
  Stream stream_;
  PinnedBuffer inputs_, outputs_;
  DeviceBuffer device_inputs_, device_outputs_, workspace_;
  // Of the piece under way; no tiles if there is none.
  Problem problem_;
  std::vector<Tile> tiles_;
  std::vector<Place> places_;
  std::vector<PassTile> on_device_;
  int64_t list_place_ = 0;  // in the inputs: on_device_, if it is long
  LaunchConfig config_;
  // The device's buffers begin with what passes through the pinned ones; outputs with the number of
  // unsolved blocks.
  int64_t staged_input_bytes_ = 0, input_bytes_ = 0;
  int64_t staged_output_bytes_ = 0, output_bytes_ = 0;
};

}  // namespace tsenor::cuda
