#include "tests/support/device_emulation/emulated_pass.h"

#include <cstdlib>
#include <iostream>

#include "solver/cuda/launch_config.h"
#include "solver/cuda/staging.h"

namespace tsenor {
namespace {

// An array of the workspace.
template <typename T>
std::vector<T> Copy(const std::vector<std::byte>& workspace, int64_t place, int64_t count) {
  const auto* const first = reinterpret_cast<const T*>(workspace.data() + place);
  return {first, first + count};
}

}  // namespace

double EmulatedPass::AugmentationsOfParts() const {
  int64_t augmentations = 0;
  for (const cuda::PartResult& part : parts) augmentations += part.augmentations;
  const auto solved = static_cast<double>(results.size() - listed.size());
  return solved > 0 && !parts.empty() ? static_cast<double>(augmentations) / solved : 0;
}

EmulatedPass EmulatePass(const Problem& problem, const void* weights, int64_t rows, int64_t columns,
                         const float* column_norms) {
  const int m = problem.pattern.m;
  const int64_t block_rows = BlocksAlong(rows, m), blocks = block_rows * BlocksAlong(columns, m);
  EmulatedPass pass;
  SolvedMatrix& solved = pass.solved;
  solved.pattern = problem.pattern;
  solved.rows = rows;
  solved.columns = columns;
  solved.mask.assign(rows * MaskRowBytes(columns), 0xa5);
  solved.block_rows.resize(block_rows);
  solved.potentials.resize(blocks * 2 * m);
  const Tile tile = {.weights = weights,
                     .row_stride = columns,
                     .rows = rows,
                     .columns = columns,
                     .column_norms = column_norms,
                     .mask = solved.mask.data(),
                     .mask_row_stride = MaskRowBytes(columns),
                     .stats = solved.block_rows.data(),
                     .potentials = solved.potentials.data()};
  const cuda::LaunchConfig config = cuda::ConfigFor(problem, {&tile, 1});
  const auto tiles = cuda::NumberTiles(problem, {&tile, 1});
  if (cuda::CutIntoPasses(problem, tiles).size() > 1) {
    std::cerr << rows << " x " << columns << " do not fit into one pass\n";
    std::abort();
  }
  std::vector<std::byte> workspace(config.workspace_bytes, std::byte{0xff});
  const absl::Status status = cuda::EnqueueTiles(problem, tiles, nullptr, config, workspace.data(),
                                                 &pass.unsolved, nullptr);
  if (!status.ok()) {
    std::cerr << status.ToString() << "\n";
    std::abort();
  }
  if (config.general) {
    pass.results = Copy<cuda::BlockResult>(workspace, config.results_place, blocks);
  }
  if (config.patches) {
    const int64_t parts =
        (config.hard_place - config.parts_place) / static_cast<int64_t>(sizeof(cuda::PartResult));
    const int64_t in_use = block_rows * tiles[0].patches_per_row;
    pass.parts = Copy<cuda::PartResult>(workspace, config.parts_place, std::min(parts, in_use));
    const auto count = Copy<uint32_t>(workspace, config.hard_place, 1)[0];
    pass.listed = Copy<uint32_t>(workspace, config.hard_place + 2 * sizeof(uint32_t), count);
  }
  return pass;
}

}  // namespace tsenor
