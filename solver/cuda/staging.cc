#include "solver/cuda/staging.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "solver/cuda/kernels/collect.h"
#include "solver/cuda/kernels/exhaustive.h"
#include "solver/cuda/kernels/general.h"

namespace tsenor::cuda {
namespace {

// `rows` rows of `bytes` each, from one stride to another.
void CopyRows(const void* from, int64_t from_stride, void* to, int64_t to_stride, int64_t bytes,
              int64_t rows) {
  if (from_stride == bytes && to_stride == bytes) {
    std::memcpy(to, from, rows * bytes);
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(static_cast<std::byte*>(to) + r * to_stride,
                static_cast<const std::byte*>(from) + r * from_stride, bytes);
  }
}

// Enqueues launch(pass) for each pass over `tiles`, whose workspace is laid out as `config` says.
template <typename Launch>
absl::Status EnqueuePasses(const Problem& problem, std::span<const Tile> tiles,
                           int64_t blocks_per_pass, const LaunchConfig& config,
                           std::byte* workspace, cudaStream_t stream, Launch launch) {
  const std::vector<PassTile> numbered = NumberTiles(problem, tiles);
  PassTile* list = nullptr;
  if (numbered.size() > kTilesInParameters) {
    list = reinterpret_cast<PassTile*>(workspace + config.workspace_bytes - config.list_bytes);
    // From pageable memory: read before the call returns.
    const absl::Status status =
        ToStatus(cudaMemcpyAsync(list, numbered.data(), numbered.size() * sizeof(PassTile),
                                 cudaMemcpyHostToDevice, stream),
                 "copying the list of tiles");
    if (!status.ok()) return status;
  }
  for (Pass& pass : CutIntoPasses(problem, numbered, blocks_per_pass)) {
    pass.list = list;
    pass.results = reinterpret_cast<BlockResult*>(workspace);
    pass.masks = reinterpret_cast<uint32_t*>(workspace + config.results_bytes);
    if (const absl::Status status = launch(pass); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status EnqueueTiles(const Problem& problem, std::span<const Tile> tiles,
                          const LaunchConfig& config, std::byte* workspace, int32_t* unsolved,
                          cudaStream_t stream) {
  absl::Status status =
      ToStatus(cudaMemsetAsync(unsolved, 0, sizeof(*unsolved), stream), "cudaMemsetAsync");
  if (!status.ok()) return status;
  const auto general = [&](Pass& pass) {
    pass.unsolved = unsolved;
    absl::Status launched = ToStatus(LaunchGeneral(pass, stream), "launch of the general kernel");
    if (!launched.ok()) return launched;
    return ToStatus(LaunchCollect(pass, stream), "launch of the collecting kernels");
  };
  status = EnqueuePasses(problem, GeneralTiles(config, tiles), config.blocks_per_pass, config,
                         workspace, stream, general);
  if (!status.ok() || !config.exhaustive) return status;
  const auto exhaustive = [&](Pass& pass) {
    return ToStatus(LaunchExhaustive(pass, stream), "launch of the exhaustive kernel");
  };
  return EnqueuePasses(problem, tiles, CountBlocks(problem, tiles), config, workspace, stream,
                       exhaustive);
}

Staging::~Staging() {
  if (stream_) cudaStreamSynchronize(stream_.get());
}

absl::Status Staging::Begin(const Problem& problem, std::vector<Tile> tiles) {
  problem_ = problem;
  tiles_ = std::move(tiles);
  config_ = ConfigFor(problem_, tiles_);
  PlaceTiles();
  absl::Status status = ReserveBuffers();
  if (status.ok()) {
    CopyInputs();
    status = Enqueue();
  }
  if (status.ok()) return status;
  if (stream_) cudaStreamSynchronize(stream_.get());
  tiles_.clear();
  return status;
}

absl::Status Staging::End() {
  if (tiles_.empty()) return absl::OkStatus();
  const absl::Status status = ToStatus(cudaStreamSynchronize(stream_.get()), "solving a piece");
  if (status.ok()) CopyOutputs();
  tiles_.clear();
  if (!status.ok()) return status;
  int32_t unsolved = 0;
  std::memcpy(&unsolved, outputs_.data(), sizeof(unsolved));
  if (unsolved == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("the exact finish found no optimum for ", unsolved, " blocks; please report"));
}

int64_t Staging::PotentialsOf(const Tile& tile) const {
  if (tile.potentials == nullptr) return 0;
  return CountBlocks(problem_, {&tile, 1}) * 2 * problem_.pattern.m;
}

void Staging::PlaceTiles() {
  const int64_t element_bytes = static_cast<int64_t>(SizeOf(problem_.dtype));
  places_.clear();
  input_bytes_ = 0;
  output_bytes_ = Aligned(sizeof(int32_t));
  const auto take = [](int64_t& used, int64_t bytes) {
    return std::exchange(used, used + Aligned(bytes));
  };
  for (const Tile& tile : tiles_) {
    Place place;
    place.weights = take(input_bytes_, tile.rows * tile.columns * element_bytes);
    place.norms = take(input_bytes_, tile.column_norms ? tile.columns * 4 : 0);
    place.mask = take(output_bytes_, tile.rows * MaskRowBytes(tile.columns));
    place.stats = take(output_bytes_, BlocksAlong(tile.rows, problem_.pattern.m) *
                                          static_cast<int64_t>(sizeof(SolveStats)));
    place.potentials = take(output_bytes_, PotentialsOf(tile) * 8);
    places_.push_back(place);
  }
}

absl::Status Staging::ReserveBuffers() {
  if (!stream_) stream_ = MakeStream();
  if (!stream_) return absl::UnavailableError("the GPU failed: no stream could be made");
  absl::Status status = inputs_.Reserve(input_bytes_);
  if (status.ok()) status = outputs_.Reserve(output_bytes_);
  if (status.ok()) status = device_inputs_.Reserve(input_bytes_);
  if (status.ok()) status = device_outputs_.Reserve(output_bytes_);
  if (status.ok()) status = workspace_.Reserve(config_.workspace_bytes);
  return status;
}

void Staging::CopyInputs() {
  const int64_t element_bytes = static_cast<int64_t>(SizeOf(problem_.dtype));
  for (size_t t = 0; t < tiles_.size(); ++t) {
    const Tile& tile = tiles_[t];
    const int64_t row_bytes = tile.columns * element_bytes;
    CopyRows(tile.weights, tile.row_stride * element_bytes, inputs_.data() + places_[t].weights,
             row_bytes, row_bytes, tile.rows);
    if (tile.column_norms) {
      std::memcpy(inputs_.data() + places_[t].norms, tile.column_norms, tile.columns * 4);
    }
  }
}

std::vector<Tile> Staging::TilesOnDevice() const {
  std::vector<Tile> on_device = tiles_;
  for (size_t t = 0; t < tiles_.size(); ++t) {
    const Place& place = places_[t];
    Tile& tile = on_device[t];
    const std::byte* const inputs = device_inputs_.data();
    std::byte* const outputs = device_outputs_.data();
    tile.weights = inputs + place.weights;
    tile.row_stride = tile.columns;
    if (tile.column_norms) {
      tile.column_norms = reinterpret_cast<const float*>(inputs + place.norms);
    }
    tile.mask = reinterpret_cast<uint8_t*>(outputs + place.mask);
    tile.mask_row_stride = MaskRowBytes(tile.columns);
    tile.stats = reinterpret_cast<SolveStats*>(outputs + place.stats);
    if (tile.potentials) tile.potentials = reinterpret_cast<double*>(outputs + place.potentials);
  }
  return on_device;
}

absl::Status Staging::Enqueue() {
  cudaStream_t stream = stream_.get();
  absl::Status status = ToStatus(cudaMemcpyAsync(device_inputs_.data(), inputs_.data(),
                                                 input_bytes_, cudaMemcpyHostToDevice, stream),
                                 "copying weights to the device");
  if (!status.ok()) return status;
  auto* const unsolved = reinterpret_cast<int32_t*>(device_outputs_.data());
  status = EnqueueTiles(problem_, TilesOnDevice(), config_, workspace_.data(), unsolved, stream);
  if (!status.ok()) return status;
  return ToStatus(cudaMemcpyAsync(outputs_.data(), device_outputs_.data(), output_bytes_,
                                  cudaMemcpyDeviceToHost, stream),
                  "copying masks from the device");
}

void Staging::CopyOutputs() const {
  for (size_t t = 0; t < tiles_.size(); ++t) {
    const Tile& tile = tiles_[t];
    const std::byte* const outputs = outputs_.data();
    const int64_t row_bytes = MaskRowBytes(tile.columns);
    CopyRows(outputs + places_[t].mask, row_bytes, tile.mask, tile.mask_row_stride, row_bytes,
             tile.rows);
    std::memcpy(tile.stats, outputs + places_[t].stats,
                BlocksAlong(tile.rows, problem_.pattern.m) * sizeof(SolveStats));
    if (tile.potentials) {
      std::memcpy(tile.potentials, outputs + places_[t].potentials, PotentialsOf(tile) * 8);
    }
  }
}

}  // namespace tsenor::cuda
