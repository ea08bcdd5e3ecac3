#include "solver/cuda/staging.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "solver/cuda/host_copy.h"
#include "solver/cuda/kernels/collect.h"
#include "solver/cuda/kernels/exhaustive.h"
#include "solver/cuda/kernels/general.h"
#include "solver/cuda/kernels/patch.h"
#include "solver/cuda/kernels/wide_patch.h"
#include "solver/cuda/methods.h"

namespace tsenor::cuda {
namespace {

// From so many bytes on, letting the device fetch an array from pinned memory costs the host less
// than copying it: a call takes some microseconds, a thread copies some 10 KB in each.
constexpr int64_t kLeastDirectBytes = 64 << 10;

int64_t MaskBytes(const Tile& tile) { return tile.rows * MaskRowBytes(tile.columns); }

bool IsDirect(const void* memory, int64_t bytes) {
  return bytes >= kLeastDirectBytes && IsPinned(memory, bytes);
}

void PlaceWorkspace(const LaunchConfig& config, std::byte* workspace, Pass& pass) {
  pass.results = reinterpret_cast<BlockResult*>(workspace + config.results_place);
  pass.masks = reinterpret_cast<uint32_t*>(workspace + config.masks_place);
  pass.plans = reinterpret_cast<int32_t*>(workspace + config.plans_place);
  pass.random_masks = reinterpret_cast<const uint8_t*>(workspace + config.random_masks_place);
  if (!config.patches) return;
  pass.parts = reinterpret_cast<PartResult*>(workspace + config.parts_place);
  pass.hard_count = reinterpret_cast<uint32_t*>(workspace + config.hard_place);
  pass.odd_count = pass.hard_count + 1;
  pass.hard_blocks = pass.hard_count + 2;
  pass.odd_patches = pass.hard_blocks + pass.blocks;
}

// The patch or the wide kernel, and the general one for the blocks that it leaves.
absl::Status EnqueuePatches(const Pass& pass, bool first, cudaStream_t stream) {
  const auto [n, m] = pass.problem.pattern;
  absl::Status status =
      ToStatus(LaunchClearCounts(pass, first, stream), "launch of the clearing kernel");
  if (!status.ok()) return status;
  status = m <= kPatchLines ? ToStatus(LaunchPatches(pass, SchedulesFor(n, m), stream),
                                       "launch of the patch kernel")
                            : ToStatus(LaunchWidePatches(pass, WideSchedulesFor(n, m), stream),
                                       "launch of the wide kernel");
  if (!status.ok()) return status;
  return ToStatus(LaunchGeneralOnList(pass, {pass.hard_blocks, pass.hard_count}, stream),
                  "launch of the general kernel");
}

// The kernels that solve the blocks of a pass and collect what they find. `first`: of its batch.
absl::Status EnqueuePass(const Pass& pass, bool first, const LaunchConfig& config,
                         cudaStream_t stream) {
  absl::Status status;
  if (config.patches) {
    status = EnqueuePatches(pass, first, stream);
  } else if (config.general) {
    status = ToStatus(LaunchGeneral(pass, stream), "launch of the general kernel");
  }
  if (status.ok() && config.other_method) status = EnqueueMethod(pass, stream);
  if (!status.ok()) return status;
  return ToStatus(LaunchCollect(pass, stream), "launch of the collecting kernels");
}

}  // namespace

absl::Status EnqueueTiles(const Problem& problem, std::span<const PassTile> tiles,
                          const PassTile* list, const LaunchConfig& config, std::byte* workspace,
                          int32_t* unsolved, cudaStream_t stream) {
  if (ListBytes(tiles.size()) == 0) list = nullptr;
  absl::Status status;
  if (config.counts_unsolved() && !config.patches) {
    status = ToStatus(cudaMemsetAsync(unsolved, 0, sizeof(*unsolved), stream), "cudaMemsetAsync");
  }
  if (status.ok() && config.random_masks_bytes > 0) {
    status = CopyRandomMasks(
        problem, reinterpret_cast<uint8_t*>(workspace + config.random_masks_place), stream);
  }
  if (config.general || config.other_method) {
    bool first = true;
    for (Pass& pass : CutIntoPasses(problem, tiles)) {
      pass.list = list;
      pass.unsolved = unsolved;
      PlaceWorkspace(config, workspace, pass);
      if (status.ok()) status = EnqueuePass(pass, first, config, stream);
      first = false;
    }
  }
  if (config.exhaustive) {
    for (Pass& pass : CutIntoPasses(problem, tiles, std::numeric_limits<int64_t>::max())) {
      pass.list = list;
      pass.search_sums = reinterpret_cast<SearchSums*>(workspace + config.search_place);
      if (!status.ok()) return status;
      status = ToStatus(LaunchExhaustive(pass, stream), "launch of the exhaustive kernel");
    }
  }
  return status;
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
    on_device_ = NumberTiles(problem_, TilesOnDevice());
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
  if (!status.ok() || !config_.counts_unsolved()) return status;
  int32_t unsolved = 0;
  std::memcpy(&unsolved, outputs_.data(), sizeof(unsolved));
  if (unsolved == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("the exact finish found no optimum for ", unsolved, " blocks; please report"));
}

int64_t Staging::WeightBytes(const Tile& tile) const {
  return tile.rows * tile.columns * static_cast<int64_t>(SizeOf(problem_.dtype));
}

int64_t Staging::PotentialsOf(const Tile& tile) const {
  if (tile.potentials == nullptr) return 0;
  return CountBlocks(problem_, {&tile, 1}) * 2 * problem_.pattern.m;
}

void Staging::PlaceTiles() {
  places_.clear();
  input_bytes_ = 0;
  output_bytes_ = Aligned(sizeof(int32_t));
  const auto take = [](int64_t& used, int64_t bytes) {
    return std::exchange(used, used + Aligned(bytes));
  };
  const auto take_large = [&](Place& place, const Tile& tile, bool direct) {
    if (place.direct_weights == direct) place.weights = take(input_bytes_, WeightBytes(tile));
    if (place.direct_mask == direct) place.mask = take(output_bytes_, MaskBytes(tile));
  };
  for (const Tile& tile : tiles_) {
    Place place = {};
    place.direct_weights =
        tile.row_stride == tile.columns && IsDirect(tile.weights, WeightBytes(tile));
    place.direct_mask =
        tile.mask_row_stride == MaskRowBytes(tile.columns) && IsDirect(tile.mask, MaskBytes(tile));
    take_large(place, tile, false);
    place.norms = take(input_bytes_, tile.column_norms ? tile.columns * 4 : 0);
    place.stats = take(output_bytes_, BlocksAlong(tile.rows, problem_.pattern.m) *
                                          static_cast<int64_t>(sizeof(SolveStats)));
    place.potentials = take(output_bytes_, PotentialsOf(tile) * 8);
    places_.push_back(place);
  }
  list_place_ = take(input_bytes_, ListBytes(NumberTiles(problem_, tiles_).size()));
  staged_input_bytes_ = input_bytes_;
  staged_output_bytes_ = output_bytes_;
  for (size_t t = 0; t < tiles_.size(); ++t) take_large(places_[t], tiles_[t], true);
}

absl::Status Staging::ReserveBuffers() {
  if (!stream_) stream_ = MakeStream();
  if (!stream_) return absl::UnavailableError("the GPU failed: no stream could be made");
  absl::Status status = inputs_.Reserve(staged_input_bytes_);
  if (status.ok()) status = outputs_.Reserve(staged_output_bytes_);
  if (status.ok()) status = device_inputs_.Reserve(input_bytes_);
  const size_t size_before = device_outputs_.size();
  if (status.ok()) status = device_outputs_.Reserve(output_bytes_);
  if (status.ok()) status = workspace_.Reserve(config_.workspace_bytes);
  if (!status.ok() || device_outputs_.size() == size_before) return status;
  // They are copied with the gaps between them, which shall not hold what somebody else left there.
  return ToStatus(cudaMemsetAsync(device_outputs_.data(), 0, output_bytes_, stream_.get()),
                  "cudaMemsetAsync");
}

void Staging::CopyInputs() {
  const int64_t element_bytes = static_cast<int64_t>(SizeOf(problem_.dtype));
  std::vector<RowCopy> copies;
  for (size_t t = 0; t < tiles_.size(); ++t) {
    const Tile& tile = tiles_[t];
    const Place& place = places_[t];
    const int64_t row_bytes = tile.columns * element_bytes;
    if (!place.direct_weights) {
      copies.push_back({tile.weights, tile.row_stride * element_bytes,
                        inputs_.data() + place.weights, row_bytes, row_bytes, tile.rows});
    }
    if (tile.column_norms) {
      const int64_t bytes = tile.columns * 4;
      copies.push_back({tile.column_norms, bytes, inputs_.data() + place.norms, bytes, bytes, 1});
    }
  }
  if (const int64_t bytes = ListBytes(on_device_.size()); bytes > 0) {
    copies.push_back({on_device_.data(), bytes, inputs_.data() + list_place_, bytes, bytes, 1});
  }
  CopyRows(copies, copiers_);
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
  absl::Status status = EnqueueInputs();
  if (!status.ok()) return status;
  auto* const unsolved = reinterpret_cast<int32_t*>(device_outputs_.data());
  const auto* const list = reinterpret_cast<const PassTile*>(device_inputs_.data() + list_place_);
  status =
      EnqueueTiles(problem_, on_device_, list, config_, workspace_.data(), unsolved, stream_.get());
  return status.ok() ? EnqueueOutputs() : status;
}

absl::Status Staging::EnqueueInputs() {
  const auto copy = [this](int64_t place, const void* from, int64_t bytes) {
    if (bytes == 0) return absl::OkStatus();
    return ToStatus(cudaMemcpyAsync(device_inputs_.data() + place, from, bytes,
                                    cudaMemcpyHostToDevice, stream_.get()),
                    "copying weights to the device");
  };
  absl::Status status = copy(0, inputs_.data(), staged_input_bytes_);
  for (size_t t = 0; t < tiles_.size() && status.ok(); ++t) {
    if (!places_[t].direct_weights) continue;
    status = copy(places_[t].weights, tiles_[t].weights, WeightBytes(tiles_[t]));
  }
  return status;
}

absl::Status Staging::EnqueueOutputs() {
  const auto copy = [this](void* to, int64_t place, int64_t bytes) {
    return ToStatus(cudaMemcpyAsync(to, device_outputs_.data() + place, bytes,
                                    cudaMemcpyDeviceToHost, stream_.get()),
                    "copying masks from the device");
  };
  absl::Status status = copy(outputs_.data(), 0, staged_output_bytes_);
  for (size_t t = 0; t < tiles_.size() && status.ok(); ++t) {
    if (!places_[t].direct_mask) continue;
    status = copy(tiles_[t].mask, places_[t].mask, MaskBytes(tiles_[t]));
  }
  return status;
}

void Staging::CopyOutputs() {
  std::vector<RowCopy> copies;
  const auto add = [&](int64_t place, void* to, int64_t to_stride, int64_t bytes, int64_t rows) {
    copies.push_back({outputs_.data() + place, bytes, to, to_stride, bytes, rows});
  };
  for (size_t t = 0; t < tiles_.size(); ++t) {
    const Tile& tile = tiles_[t];
    const Place& place = places_[t];
    if (!place.direct_mask) {
      add(place.mask, tile.mask, tile.mask_row_stride, MaskRowBytes(tile.columns), tile.rows);
    }
    const int64_t stats = BlocksAlong(tile.rows, problem_.pattern.m) * sizeof(SolveStats);
    add(place.stats, tile.stats, stats, stats, 1);
    const int64_t potentials = PotentialsOf(tile) * 8;
    if (tile.potentials) add(place.potentials, tile.potentials, potentials, potentials, 1);
  }
  CopyRows(copies, copiers_);
}

}  // namespace tsenor::cuda
