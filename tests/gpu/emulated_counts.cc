// Prints what the emulated kernels (tests/support/device_emulation) leave to each other: for every
// kind of scores the blocks that the patch kernel lists, in percent, and the paths that its finish
// takes for each of the others.
//
//   emulated_counts N:M... [BLOCKS]     default: 200 blocks of each kind
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/support/device_emulation/emulated_pass.h"
#include "tests/support/generators.h"

namespace tsenor {
namespace {

void Print(Pattern pattern, WeightKind kind, int64_t blocks) {
  // Side by side and one above the other, so that patches are full.
  constexpr int64_t kBands = 4;
  const int64_t columns = blocks / kBands * pattern.m;
  std::vector<float> weights;
  for (int64_t band = 0; band < kBands; ++band) {
    const auto drawn = GenerateBlocks(kind, pattern.m, blocks / kBands, 100 + band);
    weights.insert(weights.end(), drawn.begin(), drawn.end());
  }
  Problem problem;
  problem.pattern = pattern;
  const EmulatedPass pass = EmulatePass(problem, weights.data(), kBands * pattern.m, columns);
  const auto solved = static_cast<double>(blocks) - static_cast<double>(pass.listed.size());
  double paths = 0;
  for (const auto& part : pass.parts) paths += part.augmentations;
  std::printf("%2d:%-2d %-16s listed %6.2f %%  paths %6.3f  gap %.1e\n", pattern.n, pattern.m,
              Name(kind).c_str(), 100 * (1 - solved / static_cast<double>(blocks)),
              solved > 0 ? paths / solved : 0, pass.solved.Total().relative_gap());
}

}  // namespace
}  // namespace tsenor

int main(int argc, char** argv) {
  int64_t blocks = 200;
  for (int k = 1; k < argc; ++k) {
    if (std::string(argv[k]).find(':') == std::string::npos) blocks = std::atoll(argv[k]);
  }
  for (int k = 1; k < argc; ++k) {
    tsenor::Pattern pattern;
    if (std::sscanf(argv[k], "%d:%d", &pattern.n, &pattern.m) != 2) continue;
    for (const tsenor::WeightKind kind : tsenor::kAllWeightKinds)
      tsenor::Print(pattern, kind, blocks);
  }
  return 0;
}
