// Every limit and numerical contract of the solver library, in one place.
#pragma once

#include <cstdint>

namespace tsenor {

// Greatest edge length M of a block.
inline constexpr int kMaxM = 128;

// Scores are quantised to this many bits of the block's greatest score (solver/quantise.h).
inline constexpr int kQuantisationBits = 24;

// A block counts as proven optimal if its relative gap, (bound - value) / bound in float64 on the
// caller's own scores, is at most this.
inline constexpr double kProvenGap = 1e-6;

// Refinement rounds after which Method::kOptimal accepts the gap that is left. Most blocks need
// none, the others one or two; each carries 12 more bits.
inline constexpr int kMaxRefinements = 6;

// Ranges of the options (solver/options.h).
inline constexpr double kMaxTau = 500;  // powers reach 2^721, scales reached 2^-764: 2^4096 holds
inline constexpr int kMaxIterations = 10000;
inline constexpr int kMaxSwaps = 1000;
inline constexpr int kMaxSamples = 100000;  // 205 MB of masks for M = 128

// Greatest number of rows and of columns of a matrix: products of two stay far inside int64.
inline constexpr int64_t kMaxLength = int64_t{1} << 30;

}  // namespace tsenor
